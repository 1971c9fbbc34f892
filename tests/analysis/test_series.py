"""What may be set side by side, and how far a mean may be off."""

from collections.abc import Callable
from pathlib import Path

import pytest

from perframe.analysis.change import ASSUMED_SPREAD
from perframe.analysis.results import read_results
from perframe.analysis.series import Series, across_families, series_of

WriteResults = Callable[..., Path]


def series(folder: Path) -> tuple[Series, ...]:
    return series_of(read_results(folder).results)


def test_families_batches_and_conditions_stand_apart(write_results: WriteResults, tmp_path: Path) -> None:
    write_results(tmp_path, labels=("G=8", "g=4"))
    write_results(tmp_path, labels=("G=8", "g=4"), precision="fp16", seed=1)
    found = series(tmp_path)
    assert len(found) == 2 * 3 * 2
    assert all([network.label for network in each.networks] == ["G=8", "g=4"] for each in found)
    assert {each.conditions.precision for each in found} == {"fp32", "fp16"}
    assert {each.conditions.device for each in found} == {"Test GPU"}
    joined = across_families(found)
    assert len(joined) == 3 * 2
    assert all(len(each.networks) == 4 and each.backbone is None for each in joined)


def test_the_spread_of_one_run_is_assumed(write_results: WriteResults, tmp_path: Path) -> None:
    write_results(tmp_path, spread=1e-6)
    for each in series(tmp_path):
        assert (each.run_spread, each.spread_source) == (ASSUMED_SPREAD, "assumed")
        mean = each.networks[0].epf_j
        assert mean is not None and mean.runs == 1
        assert mean.relative_error == pytest.approx(ASSUMED_SPREAD, rel=1e-3)


def test_the_spread_of_runs_is_pooled_over_networks(write_results: WriteResults, tmp_path: Path) -> None:
    write_results(tmp_path, runs=4, run_spread=0.02, spread=0.001)
    for each in series(tmp_path):
        assert each.spread_source == "measured"
        # 11 networks of 4 runs each: 33 degrees of freedom.
        assert each.run_spread == pytest.approx(0.02, rel=0.45)
        mean = each.networks[0].epf_j
        assert mean is not None and (mean.runs, mean.degrees) == (4, 33)
        assert each.run_spread is not None and mean.relative_error == pytest.approx(each.run_spread / 2.0)


def test_draws_spread_as_their_means_may_be_off(write_results: WriteResults, tmp_path: Path) -> None:
    write_results(tmp_path, runs=3, run_spread=0.02)
    one = series(tmp_path)[0]
    mean = one.networks[0].epf_j
    assert mean is not None and mean.relative_error is not None
    drawn = one.epf_j[1:, 0]
    assert drawn.std() / mean.value == pytest.approx(mean.relative_error, rel=0.25)
    assert one.epf_j[0, 0] == mean.value
    assert (one.epf_j > 0.0).all()
    # The same results give the same draws.
    assert (series(tmp_path)[0].epf_j == one.epf_j).all()


def test_networks_without_energy_keep_their_latency(write_results: WriteResults, tmp_path: Path) -> None:
    write_results(tmp_path, labels=("G=8",))
    for path in tmp_path.rglob("*.json"):
        text = path.read_text(encoding="utf-8")
        lines = [
            '      "energy_j": null,' if line.startswith('      "energy_j"') else line
            for line in text.splitlines()
        ]
        path.write_text("\n".join(lines), encoding="utf-8")
    for each in series(tmp_path):
        assert each.networks[0].epf_j is None and each.networks[0].latency_s is not None
        assert each.with_energy().networks == ()
