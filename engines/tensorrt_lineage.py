"""Which source nodes and modules each layer of a TensorRT engine came from.

With the ONNX file at hand, a layer's nodes are those that the inspector's metadata names (9.x on), else those in its
own name, else those between the tensors it reads and writes; what they cost is counted on the ONNX graph. Without
it, names are all there is, and the inspector's shapes and parameters say what a layer costs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from perframe.engines.base import EngineLayer
from perframe.engines.lineage import Neighbours, SourceGraph, fused_layer, main_node
from perframe.engines.tensorrt_cost import inspected_cost, multiplies
from perframe.engines.tensorrt_inspector import InspectedLayer, Inspection
from perframe.engines.tensorrt_names import (
    is_copy,
    is_weight,
    module_of_parts,
    only_moves,
    parts_beside,
    parts_of,
)
from perframe.errors import InputError
from perframe.export.cost import LayerCost, layer_costs
from perframe.export.onnx_model import OnnxModel
from perframe.export.provenance import node_modules

# Kinds of layers that only move data, where no node of the network is in them.
_MOVERS = frozenset({"reformat", "noop", "shapecall", "copy", "cast", "shuffle"})
# MACs of the two counts may differ by rounding per frame, and no more.
_TOLERANCE = 0.001


def engine_layers(
    inspection: Inspection,
    model: OnnxModel | None = None,
    *,
    batch: int = 1,
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> tuple[EngineLayer, ...]:
    """Describe every layer of an engine by the source nodes it computes.

    Args:
        inspection: The engine as its inspector shows it.
        model: The ONNX file it was built from; `None` leaves the inspector's word.
        batch: Frames per inference, see `perframe.engines.tensorrt_cost.batch_of`.
        input_shapes: Full shape of every input of the model, as the engine was run.

    Returns:
        One layer per layer of the engine, in the order of execution. Names are unique: the second layer of a name
        is called `name (2)`.

    Raises:
        InputError: The model is not the one the engine was built from.
    """
    names = unique_names([layer.name for layer in inspection.layers])
    if model is None:
        layers = _by_inspector(inspection, names, batch)
    else:
        layers = _by_graph(inspection, names, model, layer_costs(model, input_shapes), batch)
    return tuple(
        replace(layer, kernel=seen.tactic, format=_format_of(seen))
        for layer, seen in zip(layers, inspection.layers, strict=True)
    )


def require_same_network(
    inspection: Inspection,
    layers: Sequence[EngineLayer],
    costs: Sequence[LayerCost],
    *,
    batch: int,
    path: object,
) -> None:
    """Hold what convolutions cost by the model against what the inspector says of them.

    Args:
        inspection: The engine.
        layers: The same, described with the model.
        costs: Of the model's nodes.
        batch: Frames per inference.
        path: The model's file, for the message.

    Raises:
        InputError: They differ: the model is of another input size, width or grouping.
    """
    multiplied = {cost.name for cost in costs if cost.macs}
    for layer, seen in zip(layers, inspection.layers, strict=True):
        told = inspected_cost(seen, batch).macs if seen.convolution is not None else None
        alone = len(multiplied.intersection(layer.onnx_nodes)) == 1
        if alone and told and layer.macs and abs(layer.macs / told - 1.0) > _TOLERANCE:
            raise InputError(
                f"{path}: layer {layer.name!r} has {layer.macs} MACs per frame by the model, and {told} by the"
                " engine's inspector.",
                "Give the ONNX file that this engine was built from, and the --batch it was run with.",
            )


def unique_names(names: Sequence[str]) -> list[str]:
    """Return the names with ` (2)`, ` (3)`, ... behind those that came before."""
    times: dict[str, int] = {}
    unique: dict[str, None] = {}
    for name in names:
        found = name
        while found in unique:
            times[name] = times.get(name, 1) + 1
            found = f"{name} ({times[name]})"
        unique[found] = None
    return list(unique)


def _by_inspector(inspection: Inspection, names: Sequence[str], batch: int) -> list[EngineLayer]:
    parts = [layer.onnx_nodes or parts_of(layer.name) for layer in inspection.layers]
    added = [_is_added(layer, told=bool(told)) for layer, told in zip(inspection.layers, parts, strict=True)]
    own = [None if is_added else module_of_parts(told) for is_added, told in zip(added, parts, strict=True)]
    beside = [module_of_parts(parts_beside(layer.name)) for layer in inspection.layers]
    layers = []
    for index, module in enumerate(_modules(inspection, own, added, beside)):
        layer, name = inspection.layers[index], names[index]
        cost = inspected_cost(layer, batch, module)
        described = fused_layer(name, layer.type, [name], {name: cost}, module=module, overhead=added[index])
        nodes = () if added[index] else tuple(part for part in parts[index] if not is_weight(part))
        described = replace(described, onnx_nodes=nodes)
        layers.append(replace(described, macs=0, params=0) if added[index] else described)
    return layers


@dataclass(frozen=True)
class _Claims:
    """Which nodes of the source each layer names, and which are counted there: each node in one layer."""

    named: Sequence[set[int]]
    counted: Sequence[set[int]]


def _by_graph(
    inspection: Inspection, names: Sequence[str], model: OnnxModel, costs: Sequence[LayerCost], batch: int
) -> list[EngineLayer]:
    source = SourceGraph(model.graph)
    cost_of = {cost.name: cost for cost in costs}
    module_of = node_modules(model.graph)
    known = _node_indices(source)
    claims = _claims(inspection, source, known, model)
    steps = [[source.names[i] for i in sorted(named)] for named in claims.named]
    added = [
        not nodes and _is_added(layer, told=False)
        for nodes, layer in zip(steps, inspection.layers, strict=True)
    ]
    own = [module_of.get(main_node(nodes, cost_of) or "") for nodes in steps]
    beside = [
        module_of.get(
            main_node([source.names[known[p]] for p in parts_beside(each.name) if p in known], cost_of) or ""
        )
        for each in inspection.layers
    ]
    layers = []
    for index, module in enumerate(_modules(inspection, own, added, beside)):
        layer, nodes = inspection.layers[index], steps[index]
        told = inspected_cost(layer, batch)
        described = fused_layer(
            names[index],
            layer.type,
            nodes,
            cost_of,
            module=module,
            overhead=added[index],
            counted={source.names[i] for i in claims.counted[index]},
        )
        if not nodes and not added[index] and told.macs != 0:
            described = replace(described, macs=None, params=None)
        layers.append(described)
    return layers


def _modules(
    inspection: Inspection, own: Sequence[str | None], added: Sequence[bool], beside: Sequence[str | None]
) -> list[str | None]:
    """The module of every layer: its own, else that of the layer whose tensor it moves or that it is a part of.

    Args:
        inspection: The engine.
        own: The module of each layer's nodes.
        added: Whether TensorRT added the layer; one that it did not is a part of what its reader computes.
        beside: The module that a layer's name tells it was put beside, where no tensor leads further.
    """
    neighbours = Neighbours(
        [[tensor.name for tensor in layer.inputs] for layer in inspection.layers],
        [[tensor.name for tensor in layer.outputs] for layer in inspection.layers],
    )
    modules = list(own)
    # Backward too: several copies in a row at the network's begin are of what reads the last of them.
    for index in (*range(len(own)), *reversed(range(len(own)))):
        if modules[index] is None:
            modules[index] = neighbours.owner(index, modules, before=added[index])
    return [module if module is not None else other for module, other in zip(modules, beside, strict=True)]


def _claims(
    inspection: Inspection, source: SourceGraph, known: Mapping[str, int], model: OnnxModel
) -> _Claims:
    named = [_named_nodes(layer, known) for layer in inspection.layers]
    if not any(named):
        raise InputError(
            f"{model.path}: expected the model the engine was built from, found none of its"
            f" {len(source.names)} nodes in the names of the engine's {len(inspection.layers)} layers.",
            "Give the ONNX file that this engine was built from, or leave --onnx out.",
        )
    counted: list[set[int]] = [set() for _ in named]
    taken: set[int] = set()
    # A node that several layers name is counted where it is multiplied.
    multiplying = sorted(range(len(named)), key=lambda step: not multiplies(inspection.layers[step]))
    for step in multiplying:
        counted[step] = named[step] - taken
        taken |= counted[step]
    for step, found in _by_tensors(inspection, source, named).items():
        counted[step] = found - taken
        taken |= counted[step]
    source.adopt(counted)
    return _Claims([one | other for one, other in zip(named, counted, strict=True)], counted)


def _node_indices(source: SourceGraph) -> dict[str, int]:
    """Index of every node that works on activations, by its key and by what the parser calls one without a name."""
    known: dict[str, int] = {}
    for index, (name, node) in enumerate(zip(source.names, source.graph.node, strict=True)):
        if not all(tensor in source.constants for tensor in node.output):
            known.setdefault(name, index)
            if not node.name and node.output:
                known.setdefault(f"node_of_{node.output[0]}", index)
    return known


def _named_nodes(layer: InspectedLayer, known: Mapping[str, int]) -> set[int]:
    if is_copy(layer.name) or layer.origin.upper() == "REFORMAT":
        return set()
    told = {known[name] for name in layer.onnx_nodes if name in known}
    return told or {known[part] for part in (layer.name, *parts_of(layer.name)) if part in known}


def _by_tensors(
    inspection: Inspection, source: SourceGraph, named: Sequence[set[int]]
) -> dict[int, set[int]]:
    """Nodes of layers whose names tell none: those between the tensors that they read and write."""
    alias: dict[str, str] = {}
    for layer, nodes in zip(inspection.layers, named, strict=True):
        if not nodes and len(layer.inputs) == len(layer.outputs) == 1:
            written, read = layer.outputs[0].name, layer.inputs[0].name
            # Copies of a tensor have made-up names: `Reformatted Input Tensor 0 to conv1`.
            if written not in source.tensors:
                alias[written] = alias.get(read, read)
    available = {tensor.name for layer in inspection.layers for tensor in layer.outputs}
    found = {}
    for step, layer in enumerate(inspection.layers):
        if not named[step] and not is_copy(layer.name):
            reads = {alias.get(tensor.name, tensor.name) for tensor in layer.inputs}
            found[step] = source.between(reads, (tensor.name for tensor in layer.outputs), available)
    return found


def _is_added(layer: InspectedLayer, *, told: bool) -> bool:
    """Whether TensorRT added a layer; `told` says whether a node of the network is known to be in it."""
    if is_copy(layer.name) or layer.origin.upper() == "REFORMAT":
        return True
    return not told and (only_moves(layer.name) or layer.type.lower().replace("_", "") in _MOVERS)


def _format_of(layer: InspectedLayer) -> str | None:
    """The format a layer works in: what it writes, and of a copy also what it reads."""
    written = layer.outputs[0].format if layer.outputs else None
    read = layer.inputs[0].format if layer.inputs else None
    if layer.type.lower() == "reformat" and read is not None and written is not None and read != written:
        return f"{read} -> {written}"
    return written
