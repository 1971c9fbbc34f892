"""What each layer of an ONNX graph costs: multiply-accumulates, parameters, activations.

MACs count what convolutions and matrix products multiply and accumulate, as the published tables of the
field do. Pooling, normalisation, activation functions, element-wise operators, softmax and reductions
therefore have zero MACs; they still move their activations. Every figure is for one frame.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from perframe.errors import InputError
from perframe.export.constants import constant_roots
from perframe.export.mac_ops import (
    NORMALISATIONS,
    STANDARD_DOMAINS,
    contraction_macs,
    multiplies_nothing,
    operands_of,
)
from perframe.export.onnx_model import OnnxModel, fixed_batch, resolve_input_shapes
from perframe.export.provenance import node_modules, node_names
from perframe.export.shapes import infer_shapes


@dataclass(frozen=True)
class LayerCost:
    """The cost of one node, per frame. None means that it cannot be told, never zero.

    Attributes:
        name: Key of the node, see `perframe.export.provenance.node_names`.
        module: Path of the source module, see `perframe.export.provenance.node_modules`.
        op: ONNX operator.
        macs: Multiply-accumulates.
        params: Weights of a convolution, matrix product or recurrent cell; 0 for layers that have none.
        bias_params: Biases, and scale and shift of a normalisation.
        input_activations: Elements read, without weights; a tensor read twice counts once.
        output_activations: Elements written.
        groups: Groups g of a convolution; None for other layers.
        group_size: Input channels per group, G; None for other layers.
        output_shape: Shape of the first output, with the batch dimension.
    """

    name: str
    module: str
    op: str
    macs: int | None
    params: int | None
    bias_params: int | None
    input_activations: int | None
    output_activations: int | None
    groups: int | None
    group_size: int | None
    output_shape: tuple[int, ...] | None

    @property
    def activations(self) -> int | None:
        """Elements read and written, weights not included."""
        if self.input_activations is None or self.output_activations is None:
            return None
        return self.input_activations + self.output_activations

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity, MACs / (parameters + activations), after E2GC (arXiv 2006.15100)."""
        if self.macs is None or self.params is None or not self.activations:
            return None
        return self.macs / (self.params + self.activations)


@dataclass(frozen=True)
class ModelCost:
    """The cost of a whole network, per frame. None where a layer's share cannot be told.

    Attributes:
        params: Weights, as the published tables count them; biases and normalisation stand apart.
        bias_params: Biases, and scale and shift of normalisations.
        macs: Multiply-accumulates.
        activations: Elements read and written by the layers that have MACs, so that the figure does not
            depend on which activation functions and normalisations were folded into them.
    """

    params: int | None
    bias_params: int | None
    macs: int | None
    activations: int | None


