"""The `torch` backend: the checkpoint itself, run eagerly, or forward and backward as in training.

The published energies per frame were measured while training (arXiv 2006.15100): 100 iterations of forward and
backward, EPF = mean power x (FP_t + BP_t) / B. The training regime repeats that on this device; no optimiser steps, as
none was counted there.
"""

import importlib.util
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perframe.arrays import Array
from perframe.engines.artifact import write_sidecar
from perframe.engines.base import BuildSpec, EngineArtifact, EngineLayer, LayerTiming
from perframe.engines.clock import Clock, SystemClock
from perframe.engines.describe import describe_model, precision_of
from perframe.errors import InputError, MeasurementError, OutOfMemoryError, UnavailableError, UsageError
from perframe.export.cost import LayerCost, layer_costs
from perframe.export.onnx_model import OnnxModel
from perframe.files import atomic_path, sha256_of
from perframe.progress import Progress, silent

_FORWARD, _BACKWARD = "forward", "backward"
_LABEL_SEED = 0
_WARM_UP = 2


class Torch:
    """See `perframe.engines.base.Backend`. What it runs is the checkpoint, and the ONNX model says what that is."""

    name = "torch"
    default_device = "cpu"
    tunes = False

    def unavailable(self) -> str | None:
        """See `perframe.engines.base.Backend.unavailable`. torch is not imported for it, which would take seconds."""
        if importlib.util.find_spec("torch") is None:
            return "torch is not installed.\npip install 'perframe[torch]'"
        return None

    def build(
        self, model: OnnxModel, spec: BuildSpec, out: Path, progress: Progress = silent
    ) -> EngineArtifact:
        """See `perframe.engines.base.Backend.build`.

        Raises:
            UsageError: There is no checkpoint behind the model, or the model is in another precision than fp32.
            UnavailableError: The device is not there.
        """
        from perframe.export.checkpoint import load_checkpoint
        from perframe.export.loading import load_network

        torch = _torch()
        if spec.checkpoint is None:
            raise UsageError(
                f"{model.path}: the torch engine runs checkpoints of recognised networks, not ONNX files or factories.",
                "Give such a checkpoint, or take another --engine.",
            )
        if (precision := precision_of(model)) != "fp32":
            raise UsageError(
                f"{model.path}: in {precision}; the torch engine runs the checkpoint in fp32.",
                "Leave --precision out, or take another --engine.",
            )
        _device(torch, spec.device)
        started = time.perf_counter()
        with atomic_path(out) as target:
            shutil.copyfile(spec.checkpoint, target)
            digest = sha256_of(target)
        costs = layer_costs(model, spec.input_shapes)
        network = load_network(load_checkpoint(out)).module
        artifact = EngineArtifact(
            path=out,
            backend=self.name,
            version=str(torch.__version__),
            device=spec.device,
            provider="eager",
            threads=spec.threads,
            sha256=digest,
            build_s=time.perf_counter() - started,
            model=describe_model(model, costs, spec.input_shapes[model.inputs[0].name]),
            inputs=model.inputs,
            outputs=model.outputs,
            input_shapes=dict(spec.input_shapes),
            layers=_passes(costs) if spec.regime == "training" else _modules(network, costs),
            regime=spec.regime,
        )
        write_sidecar(artifact)
        return artifact

    @contextmanager
    def open(self, artifact: EngineArtifact) -> Iterator["TorchEngine"]:
        """See `perframe.engines.base.Backend.open`."""
        torch = _torch()
        threads = torch.get_num_threads()
        if artifact.threads is not None:
            torch.set_num_threads(artifact.threads)
        engine = TorchEngine(torch, artifact)
        try:
            yield engine
        finally:
            engine.close()
            torch.set_num_threads(threads)


