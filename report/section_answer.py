"""The first section of a report: what should ship."""

from collections import Counter

from perframe.analysis.candidates import Candidate
from perframe.profiler.stats import Estimate
from perframe.report.answer import Answer
from perframe.report.choose import answer_text
from perframe.report.collect import Collected
from perframe.report.figure import Cell, DataTable, measured, number, prose, table_html
from perframe.report.merit import interval
from perframe.report.panel import escaped
from perframe.report.units import percent, quantity

_TIED_SHOWN = 8
# Characters of a name that can be written large.
_SHORT = 16


def answer_section(collected: Collected) -> str:
    """Return a card per network family, and what is chosen at every batch size."""
    if not collected.answers:
        return (
            '<p class="lead">No result of an inference can be judged: see <a href="#quality">the warnings</a>. What was'
            " measured of single networks stands below.</p>"
        )
    cards = "".join(_card(several[0]) for several in collected.answers)
    choices = any(len(several) > 1 and len(several[0].candidates) > 1 for several in collected.answers)
    table = _every_batch(collected) if choices else ""
    return f'<div class="answers">{cards}</div>{table}'


def _card(answer: Answer) -> str:
    picked, choice = answer.picked, answer.choice
    facts = {
        "Energy per frame": _figure(picked.epf_j, "J", picked.energy_kind),
        "Time per inference": _figure(picked.latency_s, "s"),
        "Top-1 accuracy": None if picked.top1_percent is None else f"{picked.top1_percent:.2f} %",
        "Parameters, MACs": f"{quantity(picked.model.params, '')}, {quantity(picked.model.macs, '')}",
        "How sure": _sure(answer),
    }
    rows = "".join(
        f"<dt>{name}</dt><dd>{prose(text)}</dd>" for name, text in facts.items() if text is not None
    )
    notes = "".join(f"<li>{prose(note)}</li>" for note in choice.notes)
    alone = len(answer.candidates) == 1
    names = _called(answer)
    why = (
        "The only network here: nothing to choose from." if alone else answer_text(choice, names.__getitem__)
    )
    name = names[picked.name]
    size = "" if len(name) <= _SHORT else " long"
    return (
        f'<article class="answer"><h3>{escaped(answer.what)}, batch {answer.batch}</h3>'
        f'<p class="pick{size}">{escaped(name)}</p><p class="why">{prose(why)}</p>'
        f"<dl>{rows}</dl>{f'<ul>{notes}</ul>' if notes else ''}</article>"
    )


def _called(answer: Answer) -> dict[str, str]:
    """What to call the networks of an answer, by their names: the rule alone, where no other follows the same."""
    rules = {each.name: _rule(each) for each in answer.candidates}
    counted = Counter(rules.values())
    return {name: rule if counted[rule] == 1 else name for name, rule in rules.items()}


def _rule(candidate: Candidate) -> str:
    """The rule that a network's groups follow, and its precision where that is not fp32."""
    model = candidate.model
    precision = "" if model.precision in (None, "fp32") else f", {model.precision}"
    if model.group_size is not None:
        return f"G = {model.group_size}{precision}"
    return f"g = {model.groups}{precision}" if model.groups is not None else candidate.name


def _sure(answer: Answer) -> str:
    choice, picked = answer.choice, answer.picked
    runs = f"{picked.runs} run{'' if picked.runs == 1 else 's'}"
    figure = picked.epf_j if choice.prefer == "epf" and picked.epf_j is not None else picked.latency_s
    known = ""
    if figure.low is not None and figure.high is not None:
        known = f", known to {percent((figure.high - figure.low) / 2.0 / figure.value)}"
    if len(answer.candidates) == 1:
        return f"{runs}{known}."
    if len(choice.tied) > 1:
        return f"{runs}{known}; cannot be told from {len(choice.tied) - 1} other{'s' if len(choice.tied) > 2 else ''}."
    return f"{runs}{known}; told apart from every other."


def _figure(estimate: Estimate | None, unit: str, kind: str = "measured") -> str | None:
    if estimate is None:
        return None
    ends = interval(estimate, unit)
    told = quantity(estimate.value, unit) + (f" ({ends})" if ends else "")
    return told if kind == "measured" else f"{told}, {kind}"


def _every_batch(collected: Collected) -> str:
    rows = []
    for answer in (
        each for several in collected.answers for each in sorted(several, key=lambda one: one.batch)
    ):
        picked, names = answer.picked, _called(answer)
        tied = [names[name] for name in answer.choice.tied if name != picked.name]
        more = f" and {len(tied) - _TIED_SHOWN} more" if len(tied) > _TIED_SHOWN else ""
        rows.append(
            (
                Cell(answer.what),
                number(answer.batch),
                Cell(names[picked.name]),
                measured(picked.epf_j, "J"),
                measured(picked.latency_s.value / answer.batch, "s"),
                number(picked.top1_percent, ".2f"),
                Cell((", ".join(tied[:_TIED_SHOWN]) + more) or "none"),
            )
        )
    kinds = {each.energy_kind for several in collected.answers for one in several for each in one.candidates}
    energy = "EPF (modelled)" if "modelled" in kinds else "EPF"
    headings = (
        "networks",
        "batch",
        "recommended",
        energy,
        "time per frame",
        "top-1 %",
        "cannot be told apart",
    )
    return table_html(DataTable("At every batch size", headings, tuple(rows)))
