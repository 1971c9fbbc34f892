"""The `onnxruntime` backend: CPU, CUDA and TensorRT execution providers.

Building optimises the graph once, at the level one deploys with, and saves it; opening runs exactly that saved
graph, so the names in the runtime's profile are the names in the artifact. The requested provider is proved to
run the nodes: ONNX Runtime's own answer to a provider that fails to load is a warning and the CPU.
"""

import gc
import importlib.metadata
import json
import os
import shutil
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

from perframe.arrays import Array
from perframe.engines.artifact import write_sidecar
from perframe.engines.base import BuildSpec, EngineArtifact, EngineLayer, LayerTiming
from perframe.engines.clock import Clock, SystemClock
from perframe.engines.describe import describe_model
from perframe.engines.ort_lineage import engine_layers
from perframe.errors import (
    BuildError,
    InputError,
    OutOfMemoryError,
    PerframeError,
    UnavailableError,
    UsageError,
)
from perframe.export.cost import layer_costs
from perframe.export.onnx_model import OnnxModel, open_onnx
from perframe.export.provenance import node_modules
from perframe.files import atomic_path, sha256_of
from perframe.progress import Progress, silent

_PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# The profile is one JSON document, held whole while it is read: this many events are some 50 MB.
_MOST_EVENTS = 50_000
# Executions before the profiled ones count: first runs allocate and page in.
_PROFILE_WARM_UP = 3
# A protobuf message, and so an ONNX file with its weights inside, ends at 2 GiB.
_ONE_FILE_LIMIT = 2 * 10**9


class OnnxRuntime:
    """See `perframe.engines.base.Backend`."""

    name = "onnxruntime"
    default_device = "cpu"
    tunes = False

    def unavailable(self) -> str | None:
        """See `perframe.engines.base.Backend.unavailable`."""
        try:
            _runtime()
        except UnavailableError as error:
            return str(error)
        return None

    def build(
        self, model: OnnxModel, spec: BuildSpec, out: Path, progress: Progress = silent
    ) -> EngineArtifact:
        """See `perframe.engines.base.Backend.build`."""
        ort = _runtime()
        provider = _provider_for(spec)
        _require(ort, provider)
        started = time.perf_counter()
        if model.size_bytes > _ONE_FILE_LIMIT:
            raise BuildError(
                f"{model.path}: {model.size_bytes / 1e9:.1f} GB of weights do not fit the optimised model's one file.",
                "Models of up to 2 GB can be built with ONNX Runtime; use another engine.",
            )
        layers: tuple[EngineLayer, ...] = ()
        costs = layer_costs(model, spec.input_shapes)
        with atomic_path(out) as target, _one_file(model) as source:
            if provider == "tensorrt":
                # This provider compiles its subgraphs, which ONNX Runtime cannot save: it builds when opened.
                shutil.copyfile(source, target)
            else:
                options = _session_options(spec.threads, optimise=True)
                options.optimized_model_filepath = str(target)
                session = _open_session(ort, source, options, provider, spec.device)
                del session
                layers = engine_layers(model.graph, open_onnx(target).graph, costs, node_modules(model.graph))
            digest = sha256_of(target)
        artifact = EngineArtifact(
            path=out,
            backend=self.name,
            version=importlib.metadata.version(_distribution()),
            device=spec.device,
            provider=provider,
            threads=spec.threads,
            sha256=digest,
            build_s=time.perf_counter() - started,
            model=describe_model(model, costs, spec.input_shapes[model.inputs[0].name]),
            inputs=model.inputs,
            outputs=model.outputs,
            input_shapes=dict(spec.input_shapes),
            layers=layers,
        )
        write_sidecar(artifact)
        return artifact

    @contextmanager
    def open(self, artifact: EngineArtifact) -> Iterator["OnnxRuntimeEngine"]:
        """See `perframe.engines.base.Backend.open`."""
        ort = _runtime()
        _require(ort, artifact.provider)
        engine = OnnxRuntimeEngine(ort, artifact)
        try:
            yield engine
        finally:
            engine.close()


