"""The `tensorrt` and `tensorrt-rtx` backends: TensorRT 10.x, 11.x and TensorRT-RTX by one code.

TensorRT builds on the GPU it builds for, by trying kernels, and the engine belongs to that model of GPU. TensorRT-RTX
builds without a GPU, and compiles the engine for the one that it is opened on.
"""

import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import perframe
from perframe.engines.artifact import write_sidecar
from perframe.engines.base import BuildSpec, Engine, EngineArtifact, EngineLayer
from perframe.engines.cache import engine_key, find_engine, keep_engine, take_engine
from perframe.engines.cuda import DeviceIdentity, cuda_unavailable, device_identity, open_cuda
from perframe.engines.describe import describe_model, precision_of
from perframe.engines.tensorrt_build import build_plan
from perframe.engines.tensorrt_engine import open_engine
from perframe.engines.tensorrt_layers import built_layers, packed_source
from perframe.engines.tensorrt_library import TensorRtLibrary, tensorrt_library
from perframe.engines.tensorrt_load import deserialized, inspect_engine
from perframe.engines.tensorrt_timing import timings_path
from perframe.errors import BuildError, UnavailableError, UsageError
from perframe.export.cost import layer_costs
from perframe.export.onnx_model import OnnxModel, TensorInfo, fixed_batch
from perframe.files import atomic_path, sha256_of
from perframe.progress import Progress, silent


class TensorRt:
    """See `perframe.engines.base.Backend`."""

    name = "tensorrt"
    default_device = "cuda:0"
    tunes = True

    def unavailable(self) -> str | None:
        """See `perframe.engines.base.Backend.unavailable`."""
        try:
            library = tensorrt_library(self.name)
        except UnavailableError as error:
            return str(error)
        return None if library.is_rtx else cuda_unavailable()

    def build(
        self, model: OnnxModel, spec: BuildSpec, out: Path, progress: Progress = silent
    ) -> EngineArtifact:
        """See `perframe.engines.base.Backend.build`.

        Raises:
            UsageError: An option is not one of this TensorRT's, or does not go with the model.
        """
        library = tensorrt_library(self.name)
        _check_options(library, model, spec)
        order = _Order(
            library,
            model,
            spec,
            batches=tuple(sorted(set(spec.batches))) or (fixed_batch(model) or 1,),
            gpu=None if library.is_rtx else device_identity(_index(spec.device)),
        )
        if not spec.cache:
            return order.built(out, progress)
        key = order.key()
        if (kept := find_engine(key)) is None:
            artifact = order.built(out, progress)
            keep_engine(key, artifact)
            return artifact
        # A network that is not recognised is called as its file, which may have another name now.
        name = model.path.stem if kept.model.family == "other" else kept.model.name
        return take_engine(kept, out, device=spec.device, model=replace(kept.model, name=name))

    def open(self, artifact: EngineArtifact) -> AbstractContextManager[Engine]:
        """See `perframe.engines.base.Backend.open`.

        Raises:
            InputError: The engine was built by another version, or for another GPU.
        """
        return open_engine(tensorrt_library(self.name), artifact)


class TensorRtRtx(TensorRt):
    """See `perframe.engines.base.Backend`."""

    name = "tensorrt-rtx"


