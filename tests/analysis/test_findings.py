"""Published claims, judged where the truth is known."""

import io
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from perframe.analysis.claims import CLAIMS
from perframe.analysis.findings import Findings, find, recompute
from perframe.analysis.judge import Judged
from perframe.analysis.published_series import published_series
from perframe.analysis.results import read_results
from perframe.cli import run
from perframe.report.findings import findings_tables

WriteResults = Callable[..., Path]
CODES = {claim.code: claim for claim in CLAIMS}
# Without a second run the spread between runs would be assumed, and a large one.
SETTLED = {"runs": 2, "run_spread": 0.003}


def judged(found: Findings, code: str) -> list[Judged]:
    return next(list(each.judged) for each in found.findings if each.claim.code == code)


def outcomes(found: Findings, code: str) -> set[str]:
    return {each.outcome for each in judged(found, code)}


# --- the published tables ---------------------------------------------------------------------------------------


def test_claims_on_their_own_tables() -> None:
    agreeing = {code: [each.agrees for each in recompute(claim)] for code, claim in CODES.items()}
    for code in ("fewer-macs", "fggc-minimum", "e2gc-falls", "depthwise"):
        assert agreeing[code] == [True] * 12
    # ResNeXt-50 on the P4000 at batch 1 is the one table that says otherwise.
    against = [each for each in recompute(CODES["e2gc-beats-fggc"]) if not each.agrees]
    assert [each.where for each in against] == ["resnext50, batch 1 on P4000, fp32, training"]
    assert agreeing["batching"] == agreeing["batching-small-groups"] == [True] * 4
    assert agreeing["devices-agree"] == agreeing["activation-reuse"] == [True] * 6
    assert agreeing["weight-reuse"] == [False] * 6
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


def test_data_reuse_is_more_than_macs_on_both_sides() -> None:
    """Energies dealt at random correlate too: what is beyond that counts."""
    for each in recompute(CODES["activation-reuse"]):
        own, by_chance = (part.effect.value for part in each.parts)
        assert own > 0.85 and 0.5 < by_chance < 0.7 and each.effect.value == pytest.approx(own - by_chance)
        assert each.chance is not None and each.chance < 0.001
    # MACs per parameter do track in four tables, more than by chance; in two nothing is told.
    found = recompute(CODES["weight-reuse"])
    assert [each.contradicts for each in found] == [False, True, True, False, True, True]
    assert all(each.chance is not None and (each.chance <= 0.05) == each.contradicts for each in found)


# --- results at hand --------------------------------------------------------------------------------------------


def test_the_published_figures_themselves_hold(write_results: WriteResults, tmp_path: Path) -> None:
    found = find(read_results(write_results(tmp_path, **SETTLED)))
    codes = ("fewer-macs", "e2gc-falls", "depthwise", "fggc-minimum", "batching", "batching-small-groups")
    seen = [each.outcome for code in codes for each in judged(found, code)]
    # The P100 is at an end of what was published: one interval in 40 lies beyond it.
    assert set(seen) <= {"holds", "weaker", "stronger"}
    assert seen.count("holds") >= 0.9 * len(seen)
    # It ranks as the P100 does, which is closer than the P4000 does.
    assert outcomes(found, "devices-agree") <= {"holds", "stronger"}
    assert outcomes(found, "activation-reuse") == {"holds"}
    for each in judged(found, "fewer-macs"):
        assert each.energy_kind == "measured" and each.spread_source == "measured"
        assert each.effect is not None and each.published is not None and each.published[1] == 1.0
        assert each.effect.high == 1.0


def test_the_spread_of_joined_series_is_known(write_results: WriteResults, tmp_path: Path) -> None:
    every = find(read_results(write_results(tmp_path / "twice", runs=2, run_spread=0.03)))
    own = [each.run_spread for each in judged(every, "depthwise")]
    joined = [each.run_spread for each in judged(every, "activation-reuse")]
    assert None not in joined and set(joined) < set(own)
    # At each of three batch sizes that of the family which differs more.
    assert len(own) == 6 and len(joined) == 3
    assert {each.spread_source for each in judged(every, "activation-reuse")} == {"measured"}
    once = find(read_results(write_results(tmp_path / "once")))
    assert {each.spread_source for each in judged(once, "activation-reuse")} == {"assumed"}


