"""Every TensorRT name that perframe uses and that TensorRT 10.x, 11.x and TensorRT-RTX all have.

The library's objects are typed as these protocols, so the type checker refuses a name that is not written here,
and a test holds every name against recorded listings of the four versions. A name that only some versions have
is not written here: it is reached through `perframe.engines.tensorrt_library.feature`, which answers None where
it is missing.

Each protocol is called as the library's class, with `Trt` in front; what a member does stands in NVIDIA's
reference.
"""
# ruff: noqa: D101, D102

from collections.abc import Callable, Sequence
from typing import Protocol


class TrtEnumMember(Protocol):
    """A member of an enumeration; as a number, the place of its bit among flags."""

    name: str

    def __int__(self) -> int: ...


class TrtBuilderFlag(Protocol):
    TF32: TrtEnumMember
    SPARSE_WEIGHTS: TrtEnumMember
    VERSION_COMPATIBLE: TrtEnumMember
    GPU_FALLBACK: TrtEnumMember


class TrtDeviceType(Protocol):
    DLA: TrtEnumMember


class TrtHardwareCompatibilityLevel(Protocol):
    AMPERE_PLUS: TrtEnumMember


class TrtLayerInformationFormat(Protocol):
    JSON: TrtEnumMember


class TrtMemoryPoolType(Protocol):
    WORKSPACE: TrtEnumMember


class TrtNetworkDefinitionCreationFlag(Protocol):
    pass


class TrtOnnxParserFlag(Protocol):
    pass


class TrtProfilingVerbosity(Protocol):
    DETAILED: TrtEnumMember


class TrtTensorIOMode(Protocol):
    INPUT: TrtEnumMember


class TrtILogger(Protocol):
    def log(self, severity: TrtEnumMember, text: str, /) -> None: ...


class TrtIProgressMonitor(Protocol):
    def phase_start(self, name: str, parent: str | None, steps: int, /) -> None: ...
    def step_complete(self, name: str, step: int, /) -> bool: ...
    def phase_finish(self, name: str, /) -> None: ...


class TrtIProfiler(Protocol):
    def report_layer_time(self, name: str, milliseconds: float, /) -> None: ...


class TrtIHostMemory(Protocol):
    def __buffer__(self, flags: int, /) -> memoryview: ...


class TrtITimingCache(Protocol):
    def serialize(self) -> TrtIHostMemory: ...


class TrtIOptimizationProfile(Protocol):
    def set_shape(
        self, tensor: str, least: Sequence[int], usual: Sequence[int], most: Sequence[int], /
    ) -> None: ...


class TrtIBuilderConfig(Protocol):
    builder_optimization_level: int
    hardware_compatibility_level: TrtEnumMember
    profiling_verbosity: TrtEnumMember
    progress_monitor: TrtIProgressMonitor
    default_device_type: TrtEnumMember
    DLA_core: int

    def set_flag(self, flag: TrtEnumMember, /) -> None: ...
    def clear_flag(self, flag: TrtEnumMember, /) -> None: ...
    def set_memory_pool_limit(self, pool: TrtEnumMember, size: int, /) -> None: ...
    def add_optimization_profile(self, profile: TrtIOptimizationProfile, /) -> int: ...
    def create_timing_cache(self, serialized: bytes, /) -> TrtITimingCache | None: ...
    def set_timing_cache(self, cache: TrtITimingCache, ignore_mismatch: bool, /) -> bool: ...


class TrtITensor(Protocol):
    name: str
    shape: Sequence[int]


class TrtILayer(Protocol):
    name: str
    metadata: str


class TrtINetworkDefinition(Protocol):
    num_inputs: int
    num_layers: int

    def get_input(self, index: int, /) -> TrtITensor: ...
    def get_layer(self, index: int, /) -> TrtILayer: ...


class TrtParserError(Protocol):
    def code(self) -> TrtEnumMember: ...
    def desc(self) -> str: ...
    def node(self) -> int: ...
    def node_name(self) -> str: ...
    def node_operator(self) -> str: ...


class TrtOnnxParser(Protocol):
    num_errors: int

    def set_flag(self, flag: TrtEnumMember, /) -> None: ...
    def parse_from_file(self, path: str, /) -> bool: ...
    def get_error(self, index: int, /) -> TrtParserError: ...


class TrtBuilder(Protocol):
    num_DLA_cores: int  # noqa: N815 -- the library's name

    def create_network(self, flags: int, /) -> TrtINetworkDefinition: ...
    def create_builder_config(self) -> TrtIBuilderConfig: ...
    def create_optimization_profile(self) -> TrtIOptimizationProfile: ...
    def build_serialized_network(
        self, network: TrtINetworkDefinition, config: TrtIBuilderConfig, /
    ) -> TrtIHostMemory | None: ...


class TrtIExecutionContext(Protocol):
    profiler: TrtIProfiler
    enqueue_emits_profile: bool

    def set_optimization_profile_async(self, index: int, stream: int, /) -> bool: ...
    def set_input_shape(self, tensor: str, shape: Sequence[int], /) -> bool: ...
    def infer_shapes(self) -> Sequence[str]: ...
    def get_tensor_shape(self, tensor: str, /) -> Sequence[int]: ...
    def set_tensor_address(self, tensor: str, address: int, /) -> bool: ...
    def execute_async_v3(self, stream: int, /) -> bool: ...
    def report_to_profiler(self) -> bool: ...


class TrtEngineInspector(Protocol):
    execution_context: TrtIExecutionContext

    def get_engine_information(self, form: TrtEnumMember, /) -> str: ...


class TrtICudaEngine(Protocol):
    num_io_tensors: int
    num_optimization_profiles: int

    def get_tensor_name(self, index: int, /) -> str: ...
    def get_tensor_mode(self, tensor: str, /) -> TrtEnumMember: ...
    def get_tensor_dtype(self, tensor: str, /) -> TrtEnumMember: ...
    def get_tensor_location(self, tensor: str, /) -> TrtEnumMember: ...
    def get_tensor_shape(self, tensor: str, /) -> Sequence[int]: ...
    def get_tensor_profile_shape(self, tensor: str, profile: int, /) -> Sequence[Sequence[int]]: ...
    # With a runtime configuration only where the engine makes one, see `feature`.
    def create_execution_context(self, *configuration: object) -> TrtIExecutionContext | None: ...
    def create_engine_inspector(self) -> TrtEngineInspector: ...


class TrtRuntime(Protocol):
    engine_host_code_allowed: bool
    DLA_core: int

    def deserialize_cuda_engine(self, engine: bytes, /) -> TrtICudaEngine | None: ...


class TrtModule(Protocol):
    """The library itself, `tensorrt` or `tensorrt_rtx`."""

    __version__: str

    BuilderFlag: TrtBuilderFlag
    DeviceType: TrtDeviceType
    HardwareCompatibilityLevel: TrtHardwareCompatibilityLevel
    LayerInformationFormat: TrtLayerInformationFormat
    MemoryPoolType: TrtMemoryPoolType
    NetworkDefinitionCreationFlag: TrtNetworkDefinitionCreationFlag
    OnnxParserFlag: TrtOnnxParserFlag
    ProfilingVerbosity: TrtProfilingVerbosity
    TensorIOMode: TrtTensorIOMode

    ILogger: type[TrtILogger]
    IProfiler: type[TrtIProfiler]
    IProgressMonitor: type[TrtIProgressMonitor]

    Builder: Callable[[TrtILogger], TrtBuilder]
    OnnxParser: Callable[[TrtINetworkDefinition, TrtILogger], TrtOnnxParser]
    Runtime: Callable[[TrtILogger], TrtRuntime]