class TorchEngine:
    """See `perframe.engines.base.Engine`."""

    def __init__(self, torch: Any, artifact: EngineArtifact) -> None:
        from perframe.export.checkpoint import load_checkpoint
        from perframe.export.loading import load_network

        self.clock: Clock = SystemClock()
        self._torch, self._artifact = torch, artifact
        self._device = _device(torch, artifact.device)
        network = load_network(load_checkpoint(artifact.path)).module.to(self._device)
        self._network: Any = network.train() if artifact.regime == "training" else network
        self._frames: Any = None
        self._labels: Any = None

    def close(self) -> None:
        """Release what it holds on the device."""
        self._network = self._frames = self._labels = None

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See `perframe.engines.base.Engine.infer`. In the training regime too this is the forward pass only."""
        self.bind(inputs)
        with self._torch.no_grad(), self._translated():
            logits = self._network(self._frames).cpu().numpy()
        return {self._artifact.outputs[0].name: logits}

    def bind(self, inputs: Mapping[str, Array]) -> None:
        """See `perframe.engines.base.Engine.bind`. Training learns labels drawn from a fixed seed."""
        torch = self._torch
        (frames,) = inputs.values()
        with self._translated():
            self._frames = torch.from_numpy(frames).to(self._device)
            if self._artifact.regime == "training":
                with torch.no_grad():
                    classes = self._network(self._frames).shape[-1]
                drawn = torch.Generator().manual_seed(_LABEL_SEED)
                self._labels = torch.randint(classes, (len(frames),), generator=drawn).to(self._device)

    def run(self, iterations: int) -> None:
        """See `perframe.engines.base.Engine.run`."""
        with self._translated():
            for _ in range(iterations):
                if self._labels is None:
                    with self._torch.no_grad():
                        self._network(self._frames)
                else:
                    self._forward().backward()
            self._wait()

    def layer_timings(self, iterations: int) -> Sequence[LayerTiming]:
        """See `perframe.engines.base.Engine.layer_timings`.

        Inference times every module that has none inside; training times the two passes.
        """
        with self._translated():
            timed = self._timed_modules if self._labels is None else self._timed_passes
            return timed(_WARM_UP, iterations)

    def _timed_passes(self, warm_up: int, iterations: int) -> Sequence[LayerTiming]:
        forward_s, backward_s = [], []
        for _ in range(warm_up + iterations):
            start_s = self._now_s()
            loss = self._forward()
            middle_s = self._now_s()
            loss.backward()
            forward_s.append(middle_s - start_s)
            backward_s.append(self._now_s() - middle_s)
        return [
            LayerTiming(_FORWARD, tuple(forward_s[warm_up:])),
            LayerTiming(_BACKWARD, tuple(backward_s[warm_up:])),
        ]

    def _timed_modules(self, warm_up: int, iterations: int) -> Sequence[LayerTiming]:
        starts: dict[str, float] = {}
        seconds: dict[str, list[float]] = {}

        def before(name: str) -> Callable[..., None]:
            return lambda *_: starts.__setitem__(name, self._now_s())

        def after(name: str) -> Callable[..., None]:
            return lambda *_: seconds.setdefault(name, []).append(self._now_s() - starts[name])

        hooks = []
        for name, module in self._network.named_modules():
            if next(module.children(), None) is None:
                hooks += [
                    module.register_forward_pre_hook(before(name)),
                    module.register_forward_hook(after(name)),
                ]
        try:
            with self._torch.no_grad():
                for _ in range(warm_up + iterations):
                    self._network(self._frames)
        finally:
            for hook in hooks:
                hook.remove()
        return [LayerTiming(name, tuple(each[warm_up:])) for name, each in seconds.items()]

    def _forward(self) -> Any:
        # Gradients are dropped, not zeroed: adding to old ones would be work that the protocol has not.
        self._network.zero_grad(set_to_none=True)
        return self._torch.nn.functional.cross_entropy(self._network(self._frames), self._labels)

    def _now_s(self) -> float:
        self._wait()
        return self.clock.now_s()

    def _wait(self) -> None:
        if self._device.type == "cuda":
            self._torch.cuda.synchronize(self._device)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._torch.OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"{self._artifact.device}: not enough memory for {self._artifact.model.name} at this batch size.",
                "Give a smaller batch.",
            ) from error
        except (RuntimeError, ValueError) as error:
            text = str(error).partition("\n")[0]
            if "allocate" in text:
                raise OutOfMemoryError(f"Not enough memory: {text}", "Give a smaller batch.") from error
            if self._artifact.regime == "training" and "more than 1 value per channel" in text:
                raise InputError(
                    f"{self._artifact.model.name}: a batch of one frame leaves BatchNorm one value per channel.",
                    "Train at a larger batch or input.",
                ) from error
            raise MeasurementError(f"torch failed: {text}", "Give --debug for its traceback.") from error


def _modules(network: Any, costs: Sequence[LayerCost]) -> tuple[EngineLayer, ...]:
    """The modules that have none inside, in order. What the export folded into others costs no MACs of its own."""
    heaviest: dict[str, LayerCost] = {}
    nodes: dict[str, list[str]] = {}
    for cost in costs:
        if cost.module is not None:
            nodes.setdefault(cost.module, []).append(cost.name)
            heaviest[cost.module] = max(
                heaviest.get(cost.module, cost), cost, key=lambda each: each.macs or 0
            )
    steps = []
    for name, module in network.named_modules():
        if next(module.children(), None) is not None:
            continue
        known = heaviest.get(name)
        steps.append(
            EngineLayer(
                name=name,
                op=type(module).__name__,
                module=name,
                onnx_nodes=tuple(nodes.get(name, ())),
                overhead=False,
                macs=known.macs if known else 0,
                params=known.params if known else 0,
                input_activations=known.input_activations if known else None,
                output_activations=known.output_activations if known else None,
                groups=known.groups if known else None,
                group_size=known.group_size if known else None,
            )
        )
    return tuple(steps)


def _passes(costs: Sequence[LayerCost]) -> tuple[EngineLayer, ...]:
    """The two passes, each under its own name where a module's would stand."""
    nodes = tuple(cost.name for cost in costs)
    return tuple(
        EngineLayer(name, name, name, nodes, False, None, None, None, None, None, None)
        for name in (_FORWARD, _BACKWARD)
    )


def _torch() -> Any:
    from perframe.export.pytorch import torch

    return torch


def _device(torch: Any, device: str) -> Any:
    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index) >= (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        raise UnavailableError(
            f"{device}: torch {torch.__version__} finds {torch.cuda.device_count()} CUDA devices.",
            "Install a CUDA build of torch, check nvidia-smi, or give --device cpu.",
        )
    return torch.device(device)
