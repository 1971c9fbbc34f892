"""From nothing to answers: networks swept, claims judged, a group size predicted."""

import json
from pathlib import Path

import pytest

from perframe.cli import run

GRID = ("--family", "mobilenet-v1", "--group-sizes", "1,4,8", "--groups", "2,4", "--width", "0.25")
QUICK = ("--classes", "10", "--input", "3x32x32", "--engine", "fake", "--windows", "3", "--window-s", "0.5")


def test_a_sweep_is_judged_and_predicted_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = str(tmp_path / "results")
    sensor = ("--sensor", "sim:a100", "--no-layers", "-b", "1", "-b", "4")
    assert run(["sweep", *GRID, *QUICK, *sensor, "--runs", "2", "-o", results]) == 0, capsys.readouterr().err
    capsys.readouterr()

    assert run(["findings", results, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    claims = {claim["code"]: claim["judged"] for claim in document["claims"]}
    assert len(document["series"]) == 2 and not document["skipped"]
    assert {each["energy_kind"] for each in claims["e2gc-falls"]} == {"modelled"}
    assert claims["batching"][0]["outcome"] == "holds"
    # Nothing was published for a network of a quarter of the width.
    assert claims["batching"][0]["published"] is None
    assert claims["depthwise"][0]["missing"] == "G = 1 and G = 2"

    assert run(["predict", "--from", results, "--family", "mobilenet-v1", "--group-size", "2", "--json"]) == 0
    predictions = json.loads(capsys.readouterr().out)["predictions"]
    assert [each["networks"] for each in predictions] == [5, 5]
    epf = predictions[0]["epf_j"]
    assert epf["value"]["low"] < epf["value"]["value"] < epf["value"]["high"]
