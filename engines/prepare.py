"""Whatever the user has, a checkpoint, an ONNX model or a built engine, made into an engine artifact."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from perframe.engines.artifact import engine_target, is_artifact, read_artifact
from perframe.engines.base import BuildSpec, EngineArtifact, Regime
from perframe.engines.convert import convert, is_onnx, only_shape
from perframe.engines.registry import backend_named
from perframe.errors import UsageError
from perframe.export.onnx_model import fixed_batch, open_onnx, resolve_input_shapes
from perframe.files import readable_file
from perframe.progress import Progress, silent

InputShapes = Mapping[str, tuple[int, ...]] | tuple[int, ...] | None


def build_engine(
    model_path: Path,
    out: Path,
    *,
    engine: str = "onnxruntime",
    device: str = "cpu",
    provider: str | None = None,
    threads: int | None = None,
    input_shapes: InputShapes = None,
    regime: Regime = "inference",
    checkpoint: Path | None = None,
) -> EngineArtifact:
    """Build an engine from an ONNX file.

    Args:
        model_path: The ONNX file.
        out: The engine file; its sidecar goes beside it.
        engine: Name of the backend.
        device: `cpu` or `cuda:N`.
        provider: See `perframe.engines.base.BuildSpec`.
        threads: See `perframe.engines.base.BuildSpec`.
        input_shapes: Sizes without the batch of inputs with symbolic dimensions, by name or for the only one.
        regime: See `perframe.engines.base.BuildSpec`.
        checkpoint: See `perframe.engines.base.BuildSpec`.

    Raises:
        UsageError: An argument contradicts another or the model.
        InputError: The model is unreadable or wrong.
        UnavailableError: The device or the runtime is not there, or `out` cannot be written.
        BuildError: The runtime refuses the model.
    """
    backend = backend_named(engine)
    check_device(device)
    if regime == "training" and engine != "torch":
        raise UsageError(f"Engine {engine} does not train.", "Give --engine torch, and a checkpoint.")
    engine_target(out, inputs=(model_path,))
    model = open_onnx(model_path)
    shapes = resolve_input_shapes(model, fixed_batch(model) or 1, input_shapes)
    spec = BuildSpec(
        input_shapes=shapes,
        device=device,
        provider=provider,
        threads=threads,
        regime=regime,
        checkpoint=checkpoint,
    )
    return backend.build(model, spec, out)


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
    batches: tuple[int, ...] = (),
    regime: Regime | None = None,
    trust: bool = False,
    progress: Progress = silent,
) -> Iterator[EngineArtifact]:
    """Give an engine for `file`: as it is if it is one, else exported and built for the length of the block.

    Args:
        file: A checkpoint, an ONNX model or an engine with its sidecar.
        engine: See `build_engine`; `None` is "onnxruntime", or what `file` was built with if it is an engine.
        device: See `build_engine`; `None` is "cpu", likewise.
        provider: See `build_engine`.
        threads: See `build_engine`.
        input_shapes: See `build_engine`.
        factory: See `perframe.engines.convert.convert`.
        batches: Batch sizes it shall run at, to be refused before anything is built.
        regime: See `build_engine`; `None` is "inference", or what `file` was built for if it is an engine.
        trust: See `perframe.engines.artifact.read_artifact`.
        progress: Told what is going on.

    Raises:
        PerframeError: See `build_engine`, `perframe.engines.convert.convert` and `read_artifact`.
    """
    if is_artifact(file):
        yield _as_asked(
            read_artifact(file, trust=trust),
            engine=engine,
            device=device,
            provider=provider,
            threads=threads,
            regime=regime,
        )
        return
    engine, device = engine or "onnxruntime", device or "cpu"
    backend_named(engine)
    check_device(device)
    with tempfile.TemporaryDirectory(prefix="perframe-") as name:
        folder = Path(name)
        onnx_file = file
        checkpoint = None if factory or is_onnx(file) else file
        if not is_onnx(file):
            onnx_file = folder / f"{file.name.split('.')[0]}.onnx"
            convert(file, onnx_file, input_shape=only_shape(input_shapes), factory=factory, progress=progress)
            input_shapes = None
        model = open_onnx(onnx_file)
        for batch in batches:
            resolve_input_shapes(model, batch, input_shapes)
        progress("building the engine", 0.0)
        yield build_engine(
            onnx_file,
            folder / "engine",
            engine=engine,
            device=device,
            provider=provider,
            threads=threads,
            input_shapes=input_shapes,
            regime=regime or "inference",
            checkpoint=checkpoint,
        )


def _as_asked(artifact: EngineArtifact, **asked: str | int | None) -> EngineArtifact:
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
    return artifact


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
    return "fake" if engine == "fake" else device or "cpu"


def check_device(device: str) -> None:
    """Refuse a device that is not written as `cpu` or `cuda:N`.

    Raises:
        UsageError: It is not.
    """
    kind, colon, index = device.partition(":")
    if not (device == "cpu" or (kind == "cuda" and colon and index.isascii() and index.isdigit())):
        raise UsageError(f"Device {device!r} is not known.", "Give --device cpu or --device cuda:0.")
