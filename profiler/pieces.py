"""Engines for pieces of a network: the graph that is executed, its real tensors, and a piece opened to be run."""

import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from perframe.arrays import Array
from perframe.engines.base import Backend, BuildSpec, Engine, EngineArtifact, TensorRtOptions
from perframe.errors import BuildError, InputError, PerframeError, UsageError
from perframe.export.onnx_model import OnnxModel, open_onnx
from perframe.export.provenance import node_names
from perframe.export.shapes import infer_shapes
from perframe.export.subgraph import Copies, Cutter, Piece, with_outputs
from perframe.profiler.result import LayerResult

_CAPTURED_BYTES = 2**29


@dataclass(frozen=True)
class ExecutedNetwork:
    """A network as its engine executes it.

    Attributes:
        backend: What built the engine, and builds those of its pieces.
        artifact: The engine.
        inputs: What it is measured on.
        model: The graph that its steps are nodes of, or groups of nodes.
        proto: The same with the values of its weights.
        groups: The nodes of every layer that has some, by the layer's name.
    """

    backend: Backend
    artifact: EngineArtifact
    inputs: Mapping[str, Array]
    model: OnnxModel
    proto: onnx.ModelProto = field(repr=False)
    groups: Mapping[str, tuple[str, ...]]

    @property
    def batch(self) -> int:
        """Frames per inference."""
        return int(next(iter(self.inputs.values())).shape[0])

    def cutter(self) -> Cutter:
        """Return what cuts pieces out of it."""
        return Cutter(self.proto.graph, self.model.path)


def executed_network(
    backend: Backend,
    artifact: EngineArtifact,
    inputs: Mapping[str, Array],
    layers: Sequence[LayerResult],
    source: Path | None,
) -> ExecutedNetwork:
    """Find the graph whose nodes a network's layers are.

    A runtime that keeps its optimised network as ONNX, as ONNX Runtime does, says exactly what it executes: each
    layer is one node there, in the layout it has in the network. Of other engines only the model they were built from
    is known, and which of its nodes each layer fuses.

    Args:
        backend: What built the engine.
        artifact: The engine.
        inputs: Values of its inputs.
        layers: What the engine executes, as it was profiled.
        source: The ONNX file it was built from; needed where the engine is no ONNX file itself.

    Raises:
        UsageError: The source is needed and was not given.
        InputError: It is not the model that the engine was built from.
    """
    model = _own_graph(artifact, layers)
    groups: dict[str, tuple[str, ...]]
    if model is not None:
        groups = {layer.name: (layer.name,) for layer in layers}
    elif source is None:
        raise UsageError(
            f"{artifact.path}: single layers can only be cut out of the ONNX model, which the engine does not hold.",
            "Give the .onnx file it was built from, or --layer-energy attributed.",
        )
    else:
        model = open_onnx(source)
        if model.sha256 != artifact.model.sha256:
            raise InputError(
                f"{source}: expected the model with SHA-256 {str(artifact.model.sha256)[:12]} that the engine was "
                f"built from, found {model.sha256[:12]}.",
                "Give that model, or build the engine again.",
            )
        groups = {layer.name: layer.onnx_nodes for layer in layers if layer.onnx_nodes}
    return ExecutedNetwork(
        backend=backend,
        artifact=artifact,
        inputs=inputs,
        model=model,
        proto=onnx.load(str(model.path)),
        groups=groups,
    )


def captured(network: ExecutedNetwork, pieces: Iterable[Piece]) -> dict[str, Array]:
    """Run the network once and return the tensors at the pieces' boundaries.

    A tensor whose type cannot be told before it is computed is not among them.

    Raises:
        PerframeError: The network cannot be built with these tensors as outputs.
    """
    wanted = [name for piece in pieces for name in piece.boundary if name not in network.inputs]
    shapes = {name: value.shape for name, value in network.inputs.items()}
    proto = with_outputs(network.model, network.proto, wanted, shapes)
    with _built(network, proto, network.inputs, copies=0) as engine:
        return {**engine.infer(network.inputs), **network.inputs}


