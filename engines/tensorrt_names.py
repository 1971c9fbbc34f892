"""Names of TensorRT's layers: what was fused, and what TensorRT added.

A fused layer is named after its parts: `Conv_0 + Relu_1`, `A || B` for layers merged side by side, `PWN(A, PWN(B))`
for point-wise ones, `{ForeignNode[A...Z]}` for a part of the graph that another compiler took over; constants stand
among the parts. From 9.x on the inspector's metadata tells the ONNX nodes, and names are what is left.
"""

import re

from perframe.export.provenance import module_in_name

_SEPARATOR = re.compile(r"[\x1e\x1f]| \+ | \|\| |, |PWN\(|\.\.\.|\{ForeignNode\[|\]\}")
# Parts that are no node: what the parser or the optimiser made up for constants and shapes.
_MADE_UP = re.compile(
    r"\(Unnamed Layer\* \d+\) \[\w+\]|(?:un)?squeeze_node_after_|ONNXTRT_|_constant(?:Half|Float|Int8)?$"
)
_COPIES = re.compile(
    r"^Reformatting CopyNode for (?:Input|Output) Tensor \d+ to |^Forced Cast ITensor |^dummy_shape_call_| copy$"
    r"|^(?:copied_)?(?:un)?(?:squeeze|reshape|transpose|shuffle)(?:_node)?_(?:before|after|between)_"
)
# Layers that TensorRT's other compiler named after nothing but copies and casts.
_GENERATED_COPIES = re.compile(r"^__myl_(?:Move|Cast|Conc|Tran|Resh?|Repl|Copy)+_myl\d")
_GENERATED = re.compile(r"^__my[le]|^_gemm_mha_")
_GENERATED_NUMBER = re.compile(r"_myl\d+_\d+$")
_MULTIPLIES = re.compile(
    r"(?:^|[/._\]-])(?:conv\w*|gemm|matmul|linear|addmm|dense|fc)(?:_\d+)?$", re.IGNORECASE
)


def is_copy(name: str) -> bool:
    """Whether a layer's name says that TensorRT added it to move, convert or reshape a tensor."""
    return _COPIES.search(name) is not None


def only_moves(name: str) -> bool:
    """Whether a generated layer is named after nothing but moves and casts, the network's own or added ones."""
    return _GENERATED_COPIES.search(name) is not None


def parts_beside(name: str) -> tuple[str, ...]:
    """Return the parts of the layer that a copy was put before or behind, as its name tells."""
    return parts_of(_COPIES.sub("", name)) if is_copy(name) else ()


def parts_of(name: str) -> tuple[str, ...]:
    """Return the parts a layer was fused from, weights among them; nothing for names that tell nothing."""
    if is_copy(name) or _GENERATED.search(name):
        return ()
    parts = []
    for part in _SEPARATOR.split(_GENERATED_NUMBER.sub("", name)):
        part = part.strip()
        # What is left of `PWN(...)`; a name's own brackets come in pairs.
        surplus = min(part.count(")") - part.count("("), len(part) - len(part.rstrip(")")))
        part = part[: len(part) - max(surplus, 0)]
        if part and not _MADE_UP.search(part):
            parts.append(part)
    return tuple(dict.fromkeys(parts))


def is_weight(part: str) -> bool:
    """Whether a part of a name is a weight rather than a node."""
    return part.endswith((".weight", ".bias")) and not part.startswith("/")


def module_of_parts(parts: tuple[str, ...]) -> str | None:
    """Return the module a fused layer is of, as far as names tell; None for no parts.

    In this order, as for ONNX nodes (see `perframe.export.provenance.node_modules`): the path in the name of
    the part that multiplies, or else of the first; the module of its weight; that part's own name.
    """
    nodes = [part for part in parts if not is_weight(part)]
    main = next((part for part in nodes if _MULTIPLIES.search(part)), nodes[0] if nodes else None)
    candidates = [main, *(part for part in parts if is_weight(part))]
    told = [module_in_name(part) for part in candidates if part is not None]
    return next((module for module in told if module is not None), main)
