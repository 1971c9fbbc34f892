"""The `fake` backend: an engine of known, repeatable cost on a virtual clock.

It runs nothing. Every layer takes a time that follows from its cost, plus jitter drawn from the model's hash, so
the whole pipeline (windows, layers, energy, tables, JSON) can be driven in milliseconds on any machine with the
same result to the last digit. Its device is called `fake`, so its figures can never pass for a measurement.

The engines that one backend opens share its clock, so that one sensor can watch them all.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

import perframe
from perframe.arrays import Array
from perframe.engines.artifact import write_sidecar
from perframe.engines.base import BuildSpec, EngineArtifact, EngineLayer, LayerTiming
from perframe.engines.clock import Clock, VirtualClock
from perframe.engines.describe import describe_model
from perframe.export.cost import layer_costs
from perframe.export.onnx_model import OnnxModel, TensorInfo
from perframe.files import sha256_of, write_text
from perframe.progress import Progress, silent

# A small machine: 50 GMAC/s, 5 G elements/s moved, and 2 us to start a layer.
_MACS_PER_S = 50e9
_ELEMENTS_PER_S = 5e9
_START_S = 2e-6
_JITTER = 0.01
# The first executions after opening are slower and settle, as caches and clocks do.
_COLD_EXTRA = 0.5
_COLD_RUNS = 5


class Fake:
    """See `perframe.engines.base.Backend`.

    Args:
        activity: The share of one core that a layer keeps busy while it runs, between 0 and 1: what a sensor that
            follows CPU time makes the layer's power of.
    """

    name = "fake"
    default_device = "cpu"
    tunes = False

    def __init__(self, activity: Callable[[EngineLayer], float] = lambda layer: 1.0) -> None:
        self._activity = activity
        self._clock = VirtualClock()

    def unavailable(self) -> str | None:
        """See `perframe.engines.base.Backend.unavailable`."""
        return None

    def build(
        self, model: OnnxModel, spec: BuildSpec, out: Path, progress: Progress = silent
    ) -> EngineArtifact:
        """See `perframe.engines.base.Backend.build`."""
        started = time.perf_counter()
        costs = layer_costs(model, spec.input_shapes)
        write_text(out, f"perframe fake engine of {model.sha256}\n")
        artifact = EngineArtifact(
            path=out,
            backend=self.name,
            version=perframe.__version__,
            device="fake",
            provider="fake",
            threads=spec.threads,
            sha256=sha256_of(out),
            build_s=time.perf_counter() - started,
            model=describe_model(model, costs, spec.input_shapes[model.inputs[0].name]),
            inputs=model.inputs,
            outputs=model.outputs,
            input_shapes=dict(spec.input_shapes),
            layers=tuple(
                EngineLayer(
                    name=cost.name,
                    op=cost.op,
                    module=cost.module,
                    onnx_nodes=(cost.name,),
                    overhead=False,
                    macs=cost.macs,
                    params=cost.params,
                    input_activations=cost.input_activations,
                    output_activations=cost.output_activations,
                    groups=cost.groups,
                    group_size=cost.group_size,
                )
                for cost in costs
            ),
        )
        write_sidecar(artifact)
        return artifact

    @contextmanager
    def open(self, artifact: EngineArtifact) -> Iterator["FakeEngine"]:
        """See `perframe.engines.base.Backend.open`."""
        yield FakeEngine(artifact, self._clock, self._activity)


class FakeEngine:
    """See `perframe.engines.base.Engine`."""

    def __init__(
        self, artifact: EngineArtifact, clock: VirtualClock, activity: Callable[[EngineLayer], float]
    ) -> None:
        self._clock = clock
        self.clock: Clock = clock
        self._artifact = artifact
        self._activity = activity
        self._random = np.random.default_rng(int((artifact.model.sha256 or artifact.sha256)[:16], 16))
        self._take_batch(1)

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return values drawn from the inputs' sum: repeatable, and no more than that."""
        self.bind(inputs)
        self.run(1)
        total = sum(float(np.abs(array).sum(dtype=np.float64)) for array in inputs.values())
        draw = np.random.default_rng(int(total * 1e3) % 2**32)
        shapes = {
            o.name: [self._batch, *(d if isinstance(d, int) else 1 for d in o.shape[1:])]
            for o in self._outputs
        }
        return {
            output.name: draw.standard_normal(shapes[output.name]).astype(output.dtype)
            for output in self._outputs
        }

    def bind(self, inputs: Mapping[str, Array]) -> None:
        """See `perframe.engines.base.Engine.bind`."""
        self._take_batch(next(iter(inputs.values())).shape[0])

    def run(self, iterations: int) -> None:
        """See `perframe.engines.base.Engine.run`. One core is as busy all the while as the layers are on average."""
        for _ in range(iterations):
            cold = max(0.0, 1.0 - self._runs / _COLD_RUNS) * _COLD_EXTRA
            factor = self._jitter() * (1.0 + cold)
            self._clock.advance(self._run_s * factor, cpu_s=self._busy_s * factor)
            self._runs += 1

    def layer_timings(self, iterations: int) -> Sequence[LayerTiming]:
        """See `perframe.engines.base.Engine.layer_timings`."""
        return [
            LayerTiming(layer.name, tuple(self._layer_s(layer) * self._jitter() for _ in range(iterations)))
            for layer in self._artifact.layers
        ]

    def _take_batch(self, batch: int) -> None:
        self._batch = batch
        layers = self._artifact.layers
        self._run_s = sum(self._layer_s(layer) for layer in layers)
        self._busy_s = sum(self._layer_s(layer) * self._activity(layer) for layer in layers)
        self._runs = 0

    @property
    def _outputs(self) -> Sequence[TensorInfo]:
        return self._artifact.outputs

    def _layer_s(self, layer: EngineLayer) -> float:
        moved = (layer.input_activations or 0) + (layer.output_activations or 0)
        return _START_S + self._batch * ((layer.macs or 0) / _MACS_PER_S + moved / _ELEMENTS_PER_S)

    def _jitter(self) -> float:
        return 1.0 + _JITTER * abs(float(self._random.standard_normal()))