def test_an_order_turned_around_is_reversed(write_results: WriteResults, tmp_path: Path) -> None:
    def by_macs(family: str, label: str, batch: int, epf_j: float) -> float:
        number = int(label[2:])
        return 0.1 * (1.0 + number / 8.0 if label.startswith("G") else 1.0 + 4.0 / number)

    found = find(read_results(write_results(tmp_path, change=by_macs, **SETTLED)))
    for code in ("fewer-macs", "e2gc-falls", "depthwise", "fggc-minimum"):
        assert outcomes(found, code) == {"reversed"}, code
    # The same at every batch size: there is none of the published effect.
    assert outcomes(found, "batching") == {"weaker"}
    # Energy in proportion to MACs ranks otherwise than the published one, and that is not left open.
    assert outcomes(found, "devices-agree") <= {"weaker", "reversed"}


@pytest.mark.parametrize(
    ("moved", "code", "expected"),
    [("activations", "activation-reuse", "reversed"), ("params", "weight-reuse", "holds")],
)
def test_reuse_that_costs_energy(
    moved: str, code: str, expected: str, write_results: WriteResults, tmp_path: Path
) -> None:
    """The more MACs meet an activation or a parameter, the more joules each of them takes."""
    models = {
        (str(one.backbone.family), network.label): network.model
        for one in published_series()
        if one.backbone is not None
        for network in one.networks
    }

    def dear(family: str, label: str, batch: int, epf_j: float) -> float:
        model = models[family, label]
        assert model.macs is not None
        return 1e-10 * model.macs * math.sqrt(model.macs / getattr(model, moved))

    found = find(read_results(write_results(tmp_path, change=dear, **SETTLED)))
    assert outcomes(found, code) == {expected}


def test_effects_are_weaker_and_stronger(write_results: WriteResults, tmp_path: Path) -> None:
    def gentle(family: str, label: str, batch: int, epf_j: float) -> float:
        return 0.3 - (0.0 if label == "G=1" else 0.02) if label.startswith("G") else 0.5

    found = find(read_results(write_results(tmp_path, change=gentle, **SETTLED)))
    assert outcomes(found, "e2gc-falls") == {"weaker"}
    assert outcomes(found, "e2gc-beats-fggc") == {"stronger"}


def test_noise_is_inconclusive_and_says_what_could_be_seen(
    write_results: WriteResults, tmp_path: Path
) -> None:
    def same(family: str, label: str, batch: int, epf_j: float) -> float:
        return 0.3

    found = find(read_results(write_results(tmp_path, change=same, runs=3, run_spread=0.2)))
    for each in judged(found, "depthwise"):
        assert each.detectable is not None and 0.2 < each.detectable < 1.0
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
    write_results(tmp_path, **SETTLED)
    write_results(tmp_path, regime="training", seed=1, **SETTLED)
    write_results(tmp_path, precision="fp16", seed=2, **SETTLED)
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


def test_the_table_says_how_sure_it_is(write_results: WriteResults, tmp_path: Path) -> None:
    # One family of six networks that cost the same: one set of results for what compares batch sizes.
    labels = ("G=1", "G=2", "G=4", "G=8", "G=16", "G=32")
    write_results(tmp_path, labels=labels, change=lambda *_: 0.3, runs=2, run_spread=0.3, spread=0.05)
    for path in tmp_path.rglob("resnext50*.json"):
        path.unlink()
    found = find(read_results(tmp_path))
    with Console(width=100, record=True, file=io.StringIO()) as console:
        console.print(findings_tables(found, every=False))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 100 and not any("…" in line for line in lines)
    (batching,) = judged(found, "batching")
    assert batching.effect is not None and batching.effect.low is not None
    told = f"{100 * batching.effect.value:.1f} % [{100 * batching.effect.low:.1f}, "
    assert any(told in line for line in lines if line.lstrip().startswith("Batching lowers"))
    undecided = [each for each in judged(found, "depthwise") if each.outcome == "inconclusive"]
    assert undecided and all(each.detectable is not None for each in undecided)
    first = next(i for i, line in enumerate(lines) if line.lstrip().startswith("Depthwise"))
    decided = next(line for line in lines[first : first + 3] if "inconclusive" in line)
    assert f"{100 * max(each.detectable or 0.0 for each in undecided):.1f} %" in decided
    assert any("every interval: up to " in line for line in lines)


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
    assert document["regimes"] == []
    assert [each["reproduces"] for each in document["paper"]] == [True, True, False, False, True]


def test_a_folder_without_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["findings", str(tmp_path)]) == 5
    assert len(capsys.readouterr().err.splitlines()) == 2
