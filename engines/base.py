"""The border between perframe and a runtime: what a backend takes, what it makes, what an engine can do.

A backend is one file that imports one vendor's library, lazily, and translates its exceptions. Everything above
this border sees only these types. Changing a protocol here breaks third parties' backends: pause first.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from perframe.arrays import Array
from perframe.engines.clock import Clock
from perframe.engines.cuda import DeviceIdentity
from perframe.export.onnx_model import OnnxModel, TensorInfo
from perframe.progress import Progress, silent

Regime: TypeAlias = Literal["inference", "training"]
"""What a frame goes through: the network once, or forward and backward as in training."""


@dataclass(frozen=True)
class TensorRtOptions:
    """What TensorRT can be told about a build; what is not told is left to it.

    Attributes:
        workspace_bytes: Most device memory that one layer's kernel may use beside its tensors.
        optimization_level: 0 (builds fast) to 5 (searches most).
        tf32: Whether fp32 may be multiplied with ten bits of mantissa.
        sparsity: Whether kernels for weights with 2:4 structured sparsity may be chosen.
        version_compatible: Whether later versions of TensorRT shall be able to open the engine.
        hardware_compatible: Whether other GPUs, Ampere and later, shall be able to open it.
        dla_core: The deep-learning accelerator of an Orin to run on; `None` runs on the GPU.
        targets: Compute capabilities to compile for, such as "8.6" (TensorRT-RTX).
    """

    workspace_bytes: int | None = None
    optimization_level: int | None = None
    tf32: bool = False
    sparsity: bool = False
    version_compatible: bool = False
    hardware_compatible: bool = False
    dla_core: int | None = None
    targets: tuple[str, ...] = ()


@dataclass(frozen=True)
class BuildSpec:
    """How an engine shall be built.

    Attributes:
        input_shapes: Full shape of every input at batch 1, by name (at the
            batch the model is fixed at, if it is); what per-layer cost is counted at.
        device: `cpu` or `cuda:N`.
        provider: For runtimes with several executors (ONNX Runtime): `cpu`, `cuda` or `tensorrt`; `None` takes
            the one that fits the device.
        threads: Threads one operator may use on the CPU; `None` leaves it to the runtime.
        regime: `inference`, or `training` (forward and backward) for backends that can.
        checkpoint: What the model was exported from, for backends that run that; `None` if there is none.
        batches: Batch sizes to run at, for backends that tune for them: one fixes the engine to it, of several
            the largest is tuned for; none is 1, or what the model is fixed at.
        tensorrt: For the TensorRT backends.
        rebuild: Which of several builds of one specification, for backends whose builds differ.
        cache: Whether an engine built earlier from the same may be taken, and this one be kept.
    """

    input_shapes: Mapping[str, tuple[int, ...]]
    device: str = "cpu"
    provider: str | None = None
    threads: int | None = None
    regime: Regime = "inference"
    checkpoint: Path | None = None
    batches: tuple[int, ...] = ()
    tensorrt: TensorRtOptions = TensorRtOptions()
    rebuild: int = 0
    cache: bool = True


@dataclass(frozen=True)
class ModelInfo:
    """The network an engine was built from, as it stands in results.

    Attributes:
        name: What to call it: the recognised configuration, or the file's name without its ending.
        family: `mobilenet_v1`, `resnext50` or `other`.
        variant: `E2GC`, `FgGC` or `other`; E2GC is named where both hold.
        group_size: The constant group size G, if there is one.
        groups: The constant number of groups g, if there is one.
        precision: Data type of most weights: `fp32`, `fp16`, `bf16`, `int8`, ...; `None` if it is not known.
        input_shape: Shape of the first input without the batch dimension; empty if it is not known.
        sha256: Of the ONNX file, external data included; `None` where a result was imported without it.
        params: Weights of convolutions and fully connected layers.
        macs: Multiply-accumulates of one frame.
        activations: Input and output elements of the layers that have MACs, one frame.
        quantised: Names of the layers that compute in int8.
    """

    name: str
    family: str
    variant: str
    group_size: int | None
    groups: int | None
    precision: str | None
    input_shape: tuple[int, ...]
    sha256: str | None
    params: int | None
    macs: int | None
    activations: int | None
    quantised: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineLayer:
    """One step an engine executes, led back to the network it came from.

    Attributes:
        name: The runtime's own name for the step; unique in the engine.
        op: The runtime's operator.
        module: Path of the source module, "" being the network itself; `None` if it could not be found.
        onnx_nodes: The ONNX nodes fused into it; empty for work the runtime added.
        overhead: True where the runtime added the step (layout change, copy); `module` is then the one whose
            output is moved.
        macs: Multiply-accumulates of one frame; `None` where unknown.
        params: Weights of convolutions and fully connected layers.
        input_activations: Input elements of the node with the most MACs, one frame.
        output_activations: Output elements of the same node, one frame.
        groups: Number of groups g, of a convolution.
        group_size: Input channels per group G, of a convolution.
        kernel: The runtime's name of the kernel that it chose, where it tells.
        format: Layout and data type of what the step writes, in the runtime's words, where it tells.
    """

    name: str
    op: str
    module: str | None
    onnx_nodes: tuple[str, ...]
    overhead: bool
    macs: int | None
    params: int | None
    input_activations: int | None
    output_activations: int | None
    groups: int | None
    group_size: int | None
    kernel: str | None = None
    format: str | None = None


@dataclass(frozen=True)
class EngineArtifact:
    """A built engine on disk: the file, and everything the sidecar beside it says.

    Attributes:
        path: The engine file; see `perframe.engines.artifact.sidecar_of`.
        backend: Name of the backend that built it and can open it.
        version: Version of the runtime that built it.
        device: Device it was built for.
        provider: The runtime's executor.
        threads: Threads per operator; `None` = the runtime's choice.
        sha256: Of the engine file.
        build_s: Seconds the build took.
        model: The network inside.
        inputs: The engine's inputs, batch dimension first.
        outputs: The engine's outputs.
        input_shapes: See `BuildSpec`.
        layers: The steps it executes, in order.
        regime: See `BuildSpec`.
        batches: Batch sizes it was built for, see `BuildSpec`; none where it takes any.
        tensorrt: See `BuildSpec`; `None` of another runtime.
        rebuild: See `BuildSpec`.
        gpu: The GPU it was built on and for; `None` where it is not bound to one.
        source: The model without its weights, where the engine tells its steps only when it is opened; see
            `perframe.engines.tensorrt_layers`.
    """

    path: Path
    backend: str
    version: str
    device: str
    provider: str
    threads: int | None
    sha256: str
    build_s: float
    model: ModelInfo
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    input_shapes: Mapping[str, tuple[int, ...]]
    layers: tuple[EngineLayer, ...]
    regime: Regime = "inference"
    batches: tuple[int, ...] = ()
    tensorrt: TensorRtOptions | None = None
    rebuild: int = 0
    gpu: DeviceIdentity | None = None
    source: str | None = None


@dataclass(frozen=True)
class LayerTiming:
    """How long one step of an engine took, in the profiling pass.

    Attributes:
        name: `EngineLayer.name`.
        latencies_s: Seconds of each execution, in order.
    """

    name: str
    latencies_s: tuple[float, ...]


class Engine(Protocol):
    """An engine that is open on its device."""

    clock: Clock
    """The clock its work takes time on."""

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run once and return every output by name."""
        ...

    def bind(self, inputs: Mapping[str, Array]) -> None:
        """Put `inputs` on the device, for `run` and `layer_timings` to use from now on."""
        ...

    def run(self, iterations: int) -> None:
        """Execute `iterations` times on the bound inputs; return after the device has finished."""
        ...

    def layer_timings(self, iterations: int) -> Sequence[LayerTiming]:
        """Execute on the bound inputs with the runtime's profiler on. A pass of its own, since it perturbs."""
        ...


class Backend(Protocol):
    """A runtime that can build and open engines."""

    name: str
    default_device: str
    """Where its engines run unless told: `cpu` or `cuda:0`."""
    tunes: bool
    """Whether it chooses kernels by trying them: an engine is then best built for one batch size, takes long to
    build and is worth keeping, and no two builds are the same."""

    def unavailable(self) -> str | None:
        """Why it cannot build here and what would mend it, as two lines; `None` if it can.

        Opening may need more: an engine for a GPU can sometimes be built without one.
        """
        ...

    def build(
        self, model: OnnxModel, spec: BuildSpec, out: Path, progress: Progress = silent
    ) -> EngineArtifact:
        """Build an engine into the file `out` and write its sidecar.

        Raises:
            UnavailableError: The device or the library is not there.
            BuildError: The runtime refuses the model.
        """
        ...

    def open(self, artifact: EngineArtifact) -> AbstractContextManager[Engine]:
        """Open an engine on its device.

        Raises:
            UnavailableError: The device or the library is not there, or something else would run the nodes.
        """
        ...
