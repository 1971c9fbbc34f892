"""What a TensorRT layer costs by the inspector's word alone, where there is no ONNX file to count from."""

import math
from collections.abc import Sequence

from perframe.engines.tensorrt_inspector import (
    InspectedConvolution,
    InspectedLayer,
    InspectedTensor,
    Inspection,
)
from perframe.engines.tensorrt_names import only_moves
from perframe.errors import InputError, UsageError
from perframe.export.cost import LayerCost, sum_or_none

_Shape = tuple[int, ...] | None

# Kinds of layers, and of what layers compute, that multiply and accumulate nothing.
_FREE = frozenset(
    {
        *("activation", "argmax", "assertion", "cast", "clip", "concat", "concatenation", "constant", "copy"),
        *("dequantize", "elementwise", "fill", "gather", "identity", "nonzero", "noop", "normalization"),
        *("onehot", "padding", "parametricrelu", "pointwise", "pooling", "quantize", "ragged", "reduce"),
        *(
            "reformat",
            "resize",
            "scale",
            "scatter",
            "select",
            "shape",
            "shapecall",
            "shuffle",
            "slice",
            "softmax",
        ),
        *("squeeze", "topk", "unary", "unsqueeze"),
    }
)
_PRODUCTS = ("gemm", "matrixmultiply", "matmul", "fullyconnected")


def batch_of(inspection: Inspection, path: object, batch: int | None) -> int:
    """Return how many frames an inference of the engine takes.

    Args:
        inspection: The engine.
        path: Where it was read from, for messages.
        batch: What the user says; `None` takes the leading size of the engine's first input.

    Raises:
        UsageError: The user's word and the engine's shapes contradict each other, or neither tells.
    """
    shapes = [tensor.shape for tensor in inspection.inputs if tensor.shape]
    told = next((shape[0] for shape in shapes if len(shape) != 3), None)
    if batch is None and told is None:
        shown = "shapes that vary or have no batch" if shapes else "no shapes of inputs"
        raise UsageError(
            f"{path}: expected the engine's batch size, found {shown}.", "Give --batch N as it was run."
        )
    if batch is not None and told is not None and batch != told:
        raise UsageError(
            f"{path}: the engine's batch is {told}, found --batch {batch}.",
            f"Leave --batch out, or give {told}.",
        )
    found = batch if batch is not None else told
    if found is None or found < 1:
        raise InputError(f"{path}: expected a batch of at least 1, found {found}.", "Was the file edited?")
    return found


def inspected_cost(layer: InspectedLayer, batch: int, module: str | None = None) -> LayerCost:
    """Count what a layer costs for one frame, from its tensors' shapes and its parameters.

    Args:
        layer: The layer.
        batch: Frames per inference: the leading size of tensors where that varies.
        module: Its source module, as far as it is known.

    Returns:
        Its cost; figures that the inspector does not tell are `None`.
    """
    inputs = [_fixed(tensor, batch) for tensor in layer.inputs]
    outputs = [_fixed(tensor, batch) for tensor in layer.outputs]
    convolution = layer.convolution
    macs: int | None = None
    params: int | None = None
    groups = group_size = None
    if convolution is not None:
        data = _data_input(convolution, inputs)
        groups = convolution.groups
        channels = _channels(data)
        group_size = channels // groups if channels and groups else None
        outputs = [_convolved(convolution, data, outputs)]
        params = convolution.weights or _weights(convolution, channels)
        macs = _convolution_macs(convolution, data, outputs[0], params)
        inputs = [data]
    elif _is_product(layer):
        macs, params = _product_cost(layer, inputs, outputs)
        inputs = inputs[:1]
    elif _is_free(layer):
        macs = params = 0
    return LayerCost(
        name=layer.name,
        module=module or "",
        op=layer.type,
        macs=_per_frame(macs, batch),
        params=params,
        bias_params=None,
        input_activations=_per_frame(_elements(inputs), batch),
        output_activations=_per_frame(_elements(outputs), batch),
        groups=groups,
        group_size=group_size,
        output_shape=outputs[0] if outputs else None,
    )


def multiplies(layer: InspectedLayer) -> bool:
    """Whether a layer is one that multiplies and accumulates, counted or not."""
    return layer.convolution is not None or _is_product(layer) or "conv" in layer.type.lower()