@dataclass(frozen=True)
class _Order:
    """One engine to be built: everything it follows from.

    Attributes:
        library: The library.
        model: The model.
        spec: How.
        batches: Batch sizes to run at, ascending, at least one.
        gpu: The GPU it is built on and for; `None` where it is bound to none.
    """

    library: TensorRtLibrary
    model: OnnxModel
    spec: BuildSpec
    batches: tuple[int, ...]
    gpu: DeviceIdentity | None

    def key(self) -> str:
        """See `perframe.engines.cache.engine_key`."""
        return engine_key(
            {
                "perframe": perframe.__version__,
                "backend": self.library.name,
                "version": self.library.version,
                "model": self.model.sha256,
                "input_shapes": dict(self.spec.input_shapes),
                "batches": self.batches,
                "options": asdict(self.spec.tensorrt),
                "rebuild": self.spec.rebuild,
                "gpu": None if self.gpu is None else asdict(self.gpu),
            }
        )

    def built(self, out: Path, progress: Progress) -> EngineArtifact:
        """Build the engine into the file `out` and write its sidecar."""
        library, model, spec = self.library, self.model, self.spec
        costs = layer_costs(model, spec.input_shapes)
        # Builds that are compared with each other must each try the kernels themselves.
        timings = timings_path(library, self.gpu) if self.gpu and spec.cache and not spec.rebuild else None
        started = time.perf_counter()
        plan = build_plan(library, model, spec, self.batches, timings, progress)
        build_s = time.perf_counter() - started
        with atomic_path(out) as target:
            target.write_bytes(plan)
            core = spec.tensorrt.dla_core
            artifact = EngineArtifact(
                path=target,
                backend=library.name,
                version=library.version,
                device=spec.device,
                provider="gpu" if core is None else f"dla:{core}",
                threads=None,
                sha256=sha256_of(target),
                build_s=build_s,
                model=describe_model(model, costs, spec.input_shapes[model.inputs[0].name]),
                inputs=_at_batch(model.inputs, self.batches),
                outputs=_at_batch(model.outputs, self.batches),
                input_shapes=dict(spec.input_shapes),
                layers=(),
                batches=self.batches,
                tensorrt=spec.tensorrt,
                rebuild=spec.rebuild,
                gpu=self.gpu,
                source=packed_source(model) if library.is_rtx else None,
            )
            artifact = replace(artifact, path=out, layers=self._layers(artifact))
        write_sidecar(artifact)
        return artifact

    def _layers(self, artifact: EngineArtifact) -> tuple[EngineLayer, ...]:
        if self.library.is_rtx:
            return ()
        with open_cuda(_index(self.spec.device)):
            told = inspect_engine(self.library, deserialized(self.library, artifact))
        return built_layers(told, self.model, self.spec.input_shapes, max(self.batches))


def _at_batch(tensors: tuple[TensorInfo, ...], batches: tuple[int, ...]) -> tuple[TensorInfo, ...]:
    """Inputs or outputs of an engine: of one batch size, where the model's own is symbolic."""
    if len(batches) > 1:
        return tensors
    return tuple(
        replace(info, shape=(batches[0], *info.shape[1:]))
        if info.shape and not isinstance(info.shape[0], int)
        else info
        for info in tensors
    )


def _check_options(library: TensorRtLibrary, model: OnnxModel, spec: BuildSpec) -> None:
    options = spec.tensorrt
    if not spec.device.startswith("cuda:"):
        raise UsageError(
            f"{library.title} does not run on device {spec.device!r}.",
            "Give --device cuda:0, or leave it out.",
        )
    foreign = {
        "--provider": spec.provider is not None,
        "--threads": spec.threads is not None,
        "--target": bool(options.targets) and not library.is_rtx,
        "--version-compatible": options.version_compatible and library.is_rtx,
        "--hardware-compatible": options.hardware_compatible and library.is_rtx,
        "--dla-core": options.dla_core is not None and library.is_rtx,
    }
    for option, given in foreign.items():
        if given:
            raise UsageError(f"{option} is not an option of {library.title}.", "Leave it out.")
    if options.dla_core is not None:
        if len(set(spec.batches)) > 1:
            raise UsageError(
                "A deep-learning accelerator takes one batch size, found several.",
                "Build one engine for each.",
            )
        if (precision := precision_of(model)) not in ("fp16", "int8"):
            raise BuildError(
                f"{model.path}: deep-learning accelerators compute in fp16 and int8, the model is in {precision}.",
                "Write it in another precision: perframe export --precision fp16.",
            )


def _index(device: str) -> int:
    return int(device.partition(":")[2])
