"""Layers measured for themselves, and precisions, from the command line."""

import json
from pathlib import Path

import pytest

from perframe.cli import run


def profiled(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([str(each) for each in ("profile", *arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("method", ["replayed", "marginal"])
def test_layers_are_measured_for_themselves_within_a_budget(
    onnx_file: Path, capsys: pytest.CaptureFixture[str], method: str
) -> None:
    common = (onnx_file, "--engine", "fake", "--sensor", "sim:v100", "--windows", 2, "--window-s", 1)
    code, out, err = profiled(capsys, *common, "--layer-energy", method, "--layer-budget", 60, "--json")
    assert code == 0, err
    (batch,) = json.loads(out)["batches"]
    measured = [layer for layer in batch["layers"] if layer["energy_j"] is not None]
    assert 0 < len(measured) < len(batch["layers"])
    assert {layer["energy_method"] for layer in measured} == {method}
    # Nothing stands in for what was not measured; what was is the slowest, and closes.
    assert max(layer["latency_s"] for layer in batch["layers"]) == max(each["latency_s"] for each in measured)
    closures = {closure["method"]: closure for closure in batch["closures"]}
    assert closures["attributed"]["by_construction"]
    assert abs(closures[method]["energy_residual"]["value"]) < 0.05
    code, out, err = profiled(capsys, *common, "--layer-energy", method, "--layer-budget", 30)
    assert code == 0 and f"{method}: layers with" in out and "were not measured for themselves" in out


def test_what_makes_no_sense_is_refused(onnx_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = (onnx_file, "--engine", "fake", "--windows", 2)
    assert profiled(capsys, *fake, "--layer-energy", "replayed", "--no-layers")[0] == 2
    assert profiled(capsys, *fake, "--layer-energy", "sampled")[0] == 2
    assert profiled(capsys, *fake, "--transfers")[0] == 2
    assert profiled(capsys, *fake, "--rebuilds", 3)[0] == 2
    assert profiled(capsys, *fake, "--precision", "int8")[0] == 2


def test_a_precision_that_the_cpu_does_not_compute_in_is_told(
    onnx_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = (
        "--windows",
        2,
        "--window-s",
        0.05,
        "--warm-up-s",
        0,
        "--no-layers",
        "--sensor",
        "none",
        "--json",
    )
    code, out, err = profiled(capsys, onnx_file, "--precision", "fp16", *quick)
    assert code == 0, err
    document = json.loads(out)
    assert document["model"]["precision"] == document["identity"]["precision"] == "fp16"
    assert "precision-emulated" in {each["code"] for each in document["batches"][0]["quality"]}
