"""A report as one HTML file: no network, light and dark, for a phone, for paper, for a keyboard and a screen reader.

Everything that comes out of a file is escaped; beyond that, the page's own policy forbids scripts other than its one.
"""

import base64
import hashlib

import perframe
from perframe.analysis.series import Series
from perframe.report.collect import Collected
from perframe.report.conditions import titled
from perframe.report.figure import Figure, figure_html, table_html
from perframe.report.figure_accuracy import against_accuracy
from perframe.report.figure_shape import beside_published
from perframe.report.figures_groups import against_groups, by_name
from perframe.report.merit import best_known, everything_measured
from perframe.report.panel import escaped
from perframe.report.section_answer import answer_section
from perframe.report.section_findings import findings_section
from perframe.report.section_networks import layers_section, power_section
from perframe.report.section_quality import quality_section
from perframe.report.section_setup import environment_section, reproduce_section
from perframe.report.theme import asset, page_style

# Sets of conditions whose figures are drawn; all are in the tables.
_CONDITIONS = 8


class Figures:
    """Gives every figure of a page its number."""

    def __init__(self) -> None:
        self._count = 0

    def html(self, *figures: Figure | None) -> str:
        """Return figures as HTML; those that could not be drawn are left out."""
        parts = []
        for figure in figures:
            if figure is not None:
                self._count += 1
                parts.append(figure_html(figure, self._count))
        return "".join(parts)


def report_page(collected: Collected) -> str:
    """Return the report as an HTML document."""
    figures = Figures()
    sections = {
        "answer": ("The answer", answer_section(collected)),
        "energy": (_energy_title(collected), _energy(collected, figures)),
        "accuracy": ("Against accuracy", _accuracy(collected, figures)),
        "layers": ("Where a frame goes", layers_section(collected, figures.html)),
        "power": ("Power while measuring", power_section(collected, figures.html)),
        "findings": ("The published findings", findings_section(collected.findings, collected.conditions)),
        "quality": ("Before believing a figure", quality_section(collected)),
        "environment": ("Environment", environment_section(collected)),
        "reproduce": ("How to reproduce", reproduce_section(collected)),
    }
    shown = {key: (title, body) for key, (title, body) in sections.items() if body}
    links = "".join(f'<li><a href="#{key}">{escaped(title)}</a></li>' for key, (title, _) in shown.items())
    body = "".join(
        f'<section id="{key}" aria-labelledby="{key}-title"><h2 id="{key}-title">{escaped(title)}</h2>{text}</section>'
        for key, (title, text) in shown.items()
    )
    title = f"What a frame costs: {escaped(_devices(collected))}"
    script = asset("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="generator" content="perframe {perframe.__version__}">'
        f"<title>{title}</title><style>{page_style()}</style></head><body>"
        '<a class="skip" href="#answer">Skip to the answer</a>'
        '<header><p class="brand">perframe</p><h1>What a frame costs</h1>'
        f'<p class="lede">{escaped(_lede(collected))}</p>'
        f'{_alert(collected)}<nav aria-label="Contents"><ul>{links}</ul></nav></header><main>{body}</main>'
        f"<footer><p>Written by perframe {perframe.__version__} from {_files(collected)}. Figures are means with 95 %"
        f" intervals over windows and runs; times are per frame unless they say otherwise.</p></footer>"
        f"<script>{script}</script></body></html>\n"
    )


def _lede(collected: Collected) -> str:
    profiles = [profile for each in collected.measured for _, profile in each.runs]
    names = {profile.model.name for profile in profiles}
    networks = f"{len(names)} networks" if len(names) > 1 else next(iter(names))
    batches = sorted({each.batch for profile in profiles for each in profile.batches})
    sizes = f"batch {', '.join(map(str, batches))}"
    runs = sorted(len(each.runs) for each in collected.measured)
    count = f"{runs[-1]}" if runs[0] == runs[-1] else f"{runs[0]} to {runs[-1]}"
    repeated = f", {count} runs each" if runs[-1] > 1 else ""
    dates = sorted(profile.created[:10] for profile in profiles)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return f"{networks} at {sizes}{repeated}, measured {when} on {_devices(collected)}."


def _devices(collected: Collected) -> str:
    if collected.conditions:
        told = dict.fromkeys(str(each) for each in collected.conditions)
    else:
        told = dict.fromkeys(each.profile.engine.device for each in collected.measured)
    names = list(told)
    return "; ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _files(collected: Collected) -> str:
    count = sum(len(each.runs) for each in collected.measured) + collected.unread
    return f"{count} file{'' if count == 1 else 's'}"


def _alert(collected: Collected) -> str:
    if any(each.profile.engine.backend == "fake" for each in collected.measured):
        return (
            '<p class="alert" role="note"><b>Nothing here was measured.</b> The fake engine ran on a virtual clock,'
            " to try things out: all times and joules follow from a model.</p>"
        )
    kinds = {each.energy.kind for one in collected.measured for _, p in one.runs for each in p.batches}
    if "modelled" in kinds:
        every = "Energy is" if kinds == {"modelled"} else "Some energy is"
        return (
            f'<p class="alert" role="note"><b>{every} modelled.</b> No sensor was read: joules follow from a model,'
            " not from this device, and every figure of them says so.</p>"
        )
    if "absent" in kinds:
        return (
            '<p class="alert" role="note"><b>No energy was measured</b> for some or all results: there was no sensor.'
            " Times stand where joules would.</p>"
        )
    return ""


def _energy_title(collected: Collected) -> str:
    return best_known(collected.series).name


def _energy(collected: Collected, figures: Figures) -> str:
    parts = []
    for series, where in _by_conditions(collected):
        merit = best_known(series)
        drawn = (against_groups(series, merit), by_name(series, merit), beside_published(series, merit))
        shown = figures.html(*(titled(each, where) for each in drawn))
        if drawn[0] is None and drawn[1] is None:
            # One network gives no curve; its figures are worth a table all the same.
            shown = table_html(everything_measured(series)) + shown
        parts.append(_heading(where) + shown)
    return "".join(parts)


def _accuracy(collected: Collected, figures: Figures) -> str:
    parts = []
    for series, where in _by_conditions(collected):
        if drawn := figures.html(titled(against_accuracy(series, collected.table), where)):
            parts.append(_heading(where) + drawn)
    networks = [network for each in collected.series for network in each.networks]
    if parts or any(collected.table.of(network.model) is not None for network in networks) or not networks:
        return "".join(parts)
    return (
        f'<p class="lead">The accuracy table ({escaped(collected.table.source)}) knows none of these networks. Give'
        " <code>--accuracy TABLE.csv</code> with columns name and top1_percent.</p>"
    )


def _by_conditions(collected: Collected) -> list[tuple[tuple[Series, ...], str]]:
    """Every set of conditions that is drawn, with what to call it where there are several."""
    return [(collected.under(each), collected.where(each)) for each in collected.conditions[:_CONDITIONS]]


def _heading(where: str) -> str:
    return f"<h3>{escaped(where)}</h3>" if where else ""
