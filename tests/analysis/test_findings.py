"""Published claims, judged where the truth is known."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.analysis.claims import CLAIMS
from perframe.analysis.findings import Findings, Judged, decide, find, recompute
from perframe.analysis.results import read_results
from perframe.cli import run
from perframe.profiler.stats import Estimate

WriteResults = Callable[..., Path]
CODES = {claim.code: claim for claim in CLAIMS}


def judged(found: Findings, code: str) -> list[Judged]:
    return next(list(each.judged) for each in found.findings if each.claim.code == code)


def outcomes(found: Findings, code: str) -> set[str]:
    return {each.outcome for each in judged(found, code)}


# --- the one function that decides ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "published", "expected"),
    [
        (0.05, 0.07, (0.04, 0.08), "holds"),
        (0.03, 0.05, (0.04, 0.08), "holds"),
        (0.01, 0.03, (0.04, 0.08), "weaker"),
        (0.09, 0.10, (0.04, 0.08), "stronger"),
        (-0.01, 0.03, (0.04, 0.08), "inconclusive"),
        (-0.03, -0.01, (0.04, 0.08), "reversed"),
        (0.01, 0.03, None, "holds"),
    ],
)
def test_a_side_is_taken_where_the_whole_interval_is(
    low: float, high: float, published: tuple[float, float] | None, expected: str
) -> None:
    assert decide(Estimate((low + high) / 2, low, high, 9), published) == expected


def test_nothing_is_decided_without_an_interval_or_by_chance() -> None:
    assert decide(Estimate(0.5, None, None, 1), None) == "inconclusive"
    assert decide(Estimate(0.5, 0.4, 0.6, 1), None, by_chance=True) == "inconclusive"


@given(st.floats(-1, 1), st.floats(0.001, 0.5), st.floats(0.0, 1.0))
def test_a_wider_interval_never_says_more(value: float, half: float, wider: float) -> None:
    narrow = decide(Estimate(value, value - half, value + half, 9), (0.1, 0.2))
    wide = decide(Estimate(value, value - half - wider, value + half + wider, 9), (0.1, 0.2))
    assert wide in (narrow, "inconclusive", "holds")


# --- the published tables ---------------------------------------------------------------------------------------


def test_claims_on_their_own_tables() -> None:
    agreeing = {code: [each.agrees for each in recompute(claim)] for code, claim in CODES.items()}
    for code in ("fewer-macs", "fggc-minimum", "e2gc-falls", "depthwise"):
        assert agreeing[code] == [True] * 12
    # ResNeXt-50 on the P4000 at batch 1 is the one table that says otherwise.
    against = [each for each in recompute(CODES["e2gc-beats-fggc"]) if not each.agrees]
    assert [each.where for each in against] == ["resnext50, batch 1 on P4000, fp32, training"]
    assert agreeing["batching"] == agreeing["batching-small-groups"] == [True] * 4
    assert agreeing["devices-agree"] == agreeing["data-reuse"] == [True] * 6
    assert agreeing["regimes-agree"] == agreeing["precisions-agree"] == []


def test_the_headline_pair_is_named() -> None:
    first = recompute(CODES["e2gc-beats-fggc"])[0]
    assert first.where == "mobilenet_v1, batch 1 on P100, fp32, training"
    parts = {part.name: part.effect.value for part in first.parts}
    assert set(parts) == {"G=8 for g=32", "G=16 for g=16", "G=32 for g=8"}
    assert parts["G=8 for g=32"] == pytest.approx(1 - 373 / 418)
    assert first.effect.value == pytest.approx(sum(parts.values()) / 3)


def test_an_order_has_the_chance_of_orders() -> None:
    assert recompute(CODES["fewer-macs"])[0].chance == pytest.approx(2 / 720)


# --- results at hand --------------------------------------------------------------------------------------------


def test_the_published_figures_themselves_hold(write_results: WriteResults, tmp_path: Path) -> None:
    found = find(read_results(write_results(tmp_path, runs=2, run_spread=0.003)))
    codes = ("fewer-macs", "e2gc-falls", "depthwise", "fggc-minimum", "batching", "batching-small-groups")
    seen = [each.outcome for code in codes for each in judged(found, code)]
    # The P100 is at an end of what was published: one interval in 40 lies beyond it.
    assert set(seen) <= {"holds", "weaker", "stronger"}
    assert seen.count("holds") >= 0.9 * len(seen)
    # It ranks as the P100 does, which is closer than the P4000 does.
    assert outcomes(found, "devices-agree") == {"holds", "stronger"}
    for each in judged(found, "fewer-macs"):
        assert each.energy_kind == "measured" and each.spread_source == "measured"
        assert each.effect is not None and each.published == (1.0, 1.0)


def test_an_order_turned_around_is_reversed(write_results: WriteResults, tmp_path: Path) -> None:
    def by_macs(family: str, label: str, batch: int, epf_j: float) -> float:
        number = int(label[2:])
        return 0.1 * (1.0 + number / 8.0 if label.startswith("G") else 1.0 + 4.0 / number)

    found = find(read_results(write_results(tmp_path, change=by_macs)))
    for code in ("fewer-macs", "e2gc-falls", "depthwise", "fggc-minimum"):
        assert outcomes(found, code) == {"reversed"}, code
    # The same at every batch size.
    assert outcomes(found, "batching") == {"inconclusive"}


def test_effects_are_weaker_and_stronger(write_results: WriteResults, tmp_path: Path) -> None:
    def gentle(family: str, label: str, batch: int, epf_j: float) -> float:
        return 0.3 - (0.0 if label == "G=1" else 0.02) if label.startswith("G") else 0.5

    found = find(read_results(write_results(tmp_path, change=gentle)))
    assert outcomes(found, "e2gc-falls") == {"weaker"}
    assert outcomes(found, "e2gc-beats-fggc") == {"stronger"}


def test_noise_is_inconclusive_and_says_what_could_be_seen(
    write_results: WriteResults, tmp_path: Path
) -> None:
    def same(family: str, label: str, batch: int, epf_j: float) -> float:
        return 0.3

    found = find(read_results(write_results(tmp_path, change=same, runs=3, run_spread=0.03)))
    for code in ("depthwise", "e2gc-falls"):
        for each in judged(found, code):
            assert each.detectable is not None and 0.0 < each.detectable < 0.2
    # Each of six intervals misses nothing with 95 %.
    assert sum(each.outcome == "inconclusive" for each in judged(found, "depthwise")) >= 4


def test_modelled_energy_is_flagged_everywhere(write_results: WriteResults, tmp_path: Path) -> None:
    found = find(read_results(write_results(tmp_path, kind="modelled")))
    assert {e.energy_kind for f in found.findings for e in f.judged if e.effect} == {"modelled"}


def test_what_was_not_measured_is_not_tested(write_results: WriteResults, tmp_path: Path) -> None:
    found = find(read_results(write_results(tmp_path, labels=("G=2", "G=4"))))
    for finding in found.findings:
        for each in finding.judged:
            if finding.claim.code not in ("batching", "batching-small-groups"):
                assert each.outcome == "not tested" and each.missing, finding.claim.code
    assert "both regimes" in str(judged(found, "regimes-agree")[0].missing)


def test_regimes_and_precisions_are_compared(write_results: WriteResults, tmp_path: Path) -> None:
    write_results(tmp_path)
    write_results(tmp_path, regime="training", seed=1)
    write_results(tmp_path, precision="fp16", seed=2)
    found = find(read_results(tmp_path))
    for code in ("regimes-agree", "precisions-agree"):
        assert len(judged(found, code)) == 6
        assert outcomes(found, code) == {"holds"}, code
    assert "fp16" in judged(found, "precisions-agree")[0].where


def test_measured_and_modelled_are_never_set_side_by_side(
    write_results: WriteResults, tmp_path: Path
) -> None:
    write_results(tmp_path)
    write_results(tmp_path, regime="training", kind="modelled", seed=1)
    assert outcomes(find(read_results(tmp_path)), "regimes-agree") == {"not tested"}


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command_prints_a_table(
    write_results: WriteResults, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path, kind="modelled")
    (tmp_path / "foreign\x1b[31m.json").write_text("{}")
    assert run(["findings", str(tmp_path), "--all"]) == 0
    out = capsys.readouterr().out
    for claim in CLAIMS:
        assert claim.statement.split()[0] in out
    assert "4.73 %" in out and "does not" in out and "modelled here" in out
    assert "\x1b" not in out and "skipped" in out


def test_the_command_prints_json(
    write_results: WriteResults, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path)
    assert run(["findings", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [claim["code"] for claim in document["claims"]] == list(CODES)
    assert all(claim["formula"] and claim["source"] for claim in document["claims"])
    first = document["claims"][0]["judged"][0]
    assert {"outcome", "effect", "published", "energy_kind", "detectable"} <= set(first)
    assert [each["reproduces"] for each in document["paper"]] == [True, True, False, False, True]


def test_a_folder_without_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["findings", str(tmp_path)]) == 5
    assert len(capsys.readouterr().err.splitlines()) == 2