def layer_costs(
    model: OnnxModel, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> tuple[LayerCost, ...]:
    """Count what each layer costs for one frame.

    Args:
        model: The model.
        input_shapes: Full shape of every input; by default at batch 1, or at the batch the model is fixed at.
            Counts are divided by the batch.

    Returns:
        One entry per node that works on activations, in graph order. Constants, and arithmetic on constants
        and shapes, are not listed. A weight that several layers share counts in each.

    Raises:
        InputError: An input dimension other than the batch is symbolic, the layers' shapes contradict each
            other, or a convolution's weights contradict its input or its groups.
    """
    given = input_shapes or resolve_input_shapes(model, fixed_batch(model) or 1)
    counter = _Counter(model, given)
    modules = node_modules(model.graph)
    return tuple(
        counter.cost(node, key, modules[key])
        for key, node in zip(node_names(model.graph), model.graph.node, strict=True)
        if not all(name in counter.roots for name in node.output if name)
    )


def totals(costs: Iterable[LayerCost]) -> ModelCost:
    """Add up the cost of layers."""
    layers = tuple(costs)
    return ModelCost(
        params=sum_or_none(layer.params for layer in layers),
        bias_params=sum_or_none(layer.bias_params for layer in layers),
        macs=sum_or_none(layer.macs for layer in layers),
        activations=sum_or_none(layer.activations for layer in layers if layer.macs != 0),
    )


class _Counter:
    """Counts the nodes of one graph at given input shapes."""

    def __init__(self, model: OnnxModel, input_shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.roots = constant_roots(model.graph)
        self._path = model.path
        self._shapes = infer_shapes(model, input_shapes)
        self._frames = _frames(model, input_shapes)
        self._mac_outputs = {
            name for node in model.graph.node if operands_of(node) is not None for name in node.output
        }

    def cost(self, node: onnx.NodeProto, key: str, module: str) -> LayerCost:
        activations = dict.fromkeys(name for name in node.input if name and name not in self.roots)
        weight_shape = self._weight_shape(node)
        groups = _attribute(node, "group", 1) if weight_shape is not None else None
        if weight_shape is not None and groups is not None:
            self._check_convolution(node, key, weight_shape, groups)
        return LayerCost(
            name=key,
            module=module,
            op=node.op_type,
            macs=self._per_frame(self._macs(node)),
            params=self._params(node),
            bias_params=self._bias_params(node),
            input_activations=self._per_frame(self._elements(activations)),
            output_activations=self._per_frame(self._elements(name for name in node.output if name)),
            groups=groups,
            group_size=_group_size(node, weight_shape, groups),
            output_shape=self._shapes.get(node.output[0]),
        )

    def _macs(self, node: onnx.NodeProto) -> int | None:
        operands = operands_of(node)
        if operands is None:
            return 0 if multiplies_nothing(node) else None
        data = self._shapes.get(_operand(node, operands.data))
        weight = self._shapes.get(_operand(node, operands.weight))
        output = self._shapes.get(node.output[0])
        if operands.kind == "recurrence":
            # X is [time, batch, features]: every step multiplies by both weight matrices (ONNX: W and R).
            weights = self._elements(node.input[1:3])
            return None if data is None or weights is None else math.prod(data[:2]) * weights
        if operands.kind == "transposed convolution":
            # Every input element is spread over one group's output channels and the kernel.
            return None if data is None or weight is None else math.prod(data) * math.prod(weight[1:])
        if operands.kind == "convolution":
            # n*m*k^2*h*w/g: every output element takes one group's input channels over the kernel.
            return None if output is None or weight is None else math.prod(output) * math.prod(weight[1:])
        if operands.kind == "contraction":
            return (
                None if data is None or weight is None else contraction_macs(_equation(node), (data, weight))
            )
        if data is None or output is None:
            return None
        # The sum of a matrix product runs over the first operand's last axis.
        return math.prod(output) * data[-2 if _attribute(node, "transA", 0) else -1]

    def _check_convolution(self, node: onnx.NodeProto, key: str, weight: Sequence[int], groups: int) -> None:
        """Check what shape inference does not, and what would only fail in a runtime."""
        operands = operands_of(node)
        data = self._shapes.get(_operand(node, operands.data)) if operands else None
        transposed = node.op_type == "ConvTranspose"
        problem = ""
        if groups < 1:
            problem = f"expected at least 1 group, found {groups}"
        elif node.domain not in STANDARD_DOMAINS or len(weight) < 2:
            return  # the runtime's own layouts pad channels or put them last
        elif weight[0] % groups and not transposed:
            problem = f"expected output channels divisible by its {groups} groups, found {weight[0]}"
        elif data is not None and len(data) > 1:
            taken = weight[0] if transposed else weight[1] * groups
            if data[1] != taken:
                shape = "x".join(map(str, weight))
                problem = (
                    f"expected {taken} input channels, as its weights {shape} and groups {groups} take, "
                    f"found {data[1]}"
                )
        if problem:
            raise InputError(
                f"{self._path}: {node.op_type} {key!r} {problem}.",
                "Check this layer's weights and groups, and export the model again.",
            )

    def _params(self, node: onnx.NodeProto) -> int | None:
        operands = operands_of(node)
        if operands is None:
            return 0 if multiplies_nothing(node) else None
        if operands.kind == "recurrence":
            return self._elements(self._constants(node, (1, 2)))
        return self._elements(self._constants(node, (operands.data, operands.weight)))

    def _bias_params(self, node: onnx.NodeProto) -> int | None:
        operands = operands_of(node)
        if operands is not None:
            return 0 if operands.bias is None else self._elements(self._constants(node, (operands.bias,)))
        if node.op_type in NORMALISATIONS:
            return self._elements(self._constants(node, (1, 2)))
        if node.op_type == "Add" and not self._mac_outputs.isdisjoint(node.input):
            # A fully connected layer without Gemm is MatMul, then Add of its bias.
            return self._elements(self._constants(node, (0, 1)))
        return 0 if multiplies_nothing(node) else None

    def _weight_shape(self, node: onnx.NodeProto) -> tuple[int, ...] | None:
        operands = operands_of(node)
        if operands is None or "convolution" not in operands.kind:
            return None
        return self._shapes.get(_operand(node, operands.weight))

    def _constants(self, node: onnx.NodeProto, indices: Iterable[int]) -> list[str]:
        return [name for index in indices if (name := _operand(node, index)) in self.roots]

    def _elements(self, names: Iterable[str]) -> int | None:
        return sum_or_none(
            math.prod(shape) if (shape := self._shapes.get(name)) is not None else None for name in names
        )

    def _per_frame(self, count: int | None) -> int | None:
        # Rounded up: a tensor without a batch dimension is smaller than the batch, but it is not nothing.
        return None if count is None else -(-count // self._frames)


def _frames(model: OnnxModel, input_shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Frames in one inference: the leading size of the first input whose leading dimension is the batch."""
    ranked = [info for info in model.inputs if info.shape]
    batched = [info for info in ranked if not isinstance(info.shape[0], int)] or ranked
    return input_shapes[batched[0].name][0] if batched else 1


def _operand(node: onnx.NodeProto, index: int) -> str:
    return node.input[index] if index < len(node.input) else ""


def _attribute(node: onnx.NodeProto, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def _equation(node: onnx.NodeProto) -> str:
    return next((a.s.decode("utf-8", "replace") for a in node.attribute if a.name == "equation"), "")


def _group_size(node: onnx.NodeProto, weight_shape: Sequence[int] | None, groups: int | None) -> int | None:
    if weight_shape is None or groups is None:
        return None
    # Weights are [m_out, m_in / g, ...], transposed ones [m_in, m_out / g, ...].
    return weight_shape[0] // groups if node.op_type == "ConvTranspose" else weight_shape[1]


def sum_or_none(counts: Iterable[int | None]) -> int | None:
    """Add up counts; one that cannot be told makes the sum untold."""
    total = 0
    for count in counts:
        if count is None:
            return None
        total += count
    return total
