"""What a gate says, for programs: JSON, JUnit XML, GitHub's annotations and Markdown."""

import dataclasses
import html
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence

from perframe.analysis.pairs import Pairs
from perframe.analysis.verdict import Judgement, Verdict, exit_code
from perframe.errors import one_line
from perframe.report.gate import figures, remarks, shown_outcome, subject, why

SCHEMA = "perframe.gate/1"

_MARKDOWN = re.compile(r"([\\`*_{}\[\]#|~])")
_ICONS = {"pass": "✅", "improvement": "✅", "regression": "❌", "invalid": "❌"}
_ANNOTATIONS = {
    "regression": "error",
    "invalid": "error",
    "inconclusive": "warning",
    "incomparable": "warning",
}


def judgement_json(judgement: Judgement, pairs: Sequence[Pairs] = ()) -> str:
    """Return everything as one JSON document.

    Args:
        judgement: The verdicts.
        pairs: The raw windows they rest on, where they were measured now.
    """
    document = {
        "schema": SCHEMA,
        "outcome": judgement.outcome,
        "exit_code": exit_code(judgement.outcome),
        **dataclasses.asdict(judgement),
        "pairs": [dataclasses.asdict(each) for each in pairs],
    }
    return json.dumps(document, indent=1, allow_nan=False)


def junit(judgement: Judgement) -> str:
    """Return JUnit XML: a test per verdict; a regression is a failure, and what could not be judged an error."""
    outcomes = [verdict.outcome for verdict in judgement.verdicts]
    suite = ElementTree.Element(
        "testsuite",
        name="perframe gate",
        tests=str(len(outcomes)),
        failures=str(outcomes.count("regression")),
        errors=str(sum(each in ("invalid", "inconclusive", "incomparable") for each in outcomes)),
    )
    for verdict in judgement.verdicts:
        case = ElementTree.SubElement(suite, "testcase", classname="perframe.gate", name=subject(verdict))
        text = "\n".join(_lines(verdict))
        if verdict.outcome in ("pass", "improvement"):
            ElementTree.SubElement(case, "system-out").text = text
        else:
            tag = "failure" if verdict.outcome == "regression" else "error"
            found = ElementTree.SubElement(case, tag, type=verdict.outcome, message=_summary(verdict))
            found.text = text
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    document: bytes = ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True)
    return document.decode() + "\n"


def markdown(judgement: Judgement) -> str:
    """Return Markdown for a comment or a step summary: a table of the verdicts, then why."""
    rows = ["| | what | result |", "|---|---|---|"]
    details = []
    for verdict in judgement.verdicts:
        icon = _ICONS.get(verdict.outcome, "⚠️")
        rows.append(
            f"| {icon} {shown_outcome(verdict)} | {_escaped(subject(verdict))} | {_escaped(figures(verdict)) or '–'} |"
        )
        if reasons := why(verdict):
            details += [f"\n**{_escaped(subject(verdict))}**\n", *(f"- {_escaped(line)}" for line in reasons)]
    against = f" against {_names(judgement.baseline)}" if judgement.baseline else ""
    return "\n".join(
        [
            f"### perframe gate: {judgement.outcome}",
            f"\n{_names(judgement.current)}{against}\n",
            *rows,
            *details,
            *(f"\n{_escaped(line)}" for line in remarks(judgement)),
            "",
        ]
    )


def github_annotations(judgement: Judgement) -> list[str]:
    """Return workflow commands that GitHub shows beside a run: errors, warnings, and notices of what passed.

    Their form is that of https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
    """
    return [
        f"::{_ANNOTATIONS.get(verdict.outcome, 'notice')} title={_property(f'perframe gate: {subject(verdict)}')}::"
        f"{_data(chr(10).join(_lines(verdict)))}"
        for verdict in judgement.verdicts
    ]


def _lines(verdict: Verdict) -> list[str]:
    return [_summary(verdict), *why(verdict)]


def _summary(verdict: Verdict) -> str:
    shown = figures(verdict)
    return f"{verdict.outcome}: {shown}" if shown else verdict.outcome


def _names(files: Sequence[str]) -> str:
    return ", ".join(_escaped(one_line(each)) for each in files)


def _escaped(text: str) -> str:
    """Names out of files are untrusted: neither Markdown nor HTML in them is obeyed."""
    return _MARKDOWN.sub(r"\\\1", html.escape(text, quote=False))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