class OnnxRuntimeEngine:
    """See `perframe.engines.base.Engine`."""

    def __init__(self, ort: Any, artifact: EngineArtifact) -> None:
        self.clock: Clock = SystemClock()
        self._ort = ort
        self._artifact = artifact
        self._inputs: Mapping[str, Array] = {}
        self._session: Any = self._new_session()
        self._binding: Any = None

    def close(self) -> None:
        """Release the session and what it holds on the device."""
        self._session = self._binding = None
        gc.collect()

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `perframe.engines.base.Engine.infer`."""
        session = self._opened()
        names = [output.name for output in session.get_outputs()]
        with _translated(self._artifact.model.name):
            return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def bind(self, inputs: Mapping[str, Array]) -> None:
        """See `perframe.engines.base.Engine.bind`."""
        self._inputs = inputs
        self._binding = None

    def run(self, iterations: int) -> None:
        """See `perframe.engines.base.Engine.run`."""
        session = self._opened()
        with _translated(self._artifact.model.name):
            binding = self._binding or self._bound(session)
            self._binding = binding
            for _ in range(iterations):
                session.run_with_iobinding(binding)
            binding.synchronize_outputs()

    def layer_timings(self, iterations: int) -> Sequence[LayerTiming]:
        """See `perframe.engines.base.Engine.layer_timings`."""
        # Two sessions at once would hold every weight and activation twice.
        self.close()
        steps = {layer.name for layer in self._artifact.layers}
        iterations = max(1, min(iterations, _MOST_EVENTS // max(len(steps), 1)))
        with (
            tempfile.TemporaryDirectory(prefix="perframe-") as folder,
            _translated(self._artifact.model.name),
        ):
            session = self._new_session(profile_prefix=str(Path(folder) / "layers"))
            binding = self._bound(session)
            for _ in range(_PROFILE_WARM_UP + iterations):
                session.run_with_iobinding(binding)
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        del binding, session
        seen: dict[str, list[float]] = defaultdict(list)
        for event in events:
            name = event["name"].removesuffix("_kernel_time")
            # Nodes inside a branch or a loop are a part of that node's own time.
            if event.get("cat") == "Node" and name != event["name"] and (not steps or name in steps):
                seen[name].append(event["dur"] * 1e-6)
        return [LayerTiming(name, tuple(times[-iterations:])) for name, times in seen.items()]

    def _opened(self) -> Any:
        if self._session is None:
            self._session = self._new_session()
        return self._session

    def _new_session(self, profile_prefix: str | None = None) -> Any:
        artifact = self._artifact
        options = _session_options(artifact.threads, optimise=artifact.provider == "tensorrt")
        if profile_prefix is not None:
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix
        return _open_session(self._ort, artifact.path, options, artifact.provider, artifact.device)

    def _bound(self, session: Any) -> Any:
        """Bind inputs and outputs to buffers on the device, so that the timed path copies and allocates nothing."""
        kind, index = _device_of(self._artifact.device)
        binding = session.io_binding()
        for name, array in self._inputs.items():
            binding.bind_ortvalue_input(name, self._ort.OrtValue.ortvalue_from_numpy(array, kind, index))
        names = [output.name for output in session.get_outputs()]
        for name in names:
            binding.bind_output(name, kind, index)
        # The first run finds the outputs' shapes; its buffers are then kept.
        session.run_with_iobinding(binding)
        values = binding.get_outputs()
        binding.clear_binding_outputs()
        for name, value in zip(names, values, strict=True):
            binding.bind_ortvalue_output(name, value)
        return binding


@contextmanager
def _one_file(model: OnnxModel) -> Iterator[Path]:
    """Give the model as one file: what lies beside it would be looked for beside the engine."""
    if model.size_bytes == model.path.stat().st_size:
        yield model.path
        return
    with tempfile.TemporaryDirectory(prefix="perframe-") as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(onnx.load(str(model.path)), str(path))
        yield path


def _runtime() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # It reports its use over the network, from a thread that would spend energy beside what is measured.
            os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
            import onnxruntime
    except ImportError as error:
        raise UnavailableError(
            f"ONNX Runtime cannot be imported: {error}.",
            "pip install 'perframe[cpu]' (or 'perframe[gpu]' for CUDA; never both).",
        ) from error
    return onnxruntime


def _distribution() -> str:
    for name in ("onnxruntime-gpu", "onnxruntime"):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        return name
    return "onnxruntime"


def _device_of(device: str) -> tuple[str, int]:
    kind, _, index = device.partition(":")
    return kind, int(index or 0)


def _provider_for(spec: BuildSpec) -> str:
    kind, _ = _device_of(spec.device)
    provider = spec.provider or kind
    if provider not in _PROVIDERS:
        raise UsageError(
            f"ONNX Runtime provider {provider!r} is not known.", f"Choose one of: {', '.join(_PROVIDERS)}."
        )
    if (provider == "cpu") != (kind == "cpu"):
        raise UsageError(
            f"ONNX Runtime provider {provider!r} does not run on device {spec.device!r}.",
            "Give --device cpu with the cpu provider, and --device cuda:0 with the others.",
        )
    return provider


def _require(ort: Any, provider: str) -> None:
    if _PROVIDERS[provider] not in ort.get_available_providers():
        raise UnavailableError(
            f"{_PROVIDERS[provider]} is not part of the installed ONNX Runtime {ort.__version__}.",
            "pip uninstall onnxruntime, then pip install 'perframe[gpu]'.",
        )


def _session_options(threads: int | None, *, optimise: bool) -> Any:
    ort = _runtime()
    options = ort.SessionOptions()
    levels = ort.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    # Its errors come as exceptions too, and are told once, in our words.
    options.log_severity_level = 4
    if threads is not None:
        options.intra_op_num_threads = threads
    return options


def _open_session(ort: Any, path: Path, options: Any, provider: str, device: str) -> Any:
    wanted = _PROVIDERS[provider]
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{path}: ONNX Runtime opens only files whose names are UTF-8.", "Rename the file."
        ) from error
    _, index = _device_of(device)
    if provider == "cpu":
        asked: list[Any] = [wanted]
    else:
        if hasattr(ort, "preload_dlls"):
            ort.preload_dlls()
        asked = [(wanted, {"device_id": str(index)})]
    can_list_nodes = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
    if can_list_nodes:
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    elif provider != "cpu":
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    with _translated(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = ort.InferenceSession(str(path), options, providers=asked, enable_fallback=0)
    found = session.get_providers()[0]
    if found != wanted:
        raise _fell_back(path, wanted, f"the session came up on {found}")
    if can_list_nodes and provider != "cpu":
        on_cpu = [
            node.op_type
            for part in session.get_provider_graph_assignment_info()
            if part.ep_name == _PROVIDERS["cpu"]
            for node in part.get_nodes()
        ]
        if on_cpu:
            raise _fell_back(
                path, wanted, f"{len(on_cpu)} nodes ({', '.join(sorted(set(on_cpu)))}) went to the CPU"
            )
    return session


def _fell_back(path: Path, wanted: str, what: str) -> UnavailableError:
    return UnavailableError(
        f"{path}: {wanted} was asked for, but {what}.",
        "Check the driver and the CUDA libraries (pip install 'onnxruntime-gpu[cuda,cudnn]').",
    )


@contextmanager
def _translated(path: Path | str) -> Iterator[None]:
    """ONNX Runtime's exceptions share no base class of their own: whatever its calls raise is its word."""
    try:
        yield
    except (PerframeError, KeyboardInterrupt):
        raise
    except Exception as error:
        said = str(error).strip().splitlines()
        text = said[-1] if said else type(error).__name__
        if "serializ" in text.lower():
            raise UnavailableError(
                f"{path}: the engine could not be written: {text}", "Is the disk full?"
            ) from error
        if "NOT_IMPLEMENTED" in text:
            raise UnavailableError(
                f"{path}: ONNX Runtime has no kernel for it here: {text}",
                "The CPU computes in fp32 and int8 (fp16 as fp32); bf16 needs another --engine or device.",
            ) from error
        if "llocat" in text and ("memory" in text or "Failed" in text):
            raise OutOfMemoryError(f"{path}: out of memory: {text}", "Try a smaller batch.") from error
        raise BuildError(
            f"{path}: ONNX Runtime refuses it: {text}", "Does it run in onnxruntime alone?"
        ) from error
