"""The checkpoint itself, run eagerly and trained, for real."""

from pathlib import Path

import numpy as np
import pytest

from perframe.engines.base import EngineArtifact
from perframe.engines.lower import PrecisionSpec
from perframe.engines.prepare import build_engine, engine_for
from perframe.engines.registry import backend_named
from perframe.errors import InputError, UnavailableError, UsageError
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.sensors.modelled import Modelled
from perframe.profiler.session import profile

QUICK = MeasurementPlan(batches=(2,), windows=2, window_s=0.05, warm_up_s=0.5, layer_s=0.05)


def frames(artifact: EngineArtifact, batch: int) -> dict[str, np.ndarray]:
    shape = (batch, *artifact.model.input_shape)
    return {artifact.inputs[0].name: np.random.default_rng(0).standard_normal(shape).astype(np.float32)}


def test_it_computes_what_the_exported_network_computes(checkpoint: Path, onnx_file: Path) -> None:
    with (
        engine_for(checkpoint, engine="torch", input_shapes=(3, 64, 64)) as eager,
        backend_named("torch").open(eager) as engine,
    ):
        ours = engine.infer(frames(eager, 2))["logits"]
        given = frames(eager, 2)
    with engine_for(onnx_file) as exported, backend_named("onnxruntime").open(exported) as session:
        np.testing.assert_allclose(session.infer(given)["logits"], ours, rtol=1e-3, atol=1e-4)


def test_every_module_is_timed_and_led_back(checkpoint: Path) -> None:
    with engine_for(checkpoint, engine="torch", input_shapes=(3, 64, 64)) as artifact:
        result = profile(artifact, QUICK, Modelled(10.0))
    (batch,) = result.batches
    assert result.regime == "inference" and result.engine.provider == "eager"
    assert batch.attributed_share == pytest.approx(1.0)
    assert [layer.name for layer in batch.layers] == [layer.name for layer in artifact.layers]
    assert sum(layer.macs or 0 for layer in batch.layers) == result.model.macs


def test_training_is_forward_and_backward(checkpoint: Path) -> None:
    with engine_for(checkpoint, engine="torch", regime="training", input_shapes=(3, 64, 64)) as artifact:
        result = profile(artifact, QUICK, Modelled(10.0))
        with backend_named("torch").open(artifact) as engine:
            engine.bind(frames(artifact, 2))
            before = [each.clone() for each in engine._network.parameters()]  # type: ignore[attr-defined]
            engine.run(2)
            after = list(engine._network.parameters())  # type: ignore[attr-defined]
            assert all(each.grad is not None for each in after)
            # No optimiser steps, as none was counted in the published protocol.
            assert all(bool((a == b).all()) for a, b in zip(after, before, strict=True))
    assert result.regime == "training" and result.identity["regime"] == "training"
    assert [layer.name for layer in result.batches[0].layers] == ["forward", "backward"]


def test_one_value_per_channel_cannot_be_trained(checkpoint: Path) -> None:
    with engine_for(checkpoint, engine="torch", regime="training", input_shapes=(3, 32, 32)) as artifact:
        plan = MeasurementPlan(batches=(1,), windows=2, window_s=0.05, warm_up_s=0.1)
        with pytest.raises(InputError, match="one value per channel"):
            profile(artifact, plan, None)


def test_what_it_cannot_run_is_refused(checkpoint: Path, onnx_file: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="runs checkpoints"):
        build_engine(onnx_file, tmp_path / "engine", engine="torch")
    with pytest.raises(UsageError, match="does not train"):
        build_engine(onnx_file, tmp_path / "engine", regime="training")
    with (
        pytest.raises(UsageError, match="runs the checkpoint in fp32"),
        engine_for(checkpoint, engine="torch", precision=PrecisionSpec("fp16"), input_shapes=(3, 64, 64)),
    ):
        pass
    with (
        pytest.raises(UnavailableError, match="CUDA devices"),
        engine_for(checkpoint, engine="torch", device="cuda:7", input_shapes=(3, 64, 64)),
    ):
        pass
