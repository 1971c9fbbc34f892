"""Whatever the user has, a checkpoint, an ONNX model or a built engine, made into an engine artifact."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perframe.engines.artifact import engine_target, is_artifact, read_artifact
from perframe.engines.base import BuildSpec, EngineArtifact, Regime, TensorRtOptions
from perframe.engines.convert import convert, is_onnx, only_shape
from perframe.engines.describe import precision_of
from perframe.engines.lower import PrecisionSpec
from perframe.engines.registry import backend_named
from perframe.engines.running import InputShapes
from perframe.errors import UsageError
from perframe.export.onnx_model import fixed_batch, open_onnx, resolve_input_shapes
from perframe.files import readable_file
from perframe.progress import Progress, silent


def build_engine(
    model_path: Path,
    out: Path,
    *,
    engine: str = "onnxruntime",
    device: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    input_shapes: InputShapes = None,
    regime: Regime = "inference",
    checkpoint: Path | None = None,
    batches: tuple[int, ...] = (),
    tensorrt: TensorRtOptions | None = None,
    rebuild: int = 0,
    cache: bool = True,
    progress: Progress = silent,
) -> EngineArtifact:
    """Build an engine from an ONNX file.

    Args:
        model_path: The ONNX file.
        out: The engine file; its sidecar goes beside it.
        engine: Name of the backend.
        device: `cpu` or `cuda:N`; `None` takes the backend's own.
        provider: See `perframe.engines.base.BuildSpec`.
        threads: See `perframe.engines.base.BuildSpec`.
        input_shapes: Sizes without the batch of inputs with symbolic dimensions, by name or for the only one.
        regime: See `perframe.engines.base.BuildSpec`.
        checkpoint: See `perframe.engines.base.BuildSpec`.
        batches: See `perframe.engines.base.BuildSpec`.
        tensorrt: See `perframe.engines.base.BuildSpec`; `None` leaves everything to TensorRT.
        rebuild: See `perframe.engines.base.BuildSpec`.
        cache: See `perframe.engines.base.BuildSpec`.
        progress: Told what is going on.

    Raises:
        UsageError: An argument contradicts another or the model.
        InputError: The model is unreadable or wrong.
        UnavailableError: The device or the runtime is not there, or `out` cannot be written.
        BuildError: The runtime refuses the model.
    """
    backend = backend_named(engine)
    device = device or backend.default_device
    check_device(device)
    if tensorrt is not None and not engine.startswith("tensorrt"):
        raise UsageError(
            f"Engine {engine} takes no options of TensorRT.", "Give --engine tensorrt or tensorrt-rtx."
        )
    check_regime(engine, regime)
    engine_target(out, inputs=(model_path,))
    model = open_onnx(model_path)
    for batch in batches:
        resolve_input_shapes(model, batch, input_shapes)
    shapes = resolve_input_shapes(model, fixed_batch(model) or 1, input_shapes)
    spec = BuildSpec(
        input_shapes=shapes,
        device=device,
        provider=provider,
        threads=threads,
        regime=regime,
        checkpoint=checkpoint,
        batches=batches,
        tensorrt=tensorrt or TensorRtOptions(),
        rebuild=rebuild,
        cache=cache,
    )
    return backend.build(model, spec, out, progress)


@dataclass(frozen=True)
class Engines:
    """The engines that run one file.

    Attributes:
        by_batch: Those to run at each batch size, one for each build. Several batch sizes may share theirs.
        source: The ONNX file they were built from; `None` where the file was an engine already.
    """

    by_batch: Mapping[int, tuple[EngineArtifact, ...]]
    source: Path | None

    @property
    def first(self) -> EngineArtifact:
        """Any of them: network, runtime and device are the same for all."""
        return next(iter(self.by_batch.values()))[0]


@contextmanager
def engine_for(
    file: Path,
    *,
    engine: str | None = None,
    device: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    input_shapes: InputShapes = None,
    factory: str | None = None,
    precision: PrecisionSpec | None = None,
    batches: tuple[int, ...] = (),
    regime: Regime | None = None,
    trust: bool = False,
    progress: Progress = silent,
) -> Iterator[EngineArtifact]:
    """Give one engine for `file` at every batch size; see `engines_for`."""
    with engines_for(
        file,
        engine=engine,
        device=device,
        provider=provider,
        threads=threads,
        input_shapes=input_shapes,
        factory=factory,
        precision=precision,
        batches=batches,
        regime=regime,
        dynamic=True,
        trust=trust,
        progress=progress,
    ) as engines:
        yield engines.first


@contextmanager
def engines_for(
    file: Path,
    *,
    engine: str | None = None,
    device: str | None = None,
    provider: str | None = None,
    threads: int | None = None,
    input_shapes: InputShapes = None,
    factory: str | None = None,
    precision: PrecisionSpec | None = None,
    batches: tuple[int, ...] = (),
    regime: Regime | None = None,
    tensorrt: TensorRtOptions | None = None,
    dynamic: bool = False,
    rebuilds: int = 1,
    cache: bool = True,
    trust: bool = False,
    progress: Progress = silent,
) -> Iterator[Engines]:
    """Give the engines that run `file`: as it is if it is one, else exported and built for the length of the block.

    Args:
        file: A checkpoint, an ONNX model or an engine with its sidecar.
        engine: See `build_engine`; `None` is "onnxruntime", or what `file` was built with if it is an engine.
        device: See `build_engine`; `None` is the backend's own, likewise.
        provider: See `build_engine`.
        threads: See `build_engine`.
        input_shapes: See `build_engine`.
        factory: See `perframe.engines.convert.convert`.
        precision: What to export a checkpoint or an fp32 ONNX model in; `None` is fp32, or what `file` is in.
        batches: Batch sizes to run at, refused before anything is built; none is 1, or what the model is fixed at.
        regime: See `build_engine`; `None` is "inference", or what `file` was built for if it is an engine.
        tensorrt: See `build_engine`; `None` leaves it to TensorRT, or is what `file` was built with.
        dynamic: One engine for all batch sizes, also of a backend that tunes for one.
        rebuilds: How often to build each engine, of a backend whose builds differ from each other.
        cache: See `build_engine`.
        trust: See `perframe.engines.artifact.read_artifact`.
        progress: Told what is going on.

    Raises:
        PerframeError: See `build_engine`, `perframe.engines.convert.convert` and `read_artifact`.
    """
    if is_artifact(file):
        artifact = read_artifact(file, trust=trust)
        if precision is not None and precision.name != artifact.model.precision:
            raise UsageError(
                f"{file}: built in {artifact.model.precision}, asked for {precision.name}.",
                f"Export the model with --precision {precision.name} and build that.",
            )
        _require_as_asked(
            artifact, engine=engine, device=device, provider=provider, threads=threads, regime=regime
        )
        if rebuilds > 1 or tensorrt not in (None, artifact.tensorrt):
            raise UsageError(
                f"{file}: was built already, and not with these options.",
                "Give the ONNX file to build it anew.",
            )
        batches = batches or artifact.batches or (fixed_batch(artifact) or 1,)
        _require_batches(artifact, batches)
        yield Engines(dict.fromkeys(batches, (artifact,)), None)
        return
    backend = backend_named(engine or "onnxruntime")
    device = device or backend.default_device
    check_device(device)
    if rebuilds > 1 and not backend.tunes:
        raise UsageError(f"Builds of engine {backend.name} do not differ.", "Leave --rebuilds out.")
    with tempfile.TemporaryDirectory(prefix="perframe-") as name:
        folder = Path(name)
        onnx_file = file
        checkpoint = None if factory or is_onnx(file) else file
        spec = precision or PrecisionSpec()
        if not is_onnx(file):
            onnx_file = folder / f"{file.name.split('.')[0]}.onnx"
            shape = only_shape(input_shapes)
            convert(file, onnx_file, input_shape=shape, factory=factory, precision=spec, progress=progress)
            input_shapes = None
        elif precision is not None and precision.name != precision_of(open_onnx(file)):
            onnx_file = folder / file.name
            convert(file, onnx_file, input_shape=input_shapes, precision=spec, progress=progress)
        model = open_onnx(onnx_file)
        batches = batches or (fixed_batch(model) or 1,)
        for batch in batches:
            resolve_input_shapes(model, batch, input_shapes)
        progress("building the engine", 0.0)
        engines: dict[int, tuple[EngineArtifact, ...]] = {}
        for together in ((batch,) for batch in batches) if backend.tunes and not dynamic else (batches,):
            built = tuple(
                build_engine(
                    onnx_file,
                    folder / f"{together[0]}-{rebuild}.engine",
                    engine=backend.name,
                    device=device,
                    provider=provider,
                    threads=threads,
                    input_shapes=input_shapes,
                    regime=regime or "inference",
                    checkpoint=checkpoint,
                    batches=together,
                    tensorrt=tensorrt,
                    rebuild=rebuild,
                    cache=cache,
                    progress=progress,
                )
                for rebuild in range(rebuilds)
            )
            engines |= dict.fromkeys(together, built)
        yield Engines(engines, onnx_file)


def _require_batches(artifact: EngineArtifact, batches: tuple[int, ...]) -> None:
    """Refuse a batch size that an engine was not built for."""
    for batch in batches:
        if artifact.batches and not min(artifact.batches) <= batch <= max(artifact.batches):
            built = " to ".join(map(str, sorted({min(artifact.batches), max(artifact.batches)})))
            raise UsageError(
                f"{artifact.path}: built for batch {built}, asked for {batch}.",
                f"Give a batch inside that, or build it again with -b {batch}.",
            )


def _require_as_asked(artifact: EngineArtifact, **asked: str | int | None) -> None:
    """Refuse a built engine that is not what was asked for: it cannot be rebuilt on the way."""
    built = {
        "engine": artifact.backend,
        "device": artifact.device,
        "provider": artifact.provider,
        "threads": artifact.threads,
        "regime": artifact.regime,
    }
    for option, value in asked.items():
        if value is not None and value != built[option]:
            raise UsageError(
                f"{artifact.path}: built with {option} {built[option]}, asked for {value}.",
                f"Build it again with --{option} {value}, or leave the option out.",
            )


def device_of(file: Path, engine: str | None, device: str | None) -> str:
    """Return the device that `file` will run on, before anything is built.

    Raises:
        InputError: `file` is missing, or an engine whose sidecar is damaged.
        UsageError: `device` is not written as a device.
    """
    readable_file(file, "checkpoint, ONNX model or engine")
    if device is not None:
        check_device(device)
    if is_artifact(file):
        return read_artifact(file, trust=True).device
    # The fake engine runs on no device.
    return "fake" if engine == "fake" else device or backend_named(engine or "onnxruntime").default_device


def built_batches(file: Path) -> tuple[int, ...]:
    """Return the batch sizes to measure `file` at unless told: those it was built for if it is an engine, else 1.

    Raises:
        InputError: `file` is missing, or an engine whose sidecar is damaged.
    """
    readable_file(file, "checkpoint, ONNX model or engine")
    return (read_artifact(file, trust=True).batches if is_artifact(file) else ()) or (1,)


def check_device(device: str) -> None:
    """Refuse a device that is not written as `cpu` or `cuda:N`.

    Raises:
        UsageError: It is not.
    """
    kind, colon, index = device.partition(":")
    if not (device == "cpu" or (kind == "cuda" and colon and index.isascii() and index.isdigit())):
        raise UsageError(f"Device {device!r} is not known.", "Give --device cpu or --device cuda:0.")


def check_regime(engine: str, regime: Regime) -> None:
    """Refuse to train with a backend that only infers.

    Raises:
        UsageError: It does.
    """
    if regime == "training" and engine != "torch":
        raise UsageError(f"Engine {engine} does not train.", "Give --engine torch, and a checkpoint.")
