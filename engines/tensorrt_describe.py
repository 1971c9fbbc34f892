"""The network inside a TensorRT engine, as far as the inspector's word tells."""

from collections import Counter
from collections.abc import Sequence

from perframe.engines.base import EngineLayer, ModelInfo
from perframe.engines.describe import add_folded, architecture_fields
from perframe.engines.tensorrt_cost import inspected_cost, multiplies
from perframe.engines.tensorrt_inspector import Inspection
from perframe.export.cost import sum_or_none


def describe_engine(
    inspection: Inspection, layers: Sequence[EngineLayer], batch: int, name: str, source: str
) -> ModelInfo:
    """Describe the network of an engine without its ONNX file.

    Args:
        inspection: The engine as its inspector shows it.
        layers: The same, see `perframe.engines.tensorrt_lineage.engine_layers`.
        batch: Frames per inference.
        name: What to call a network that is not recognised.
        source: Where it was read from.
    """
    shape = next((tensor.shape for tensor in inspection.inputs if tensor.shape), ())
    multiplying = [layer for layer in layers if layer.macs != 0]
    return ModelInfo(
        input_shape=tuple(size for size in shape[1:] if size is not None),
        precision=precision_of(inspection),
        sha256=None,
        params=sum_or_none(layer.params for layer in layers),
        macs=sum_or_none(layer.macs for layer in layers),
        activations=sum_or_none(
            count for layer in multiplying for count in (layer.input_activations, layer.output_activations)
        ),
        **architecture_fields(_checkpoint_shapes(inspection, batch), name, source),
    )


def precision_of(inspection: Inspection) -> str | None:
    """Return the data type of most weights of convolutions, `None` if the inspector does not tell."""
    weights: Counter[str] = Counter()
    for layer in inspection.layers:
        told = layer.convolution
        if told is not None and told.weights_dtype is not None:
            weights[told.weights_dtype] += told.weights or 0
    return max(weights, key=weights.__getitem__, default=None)


def _checkpoint_shapes(inspection: Inspection, batch: int) -> dict[str, tuple[int, ...]]:
    """The shapes that the weights had in a checkpoint, where BatchNorm was not yet folded into them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, layer in enumerate(inspection.layers):
        cost, convolution = inspected_cost(layer, batch), layer.convolution
        written = cost.output_shape or ()
        if not (multiplies(layer) and cost.params and len(written) > 1 and written[1]):
            continue
        maps, positions = written[1], written[2:]
        # A fully connected layer may be a convolution of one position.
        if convolution is not None and set(positions) != {1} and cost.group_size is not None:
            weight: tuple[int, ...] = (maps, cost.group_size, *convolution.kernel)
        else:
            weight = (maps, cost.params // maps)
        add_folded(shapes, str(index), weight)
    return shapes
