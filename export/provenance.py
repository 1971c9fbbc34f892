"""From a node of an ONNX graph back to the module of the network it was exported from."""

import re
from collections.abc import Mapping

import onnx

from perframe.export.constants import constant_roots

MODULE_KEY = "perframe.module"
"""Key of a node's metadata entry that holds its module path, in models exported by this program."""

_TORCH_SCOPES_KEY = "pkg.torch.onnx.name_scopes"

# A parameter as PyTorch names it, with what folding and quantising append: `f.0.weight`, `f.0.weight_bias`.
_PARAMETER = re.compile(r"(?P<module>.+)\.(?P<kind>weight|bias)(_\w+)?")

# An entry of the scopes, which are a Python list as text. The text is untrusted, so nothing evaluates it.
_SCOPE = re.compile(r"'([^']*)'")


def node_names(graph: onnx.GraphProto) -> list[str]:
    """Return one unique key per node, in graph order: its name, or `<op>_<index>` where it has none.

    Where several nodes share a name the first keeps it, and the others get a number behind it.
    """
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    # The next number of every stem: starting over at 1 would make many nodes of one name quadratic.
    numbers: dict[str, int] = {}
    keys = []
    for index, node in enumerate(graph.node):
        stem = key = node.name or f"{node.op_type}_{index}"
        while key in seen or (key != node.name and key in taken):
            numbers[stem] = numbers.get(stem, 0) + 1
            key = f"{stem}_{numbers[stem]}"
        seen.add(key)
        keys.append(key)
    return keys


def node_modules(graph: onnx.GraphProto) -> dict[str, str]:
    """Return the source module path of every node, by its key in `node_names`.

    In this order: what this program's own export wrote down; the path in the node's name (PyTorch's
    TorchScript exporter); the name of its weight; PyTorch's scope metadata; else the node's own key. An
    operation of the network's own forward method, outside all its modules, has the path "".

    The weight goes before the scope because a convolution that a BatchNorm was folded into carries the
    BatchNorm's scope. The path goes before the weight because the TorchScript exporter shares equal weights.
    """
    roots = constant_roots(graph)
    modules = {}
    for key, node in zip(node_names(graph), graph.node, strict=True):
        metadata = {entry.key: entry.value for entry in node.metadata_props}
        candidates = (
            metadata.get(MODULE_KEY),
            _from_path(node.name),
            _from_weights(node, roots),
            _from_scopes(metadata.get(_TORCH_SCOPES_KEY, "")),
        )
        modules[key] = next((path for path in candidates if path is not None), key)
    return modules


def write_down_modules(graph: onnx.GraphProto) -> None:
    """Name every node by its key and note its module in its metadata, in place.

    What is done to the graph afterwards, such as changing weights or putting nodes between, then changes
    neither.
    """
    for node, (key, module) in zip(graph.node, node_modules(graph).items(), strict=True):
        node.name = key
        if module_of(node) is None:
            node.metadata_props.add(key=MODULE_KEY, value=module)


def module_of(node: onnx.NodeProto) -> str | None:
    """Return the module in a node's metadata, if it is noted there."""
    return next((entry.value for entry in node.metadata_props if entry.key == MODULE_KEY), None)


def module_in_name(name: str) -> str | None:
    """Return the module that a name tells of where there is no graph to ask, else None.

    Args:
        name: Of a node (`/features/features.0/Conv` -> `features.0`) or of a weight (`fc.weight` -> `fc`).
    """
    path = _from_path(name)
    weight = _PARAMETER.fullmatch(name)
    return path if path is not None or weight is None else weight["module"]


def _from_path(name: str) -> str | None:
    """`/features/features.1/features.1.0/Conv` -> `features.1.0`, `/Conv` -> ``; None for other names."""
    if not name.startswith("/"):
        return None
    path: list[str] = []
    parent = ""
    for scope in name.split("/")[1:-1]:
        # Children of a Sequential repeat their parent's name, other modules do not.
        path.append(scope.removeprefix(f"{parent}."))
        parent = scope
    return ".".join(path)


def _from_weights(node: onnx.NodeProto, roots: Mapping[str, str]) -> str | None:
    matches = [match for name in node.input if (match := _PARAMETER.fullmatch(roots.get(name, "")))]
    matches.sort(key=lambda match: match["kind"] != "weight")
    return matches[0]["module"] if matches else None


def _from_scopes(text: str) -> str | None:
    """`['', 'f', 'f.2', 'relu']` -> `f.2`: the last entry names the operation, the ones before it modules."""
    modules: list[str] = _SCOPE.findall(text)[:-1]
    return modules[-1] if modules else None
