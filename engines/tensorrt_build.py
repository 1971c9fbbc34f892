"""A TensorRT engine out of an ONNX model: parsed, configured and built, with one code for 10.x, 11.x and RTX.

Precision is what the tensors of the model say: networks are strongly typed, which 10.x must be told and 11.x always
are. Nothing is built in the caller's thread, so that Ctrl-C reaches the caller, who then ends the build.
"""

import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from perframe.engines.base import BuildSpec, TensorRtOptions
from perframe.engines.cuda import open_cuda
from perframe.engines.tensorrt_api import (
    TrtBuilder,
    TrtIBuilderConfig,
    TrtINetworkDefinition,
    TrtIOptimizationProfile,
    TrtOnnxParser,
)
from perframe.engines.tensorrt_library import TensorRtLibrary, feature, set_feature
from perframe.engines.tensorrt_progress import progress_monitor
from perframe.engines.tensorrt_refusal import builder_refusal, parser_refusal
from perframe.engines.tensorrt_timing import kept_timings
from perframe.errors import BuildError, InputError, UnavailableError, UsageError
from perframe.export.onnx_model import OnnxModel, resolve_input_shapes
from perframe.export.provenance import node_modules
from perframe.progress import Progress

# TensorRT takes no longer text for a layer.
_LONGEST_METADATA = 4096
# How long Ctrl-C may go unnoticed.
_POLL_S = 0.1


def build_plan(
    library: TensorRtLibrary,
    model: OnnxModel,
    spec: BuildSpec,
    batches: tuple[int, ...],
    timings: Path | None,
    progress: Progress,
) -> bytes:
    """Build an engine and return it serialized.

    Args:
        library: The library.
        model: The model.
        spec: How; its batches are not looked at.
        batches: Batch sizes to run at, at least one; the largest is tuned for.
        timings: Where kernels' timings are kept; `None` tries every kernel anew.
        progress: Told what is going on, from another thread.

    Raises:
        UsageError: A target is none, or the model is fixed at another batch.
        UnavailableError: The GPU, or its deep-learning accelerator, is not there, or has too little memory.
        BuildError: TensorRT refuses the model.
    """
    stop = threading.Event()
    build = _Build(library, model, spec, batches, timings)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="perframe-build") as pool:
        future = pool.submit(build.run, progress, stop)
        try:
            # A signal that another thread took does not wake this one.
            while not wait([future], timeout=_POLL_S).done:
                pass
            return future.result()
        except KeyboardInterrupt:
            stop.set()
            raise


