"""Loading a TensorRT engine into the GPU, or the reason why it is not loaded."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perframe.engines.base import EngineArtifact, TensorRtOptions
from perframe.engines.cuda import DeviceIdentity
from perframe.engines.tensorrt_api import TrtICudaEngine, TrtIExecutionContext, TrtModule
from perframe.engines.tensorrt_library import TensorRtLibrary, feature, version_numbers
from perframe.errors import InputError, OutOfMemoryError, PerframeError, UnavailableError
from perframe.files import readable_file

_OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|cudaErrorMemoryAllocation|INSUFFICIENT_GPU_MEMORY", re.IGNORECASE
)


def device_index(artifact: EngineArtifact) -> int:
    """Return how CUDA counts the GPU that an engine is for.

    Raises:
        InputError: It is for no GPU.
    """
    kind, _, index = artifact.device.partition(":")
    if kind != "cuda" or not (index.isascii() and index.isdigit()):
        raise InputError(
            f"{artifact.path}: expected an engine for a GPU, found one for device {artifact.device!r}.",
            "Was the sidecar edited? Build the engine again.",
        )
    return int(index)


def require_version(library: TensorRtLibrary, artifact: EngineArtifact) -> None:
    """Refuse an engine that another version built, unless it was built for later ones.

    Raises:
        InputError: Another version built it.
    """
    compatible = artifact.tensorrt is not None and artifact.tensorrt.version_compatible
    is_later = version_numbers(library.version) > version_numbers(artifact.version)
    if artifact.version != library.version and not (compatible and is_later):
        raise InputError(
            f"{artifact.path}: built by {library.title} {artifact.version}, found version {library.version}.",
            "Build it again with this version, or install that one.",
        )


def require_gpu(artifact: EngineArtifact, found: DeviceIdentity) -> None:
    """Refuse an engine that was built for another model of GPU: if it ran, its kernels would not be the best ones.

    Raises:
        InputError: It was built for another model, and not for all from Ampere on.
    """
    built, options = artifact.gpu, artifact.tensorrt or TensorRtOptions()
    same = built is None or (built.name, built.compute_capability) == (found.name, found.compute_capability)
    portable = options.hardware_compatible and found.compute_capability >= (8, 0)
    if not same and not portable:
        raise InputError(
            f"{artifact.path}: built for {built}, found {found} as {artifact.device}.",
            "Build it again on this GPU, or with --hardware-compatible.",
        )
    here = ".".join(map(str, found.compute_capability))
    if options.targets and here not in options.targets:
        raise InputError(
            f"{artifact.path}: compiled for compute capability {', '.join(options.targets)}, found {found}.",
            f"Build it again with --target {here}.",
        )


def deserialized(library: TensorRtLibrary, artifact: EngineArtifact) -> TrtICudaEngine:
    """Load an engine's file into the GPU that is open.

    Raises:
        InputError: TensorRT does not take the engine: it is damaged, or for another version or GPU.
        UnavailableError: TensorRT cannot use the GPU.
        OutOfMemoryError: The engine does not fit into the GPU's memory.
    """
    data = readable_file(artifact.path, "engine").read_bytes()
    options = artifact.tensorrt or TensorRtOptions()
    with library.errors() as said:
        runtime = library.api.Runtime(library.logger)
        if options.version_compatible:
            # Such an engine brings code of its own, which its sidecar's hash vouches for.
            runtime.engine_host_code_allowed = True
        if options.dla_core is not None:
            runtime.DLA_core = options.dla_core
        engine = runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise _refusal(library, artifact, said[:1], _diagnoses(library.api, runtime, data))
    return engine


@dataclass(frozen=True)
class Configuration:
    """How TensorRT-RTX compiles an engine for the GPU, which it does whenever a context is made.

    Attributes:
        settings: Its runtime configuration.
        compiled: Its cache of what was compiled; nothing in the library says that the settings keep it alive.
    """

    settings: Any
    compiled: Any


def configuration_of(api: TrtModule, engine: TrtICudaEngine) -> Configuration | None:
    """Return how contexts shall be made; `None` for TensorRT, which compiled the engine when it built it."""
    graphs = feature(api, "CudaGraphStrategy")
    specialisation = feature(api, "DynamicShapesKernelSpecializationStrategy")
    if graphs is None or specialisation is None:
        return None
    settings = feature(engine, "create_runtime_config")()
    # The graph is captured here; and no kernel may be compiled in the background while another one is timed.
    settings.cuda_graph_strategy = graphs.DISABLED
    settings.dynamic_shapes_kernel_specialization_strategy = specialisation.EAGER
    # What one context compiled, the next takes from here.
    compiled = settings.create_runtime_cache()
    settings.set_runtime_cache(compiled)
    return Configuration(settings, compiled)


def inspect_engine(
    library: TensorRtLibrary, engine: TrtICudaEngine, context: TrtIExecutionContext | None = None
) -> str:
    """Return what the engine inspector says, as the runtime writes it.

    Args:
        library: TensorRT.
        engine: The engine.
        context: Where its varying shapes are fixed; `None` leaves them open.
    """
    inspector = engine.create_engine_inspector()
    if context is not None:
        inspector.execution_context = context
    return inspector.get_engine_information(library.api.LayerInformationFormat.JSON)


def is_out_of_memory(said: Sequence[str]) -> bool:
    """Tell from the errors that TensorRT logged whether the device's memory did not suffice."""
    return any(_OUT_OF_MEMORY.search(text) for text in said)


def _diagnoses(api: TrtModule, runtime: object, data: bytes) -> list[str]:
    """What TensorRT-RTX names as reasons why an engine is not valid here."""
    validity, kinds = feature(runtime, "get_engine_validity"), feature(api, "EngineInvalidityDiagnostics")
    if validity is None or kinds is None:
        return []
    _, bits = validity(data)
    return [name for name, kind in kinds.__members__.items() if int(kind) & int(bits)]


def _refusal(
    library: TensorRtLibrary, artifact: EngineArtifact, said: Sequence[str], diagnoses: Sequence[str]
) -> PerframeError:
    """The error for an engine that is not loaded, by the first error logged: what follows is its consequence."""
    reasons = [*diagnoses, *said]
    message = (
        f"{artifact.path}: {library.title} {library.version} does not load this engine:"
        f" {'; '.join(reasons) or 'it logged no reason'}"
    )
    if is_out_of_memory(reasons):
        return OutOfMemoryError(message, "Free the GPU's memory.")
    # CUDA_ERROR, OLD_CUDA_DRIVER, and the cudaError that a log message quotes.
    if reasons and all("CUDA" in reason or "cudaError" in reason for reason in reasons):
        return UnavailableError(message, "Check nvidia-smi; is the driver new enough for this version?")
    return InputError(message, "Build it again here: an engine is for one version and one model of GPU.")