class Captures:
    """The real tensors at the boundaries of pieces, for as many pieces at a time as fit into memory together.

    Args:
        network: The network.
        pieces: By name, in the order in which they will be asked for.
    """

    def __init__(self, network: ExecutedNetwork, pieces: Mapping[str, Piece]) -> None:
        self._network, self._pieces = network, pieces
        self._group_of = {name: group for group in self._groups() for name in group}
        self._captured: list[str] = []
        self._values: dict[str, Array] = {}

    def values(self, name: str) -> Mapping[str, Array]:
        """Return the tensors of a piece, and perhaps others.

        Raises:
            InputError: The type of one cannot be told before it is computed.
            PerframeError: The network cannot be built with them as outputs, or run.
        """
        group = self._group_of[name]
        if group is not self._captured:
            self._values = {}
            try:
                self._values = captured(self._network, [self._pieces[each] for each in group])
            except PerframeError:
                if len(group) == 1:
                    raise
                # One tensor that the runtime will not put out spoils the others' chances: each for itself.
                self._group_of |= {each: [each] for each in group}
                return self.values(name)
            self._captured = group
        missing = [tensor for tensor in self._pieces[name].boundary if tensor not in self._values]
        if missing:
            raise InputError(
                f"The type of its tensor {missing[0]!r} cannot be told.", "It can be attributed."
            )
        return self._values

    def _groups(self) -> Iterator[list[str]]:
        network = self._network
        shapes = infer_shapes(network.model, {name: value.shape for name, value in network.inputs.items()})
        group: list[str] = []
        held = 0
        for name, piece in self._pieces.items():
            # Four bytes for an element: types are not known yet.
            needed = sum(4 * math.prod(shapes.get(tensor, ())) for tensor in piece.boundary)
            if group and held + needed > _CAPTURED_BYTES:
                yield group
                group, held = [], 0
            group.append(name)
            held += needed
        if group:
            yield group


@contextmanager
def opened_copies(network: ExecutedNetwork, extra: Copies) -> Iterator[Engine]:
    """Open copies of a piece as an engine that has run once on its feeds.

    Raises:
        BuildError: The runtime refuses the copies, or took several of them for one.
        PerframeError: See `perframe.engines.base.Backend`.
    """
    with _built(network, extra.model, extra.feeds, extra.count) as engine:
        yield _started(engine, extra.feeds)


@contextmanager
def opened_network(network: ExecutedNetwork, proto: onnx.ModelProto, extra: Copies) -> Iterator[Engine]:
    """Open the network with copies of a piece in it, see `perframe.export.subgraph.with_copies`.

    Raises:
        PerframeError: As `opened_copies`.
    """
    feeds = {**network.inputs, **extra.feeds}
    with _built(network, proto, feeds, extra.count) as engine:
        yield _started(engine, feeds)


@contextmanager
def _built(
    network: ExecutedNetwork, proto: onnx.ModelProto, feeds: Mapping[str, Array], copies: int
) -> Iterator[Engine]:
    artifact = network.artifact
    spec = BuildSpec(
        input_shapes={name: value.shape for name, value in feeds.items()},
        device=artifact.device,
        provider=artifact.provider,
        threads=artifact.threads,
        regime=artifact.regime,
        batches=(network.batch,),
        tensorrt=artifact.tensorrt or TensorRtOptions(),
        cache=False,
    )
    with tempfile.TemporaryDirectory(prefix="perframe-") as name:
        path = Path(name) / "piece.onnx"
        try:
            built = network.backend.build(_saved(proto, path), spec, path.with_name("engine"))
        except PerframeError as error:
            # The folder is gone when this is read.
            raise type(error)(error.message.replace(f"{path.parent}/", ""), error.hint) from error
        steps = sum("@" in "".join((step.name, *step.onnx_nodes)) for step in built.layers)
        if built.layers and steps < copies:
            raise BuildError(
                f"The runtime made {steps} steps of {copies} copies of a layer.",
                "Its energy can only be attributed, by its share of the time.",
            )
        with network.backend.open(built) as engine:
            yield engine


def _saved(proto: onnx.ModelProto, path: Path) -> OnnxModel:
    try:
        onnx.save(proto, str(path))
    except ValueError as error:  # protobuf's own limit
        raise BuildError(
            "With its copies, a layer's weights are more than the 2 GB that an ONNX file can hold.",
            "Take a smaller batch.",
        ) from error
    return open_onnx(path)


def _started(engine: Engine, feeds: Mapping[str, Array]) -> Engine:
    """Run once: what cannot run at all is found before anything is measured."""
    engine.bind(feeds)
    engine.run(1)
    return engine


def _own_graph(artifact: EngineArtifact, layers: Sequence[LayerResult]) -> OnnxModel | None:
    try:
        model = open_onnx(artifact.path)
    except InputError:
        return None
    return model if {layer.name for layer in layers} <= set(node_names(model.graph)) else None