def _fixed(tensor: InspectedTensor, batch: int) -> _Shape:
    """The shape of a tensor with its varying leading size filled in; None where another size varies."""
    if tensor.shape is None:
        return None
    sizes = tuple(batch if i == 0 and size is None else size for i, size in enumerate(tensor.shape))
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def _data_input(convolution: InspectedConvolution, inputs: Sequence[_Shape]) -> _Shape:
    """The input that is convolved: what is added behind has the output's channels, and comes later."""
    ranked = [shape for shape in inputs if shape is not None and len(shape) == len(convolution.kernel) + 2]
    fitting = [shape for shape in ranked if convolution.weights in (None, _weights(convolution, shape[1]))]
    return fitting[0] if fitting else None


def _weights(convolution: InspectedConvolution, channels: int | None) -> int | None:
    """Number of weights, n * m * k^2 / g."""
    if channels is None or convolution.out_maps is None or convolution.groups is None:
        return None
    return convolution.out_maps * channels // convolution.groups * math.prod(convolution.kernel)


def _convolved(convolution: InspectedConvolution, data: _Shape, outputs: Sequence[_Shape]) -> _Shape:
    """The convolution's own output, which is not the layer's where pooling was fused behind."""
    written = outputs[0] if outputs else None
    if data is None or convolution.transposed or convolution.stride is None or convolution.padding is None:
        return written
    spatial = [
        (size + padding - dilation * (kernel - 1) - 1) // stride + 1
        for size, padding, dilation, kernel, stride in zip(
            data[2:],
            convolution.padding,
            convolution.dilation,
            convolution.kernel,
            convolution.stride,
            strict=True,
        )
    ]
    maps = convolution.out_maps or (written[1] if written and len(written) > 1 else None)
    return written if maps is None or min(spatial) < 1 else (data[0], maps, *spatial)


def _convolution_macs(
    convolution: InspectedConvolution, data: _Shape, output: _Shape, weights: int | None
) -> int | None:
    """Every weight is used once per position: of the output, or of the input of a transposed convolution."""
    positions = data if convolution.transposed else output
    if positions is None or weights is None or len(positions) != len(convolution.kernel) + 2:
        return None
    return positions[0] * math.prod(positions[2:]) * weights


def _is_product(layer: InspectedLayer) -> bool:
    kinds = f"{layer.type} {layer.parameter_type}".lower()
    return any(word in kinds for word in _PRODUCTS)


def _is_free(layer: InspectedLayer) -> bool:
    if only_moves(layer.name):
        return True
    if layer.parameter_type:
        return layer.parameter_type.lower() in _FREE
    return layer.type.lower().replace("_", "") in _FREE


def _product_cost(
    layer: InspectedLayer, inputs: Sequence[_Shape], outputs: Sequence[_Shape]
) -> tuple[int | None, int | None]:
    """MACs and weights of a matrix product, whichever operand is transposed.

    The sum runs over the size K that both operands have and the product has not: for [M, K] x [K, N] -> [M, N],
    K^2 is the product of the operands' sizes over that of the result's.
    """
    if len(inputs) < 2 or not outputs:
        return None, None
    left, right, product = inputs[0], inputs[1], outputs[0]
    if left is None or right is None or product is None or min(map(len, (left, right, product))) < 2:
        return None, None
    sizes = math.prod(product[-2:])
    square = math.prod(left[-2:]) * math.prod(right[-2:]) // sizes if sizes else 0
    inner = math.isqrt(square)
    if inner**2 * sizes != math.prod(left[-2:]) * math.prod(right[-2:]) or not {inner} <= {*left[-2:]} & {
        *right[-2:]
    }:
        return None, None
    # A constant has no batch; two activations are told from it by that, as far as they can be.
    constant = len(right) == 2 and "const" in layer.inputs[1].name
    return math.prod(product) * inner, math.prod(right) if constant else None


def _channels(data: _Shape) -> int | None:
    return data[1] if data is not None else None


def _elements(shapes: Sequence[_Shape]) -> int | None:
    return sum_or_none(None if shape is None else math.prod(shape) for shape in shapes)


def _per_frame(count: int | None, batch: int) -> int | None:
    # Rounded up, as for ONNX graphs: what has no batch dimension is smaller than the batch, but not nothing.
    return None if count is None else -(-count // batch)
