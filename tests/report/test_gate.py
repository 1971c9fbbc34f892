"""What a gate says: for people, and for programs that people did not write."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from perframe.analysis.verdict import Change, Difference, Evidence, Judgement, Moved, Threshold, Verdict
from perframe.profiler.result import Quality
from perframe.report.gate import figures, show_judgement, subject, why
from perframe.report.gate_formats import github_annotations, judgement_json, junit, markdown

EPF = Threshold("epf", max_increase=0.02)
RUNS = Evidence("runs", 3, 3, 0.005, "measured")
PAIRS = Evidence("pairs", 17, 17, 0.01, "measured")
EVIL = "x\x1b[31m|<b>`a`\n::error::% , :"

REGRESSION = Verdict(
    EPF,
    1,
    "regression",
    kind="modelled",
    baseline=0.208,
    current=0.214,
    change=Change(0.029, 0.024, 0.034),
    evidence=PAIRS,
    moved=(Moved("blocks.2", "J", 0.0146, 0.0159), Moved(EVIL, "J", None, 0.001)),
)
PASS = Verdict(
    Threshold("latency-p99", maximum=0.005),
    4,
    "pass",
    current=0.004,
    change=Change(-0.2, -0.22, -0.18),
    evidence=Evidence("runs", 0, 3, 0.004, "measured"),
)
UNCLEAR = Verdict(EPF, 4, "inconclusive", "measured", 0.2, 0.204, Change(0.01, -0.01, 0.03), RUNS)
OTHER = Verdict(EPF, 1, "incomparable", differences=(Difference("device_name", "A", None),))
INVALID = Verdict(EPF, 1, "invalid", findings=(Quality("throttled", "invalid", "Held down.", "Cool it."),))
ALL = Judgement(
    ("base.json",),
    ("current.json",),
    (REGRESSION, PASS, UNCLEAR, OTHER, INVALID),
    (Difference("seed", 0.0, 1.0),),
)


def test_a_verdict_is_one_line_with_its_unit_and_kind() -> None:
    assert subject(REGRESSION) == "epf (modelled), batch 1"
    assert figures(REGRESSION) == "208.0 mJ -> 214.0 mJ: +2.90 % [+2.40 %, +3.40 %], +2.00 % allowed"
    assert figures(PASS) == "4.000 ms, 5.000 ms allowed: -20.00 % [-22.00 %, -18.00 %]"
    assert figures(OTHER) == ""


def test_the_reasons_say_what_is_proved_and_what_to_do() -> None:
    assert "at least +2.40 %" in why(REGRESSION)[0] and "17 pairs" in why(REGRESSION)[0]
    assert "blocks.2 14.6 mJ -> 15.9 mJ" in why(REGRESSION)[1] and "new" in why(REGRESSION)[1]
    assert "3 runs" in why(PASS)[0]
    assert "--against" in why(UNCLEAR)[-1] and "0.50 %, measured" in why(UNCLEAR)[-2]
    assert why(OTHER) == [
        "device_name: A in the baseline, not told now.",
        "Measure both alike; or, where it is meant to differ: --ignore device_name.",
    ]
    assert why(INVALID) == ["throttled: Held down. Cool it."]


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        # Half a per cent from the limit, known to one per cent: four times as many observations.
        (Change(0.015, 0.005, 0.025), "About 68 pairs would tell: --max-pairs 68"),
        (Change(0.0199, 0.01, 0.03), "too near the limit"),
        (Change(0.0, None, None), "too near the limit"),
    ],
)
def test_an_unclear_verdict_says_how_much_more_it_takes(change: Change, advice: str) -> None:
    verdict = Verdict(EPF, 1, "inconclusive", "measured", 0.2, 0.2, change, PAIRS)
    assert advice in why(verdict)[-1]


def test_one_run_is_told_why_it_decides_nothing() -> None:
    one = Verdict(
        EPF,
        1,
        "inconclusive",
        baseline=0.2,
        current=0.3,
        change=Change(0.5, None, None),
        evidence=Evidence("runs", 1, 3, None, "unknown"),
    )
    assert figures(one) == "200.0 mJ -> 300.0 mJ: +50.00 %, +2.00 % allowed"
    bound, advice = why(one)
    assert "one run says nothing about how far runs differ" in bound and "From 3 runs against 1." in bound
    for way in ("several runs of each", "--run-spread", "--against"):
        assert way in advice


def test_what_advice_there_is_about_an_absolute_limit_fits_it() -> None:
    limit = Threshold("epf", maximum=0.2)
    change = Change(-0.05, -0.2, 0.09)
    one = Verdict(limit, 1, "inconclusive", None, None, 0.19, change, Evidence("runs", 0, 1, 0.1, "assumed"))
    assert "10.0 % is assumed" in why(one)[-1] and "--run-spread" in why(one)[-1]
    several = replace(one, evidence=Evidence("runs", 0, 3, 0.1, "measured"))
    assert why(several)[-1] == "About 26 runs would tell."
    # Neither has a baseline, and --against knows no such limit.
    assert not any("--against" in line or "--baseline" in line for line in (*why(one), *why(several)))


@pytest.mark.parametrize(("metric", "advised"), [("epf", False), ("latency-p50", True)])
def test_nobody_is_told_to_ignore_what_is_never_ignored(metric: str, advised: bool) -> None:
    kind = (Difference("energy_kind", "measured", "modelled"), Difference("sensor", "nvml", "modelled"))
    verdict = Verdict(Threshold(metric, max_increase=0.02), 1, "incomparable", differences=kind)
    assert any("--ignore energy_kind" in line for line in why(verdict)) is advised
    assert any("Measure both alike" in line for line in why(verdict))


def test_the_terminal_shows_all_of_it_and_obeys_no_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    show_judgement(ALL)
    out = capsys.readouterr().out
    for word in (
        "REGRESSION",
        "pass",
        "inconclusive",
        "incomparable",
        "INVALID",
        "(modelled)",
        "ignored: seed",
    ):
        assert word in out
    assert "\x1b" not in out


def test_json_holds_everything_under_a_schema() -> None:
    document = json.loads(judgement_json(ALL))
    assert document["schema"] == "perframe.gate/1"
    assert (document["outcome"], document["exit_code"]) == ("regression", 3)
    assert [each["outcome"] for each in document["verdicts"]] == [each.outcome for each in ALL.verdicts]
    assert document["verdicts"][0]["change"] == {"value": 0.029, "low": 0.024, "high": 0.034}
    assert document["ignored"] == [{"key": "seed", "baseline": 0.0, "current": 1.0}]


def test_junit_fails_for_regressions_and_errs_for_what_could_not_be_judged() -> None:
    suites = ElementTree.fromstring(junit(ALL))
    (suite,) = suites
    assert suite.attrib == {"name": "perframe gate", "tests": "5", "failures": "1", "errors": "3"}
    tags = [[child.tag for child in case] for case in suite]
    assert tags == [["failure"], ["system-out"], ["error"], ["error"], ["error"]]
    failure = suite[0][0]
    assert failure.attrib["type"] == "regression" and "+2.90 %" in failure.attrib["message"]
    assert EVIL.split("\x1b")[0] in (failure.text or "")


def test_annotations_are_one_line_each_whatever_the_layers_are_called() -> None:
    lines = github_annotations(ALL)
    assert [line.split(" ", 1)[0] for line in lines] == [
        "::error",
        "::notice",
        "::warning",
        "::warning",
        "::error",
    ]
    assert all("\n" not in line for line in lines)
    assert lines[0].startswith("::error title=perframe gate%3A epf (modelled)%2C batch 1::regression: ")
    assert "%0A" in lines[0] and "+2.90 %25" in lines[0]


def test_markdown_has_a_row_per_verdict_and_obeys_no_markup() -> None:
    text = markdown(ALL)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(ALL.verdicts)
    assert rows[1].startswith("| ❌ REGRESSION | epf (modelled), batch 1 |")
    assert "<b>" not in text and "\\`a\\`" in text and "\\|" in text
    assert "### perframe gate: regression" in text