@dataclass(frozen=True)
class _Build:
    library: TensorRtLibrary
    model: OnnxModel
    spec: BuildSpec
    batches: tuple[int, ...]
    timings: Path | None

    def run(self, progress: Progress, stop: threading.Event) -> bytes:
        with ExitStack() as held, warnings.catch_warnings():
            # Versions deprecate what others still need.
            warnings.simplefilter("ignore", DeprecationWarning)
            if not self.library.is_rtx:
                held.enter_context(open_cuda(int(self.spec.device.partition(":")[2])))
            said = held.enter_context(self.library.errors())
            builder = self._builder(said)
            network = self._network(builder)
            # The parser owns the weights: it must live until the engine is built.
            parser = self.library.api.OnnxParser(network, self.library.logger)
            self._parse(parser)
            self._stamp(network)
            config = self._config(builder, network)
            config.progress_monitor = progress_monitor(self.library.api, progress, stop)
            if self.timings is not None:
                held.enter_context(kept_timings(config, self.timings))
            said.clear()
            plan = builder.build_serialized_network(network, config)
            if plan is None:
                raise builder_refusal(self.library, self.model, said)
            return bytes(plan)

    def _builder(self, said: list[str]) -> TrtBuilder:
        try:
            return self.library.api.Builder(self.library.logger)
        except TypeError as error:
            # The bindings' answer to a builder that could not be made.
            reason = said[0] if said else "it gives no reason"
            raise UnavailableError(
                f"{self.library.title} cannot start: {reason}.",
                "Check nvidia-smi: it needs a GPU and its driver.",
            ) from error

    def _network(self, builder: TrtBuilder) -> TrtINetworkDefinition:
        typed = feature(self.library.api.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")
        return builder.create_network(0 if typed is None else 1 << int(typed))

    def _parse(self, parser: TrtOnnxParser) -> None:
        if self.spec.tensorrt.dla_core is not None:
            adjust = feature(self.library.api.OnnxParserFlag, "ADJUST_FOR_DLA")
            if adjust is not None:
                parser.set_flag(adjust)
        if not parser.parse_from_file(_utf8(self.model.path)):
            raise parser_refusal(self.library, self.model, parser)

    def _stamp(self, network: TrtINetworkDefinition) -> None:
        """Write each layer's source module beside its node, for whoever looks at the engine without the model."""
        modules = node_modules(self.model.graph)
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            stamped = f"{layer.metadata}\x1f[Module: {modules.get(layer.name)}]"
            if layer.name in modules and len(stamped.encode()) < _LONGEST_METADATA:
                layer.metadata = stamped

    def _config(self, builder: TrtBuilder, network: TrtINetworkDefinition) -> TrtIBuilderConfig:
        api, options = self.library.api, self.spec.tensorrt
        config = builder.create_builder_config()
        config.profiling_verbosity = api.ProfilingVerbosity.DETAILED
        flags = (
            (api.BuilderFlag.TF32, options.tf32),
            (api.BuilderFlag.SPARSE_WEIGHTS, options.sparsity),
            (api.BuilderFlag.VERSION_COMPATIBLE, options.version_compatible),
            (api.BuilderFlag.GPU_FALLBACK, options.dla_core is not None),
        )
        for flag, wanted in flags:
            # TF32 is on unless it is cleared.
            (config.set_flag if wanted else config.clear_flag)(flag)
        if options.workspace_bytes is not None:
            config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, options.workspace_bytes)
        if options.optimization_level is not None:
            config.builder_optimization_level = options.optimization_level
        if options.hardware_compatible:
            config.hardware_compatibility_level = api.HardwareCompatibilityLevel.AMPERE_PLUS
        if options.dla_core is not None:
            _use_dla(self.library, builder, config, options.dla_core)
        _aim(self.library, config, options)
        if any(-1 in tuple(network.get_input(i).shape) for i in range(network.num_inputs)):
            self._profile(config, builder.create_optimization_profile(), network)
        return config

    def _profile(
        self, config: TrtIBuilderConfig, profile: TrtIOptimizationProfile, network: TrtINetworkDefinition
    ) -> None:
        overrides = {name: shape[1:] for name, shape in self.spec.input_shapes.items()}
        least, most = (
            resolve_input_shapes(self.model, batch, overrides)
            for batch in (min(self.batches), max(self.batches))
        )
        for index in range(network.num_inputs):
            name = network.get_input(index).name
            profile.set_shape(name, least[name], most[name], most[name])
        if config.add_optimization_profile(profile) < 0:
            raise BuildError(
                f"{self.model.path}: {self.library.title} does not take the input shapes"
                f" {', '.join('x'.join(map(str, shape)) for shape in most.values())}.",
                "Give the sizes that the model was exported for, with --input.",
            )


def _use_dla(library: TensorRtLibrary, builder: TrtBuilder, config: TrtIBuilderConfig, core: int) -> None:
    if core >= builder.num_DLA_cores:
        raise UnavailableError(
            f"Deep-learning accelerator {core}: {library.title} {library.version} finds {builder.num_DLA_cores} here.",
            "Orin boards have one or two, with TensorRT up to 10.7 or from 11.4.1 on; leave --dla-core out elsewhere.",
        )
    config.default_device_type = library.api.DeviceType.DLA
    config.DLA_core = core


def _aim(library: TensorRtLibrary, config: TrtIBuilderConfig, options: TensorRtOptions) -> None:
    """Compile for the GPUs that were asked for; without any, TensorRT-RTX takes all that it has a default for."""
    if not options.targets:
        return
    kinds = feature(library.api, "ComputeCapability")
    aim: Callable[[object, int], bool] = feature(config, "set_compute_capability")
    set_feature(config, "num_compute_capabilities", len(options.targets))
    for index, target in enumerate(options.targets):
        member = feature(kinds, f"SM{target.replace('.', '')}") if "." in target else None
        if member is None or not aim(member, index):
            known = sorted(float(f"{name[2:-1]}.{name[-1]}") for name in dir(kinds) if name.startswith("SM"))
            raise UsageError(
                f"--target {target}: {library.title} {library.version} does not compile for this compute capability.",
                f"Choose of: {', '.join(map(str, known))}.",
            )


def _utf8(path: Path) -> str:
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: TensorRT opens only files whose names are UTF-8.", "Rename the file."
        ) from error
    return str(path)
