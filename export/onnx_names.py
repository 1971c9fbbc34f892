"""Names in an exported graph: nodes after their modules, tensors after their nodes or layers."""

from collections import Counter
from collections.abc import Mapping, Sequence

import onnx

from perframe.export.provenance import MODULE_KEY


def rename_after_modules(graph: onnx.GraphProto, modules: Sequence[str]) -> None:
    """Rename everything in a graph of torch's TorchScript exporter, in place.

    `/features/features.1/features.1.0/Conv` becomes `features.1.0`. Where one module yields several nodes
    their operation is added (`attention/MatMul`, `attention/MatMul_1`), and a node of the network's own
    forward method is called by its operation. Every node gets its module's path as metadata; that of the
    network itself is "". Nodes that only copy a weight, which the exporter leaves where two weights are
    equal, are removed.

    Args:
        graph: The graph; inputs and outputs keep their names.
        modules: Paths of all modules of the network, in their order of definition, as `named_modules` gives
            them.
    """
    _remove_weight_copies(graph)
    paths = [_module_path(node, modules) for node in graph.node]
    crowded = Counter(paths)
    names = _Names()
    for node, path in zip(graph.node, paths, strict=True):
        alone = crowded[path] == 1 and path
        node.name = names.unique(path if alone else f"{path}/{node.op_type}".removeprefix("/"))
        node.metadata_props.add(key=MODULE_KEY, value=path)
    _rename_tensors(graph, paths)


class _Names:
    """Hands out each name once."""

    def __init__(self, taken: Sequence[str] = ()) -> None:
        self._taken = set(taken)

    def unique(self, wanted: str) -> str:
        name, number = wanted, 0
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def _remove_weight_copies(graph: onnx.GraphProto) -> None:
    weights = {tensor.name for tensor in graph.initializer}
    outputs = {value.name for value in graph.output}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        copied = node.op_type == "Identity" and (node.input[0] in weights or node.input[0] in source)
        if copied and node.output[0] not in outputs:
            source[node.output[0]] = source.get(node.input[0], node.input[0])
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    _replace_names(graph, source)


def _replace_names(graph: onnx.GraphProto, new: Mapping[str, str]) -> None:
    """Rename tensors wherever nodes use or make them, also in the branches and loops inside."""
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs:
                _replace_names(inner, new)


def _module_path(node: onnx.NodeProto, modules: Sequence[str]) -> str:
    """The module of a node, from the scopes in the exporter's name `/outer/outer.0/inner/Op`.

    A scope is the end of a module's path from its last word that is no number, with `_1`, `_2`, ... for
    further calls of the same module.
    """
    *scopes, _ = node.name.lstrip("/").split("/")
    path, position = "", 0
    while position < len(scopes):
        # A module's own name may hold slashes, as those of Caffe conversions do: the longest match wins.
        for end in range(len(scopes), position, -1):
            found = _resolve("/".join(scopes[position:end]), path, modules)
            if found is not None:
                path, position = found, end
                break
        else:
            position += 1
    return path


def _resolve(scope: str, parent: str, modules: Sequence[str]) -> str | None:
    """The module a scope stands for: below `parent` if any is, else the first anywhere."""
    for candidate in (scope, _without_call_number(scope)):
        named = [path for path in modules if path and _scope_of(path) == candidate]
        below = [path for path in named if not parent or path.startswith(f"{parent}.")]
        if below or named:
            # The nearest: fewest steps down.
            return min(below or named, key=lambda path: path.count("."))
    return None


def _scope_of(path: str) -> str:
    atoms = path.split(".")
    first = next((index for index in range(len(atoms) - 1, -1, -1) if not atoms[index].isnumeric()), 0)
    return ".".join(atoms[first:])


def _without_call_number(scope: str) -> str:
    stem, _, number = scope.rpartition("_")
    return stem if number.isdigit() else scope


def _rename_tensors(graph: onnx.GraphProto, paths: Sequence[str]) -> None:
    """Weights that lost their names become `<module>.weight` and `.bias`; results become `<node>.out`."""
    fixed = [value.name for value in [*graph.input, *graph.output]]
    weights = {tensor.name for tensor in graph.initializer}
    kept = {name for name in weights if "::" not in name}
    names = _Names([*fixed, *kept])
    new = {name: name for name in [*fixed, *kept]}
    for node, path in zip(graph.node, paths, strict=True):
        for position, name in enumerate(node.input):
            if name in weights and name not in new:
                kind = {1: "weight", 2: "bias"}.get(position, f"input_{position}")
                new[name] = names.unique(f"{path or node.name}.{kind}")
        for index, name in enumerate(node.output):
            if name and name not in new:
                new[name] = names.unique(f"{node.name}.out" + (f"_{index}" if index else ""))
    for tensor in graph.initializer:
        tensor.name = new.get(tensor.name, tensor.name)
    _replace_names(graph, new)
    for value in graph.value_info:
        value.name = new.get(value.name, value.name)
