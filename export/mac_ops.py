"""Which ONNX operators multiply and accumulate, in the standard's domain and in ONNX Runtime's own."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import onnx


@dataclass(frozen=True)
class Operands:
    """Where an operator that multiplies and accumulates takes its operands from.

    Attributes:
        kind: How they are combined.
        data: Index among the node's inputs of the activations.
        weight: Index of the weights.
        bias: Index of the bias, where the operator can have one.
    """

    kind: Literal["convolution", "transposed convolution", "product", "contraction", "recurrence"]
    data: int = 0
    weight: int = 1
    bias: int | None = None


_MAC_OPS = {
    "Conv": Operands("convolution", bias=2),
    "FusedConv": Operands("convolution", bias=2),
    "NhwcConv": Operands("convolution", bias=2),
    "NhwcFusedConv": Operands("convolution", bias=2),
    "DeformConv": Operands("convolution", bias=3),
    "ConvInteger": Operands("convolution"),
    "QLinearConv": Operands("convolution", weight=3, bias=8),
    "ConvTranspose": Operands("transposed convolution", bias=2),
    "Gemm": Operands("product", bias=2),
    "FusedGemm": Operands("product", bias=2),
    "QGemm": Operands("product", weight=3, bias=6),
    "MatMul": Operands("product"),
    "FusedMatMul": Operands("product"),
    "MatMulInteger": Operands("product"),
    "MatMulIntegerToFloat": Operands("product", bias=6),
    "DynamicQuantizeMatMul": Operands("product", bias=4),
    "QLinearMatMul": Operands("product", weight=3),
    "Einsum": Operands("contraction"),
    "LSTM": Operands("recurrence", bias=3),
    "GRU": Operands("recurrence", bias=3),
    "RNN": Operands("recurrence", bias=3),
}

NORMALISATIONS = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "RMSNormalization",
    }
)

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
"""The two names of the domain of standard operators."""

_RUNTIME_DOMAINS = frozenset({"com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc"})

# Standard operators that multiply and accumulate, or may, in ways not counted here.
_UNCOUNTED_OPS = frozenset({"Attention", "DFT", "Einsum", "If", "Loop", "STFT", "Scan", "SequenceMap"})

# Operators of ONNX Runtime's own domains that do neither.
_RUNTIME_FREE_OPS = frozenset(
    {
        *("ReorderInput", "ReorderOutput", "NhwcMaxPool", "Upsample", "QuantizeLinear", "DequantizeLinear"),
        *("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool", "QLinearAveragePool"),
        *("QLinearAdd", "QLinearMul", "QLinearConcat", "QLinearGlobalAveragePool", "QLinearLeakyRelu"),
        *("QLinearReduceMean", "QLinearSigmoid", "QLinearSoftmax", "QLinearWhere"),
        *("BiasGelu", "FastGelu", "Gelu", "QuickGelu", "SkipLayerNormalization"),
    }
)


def operands_of(node: onnx.NodeProto) -> Operands | None:
    """Return the operands of a node that multiplies and accumulates in a way that is counted, else None."""
    known = node.domain in STANDARD_DOMAINS | _RUNTIME_DOMAINS
    if node.op_type == "Einsum" and len(node.input) != 2:
        return None  # how many steps it takes depends on the order in which the runtime contracts
    return _MAC_OPS.get(node.op_type) if known else None


def multiplies_nothing(node: onnx.NodeProto) -> bool:
    """Whether a node is known to have no multiply-accumulates; unknown operators are not."""
    if node.domain in STANDARD_DOMAINS:
        return node.op_type not in _UNCOUNTED_OPS
    return node.domain in _RUNTIME_DOMAINS and node.op_type in _RUNTIME_FREE_OPS


def contraction_macs(equation: str, shapes: Sequence[tuple[int, ...]]) -> int | None:
    """Return the multiply-accumulates of an Einsum: the product of the extents of all its indices.

    Args:
        equation: As `bhid,bhjd->bhij`.
        shapes: Of the operands.

    Returns:
        None for an equation with `...`, or one that does not fit the shapes.
    """
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    if [len(term) for term in terms] != [len(shape) for shape in shapes] or "." in equation:
        return None
    extents: dict[str, int] = {}
    for index, size in zip("".join(terms), itertools.chain(*shapes), strict=True):
        known = extents.get(index, 1)
        if 1 not in (known, size) and known != size:
            return None
        extents[index] = size if known == 1 else known
    return math.prod(extents.values())
