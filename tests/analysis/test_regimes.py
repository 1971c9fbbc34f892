"""Training and deployed, side by side."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from perframe.analysis.findings import find
from perframe.analysis.regimes import SideBySide, side_by_side
from perframe.analysis.results import read_results
from perframe.analysis.series import series_of
from perframe.cli import run
from perframe.report.section_findings import findings_section

WriteResults = Callable[..., Path]


def thrice(family: str, label: str, batch: int, epf_j: float) -> float:
    return 3.0 * epf_j


def found(folder: Path) -> tuple[SideBySide, ...]:
    return side_by_side(series_of(read_results(folder).results))


@pytest.fixture
def both(write_results: WriteResults, tmp_path: Path) -> Path:
    write_results(tmp_path, labels=("G=8", "g=4"), runs=3, run_spread=0.01)
    return write_results(
        tmp_path, labels=("G=8", "G=16"), runs=3, run_spread=0.01, regime="training", change=thrice, seed=1
    )


def test_the_networks_of_both_regimes_are_set_side_by_side(both: Path) -> None:
    every = found(both)
    assert len(every) == 2 * 3
    for one in every:
        assert one.sensor == "nvml" and one.energy_kind == "measured"
        assert one.training == one.deployed.replace("onnxruntime", "torch") + ", training"
        # The others were measured in one regime only.
        assert [each.name for each in one.networks] in (["mobilenet_v1-E2GC-G8"], ["resnext50-E2GC-G8"])
        ratio = one.networks[0].ratio
        assert ratio.low is not None and ratio.high is not None
        assert ratio.low < ratio.value < ratio.high < ratio.low * 1.2
        assert ratio.value == pytest.approx(3.0, rel=0.05)
        assert one.networks[0].training_j.value / one.networks[0].deployed_j.value == pytest.approx(
            ratio.value
        )


@pytest.mark.parametrize("differs", [{"kind": "modelled"}, {"regime": "inference", "precision": "fp16"}])
def test_nothing_else_is(differs: dict[str, str], write_results: WriteResults, tmp_path: Path) -> None:
    write_results(tmp_path, labels=("G=8",))
    write_results(tmp_path, **{"labels": ("G=8",), "regime": "training", "seed": 1, **differs})
    assert found(tmp_path) == ()


def test_another_card_of_the_same_name_is_not(write_results: WriteResults, tmp_path: Path) -> None:
    write_results(tmp_path, labels=("G=8",))
    write_results(tmp_path / "other", labels=("G=8",), regime="training", seed=1)
    assert found(tmp_path)
    for path in (tmp_path / "other").rglob("*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        document["identity"]["sensor_uuid"] = "GPU-1"
        path.write_text(json.dumps(document), encoding="utf-8")
    assert found(tmp_path) == ()


def test_every_form_shows_them(both: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["findings", str(both)]) == 0
    out = capsys.readouterr().out
    assert "training / deployed" in out and out.count("mobilenet_v1-E2GC-G8 ") == 3
    assert run(["findings", str(both), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["regimes"]) == 6
    assert document["regimes"][0]["networks"][0]["ratio"]["value"] == pytest.approx(3.0, rel=0.05)
    results = read_results(both)
    page = findings_section(find(results), [one.conditions for one in series_of(results.results)])
    assert page.count("training / deployed") == 6
