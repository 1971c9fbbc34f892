"""What people call sets of conditions, wherever a report shows several."""

from collections.abc import Iterable
from dataclasses import replace

from perframe.analysis.series import Conditions
from perframe.report.figure import Figure
from perframe.report.units import fact


def told_conditions(every: Iterable[Conditions]) -> dict[Conditions, str]:
    """Return what to call sets of conditions: by name, and by what differs where names are the same."""
    told = {}
    distinct = list(dict.fromkeys(every))
    for each in distinct:
        alike = [other for other in distinct if str(other) == str(each)]
        differing = {item for other in alike for item in other.identity ^ each.identity}
        known = sorted((key, value) for key, value in differing & each.identity if value is not None)
        own = ", ".join(f"{key} {fact(key, value)}" for key, value in known)
        told[each] = f"{each} ({own})" if own else str(each)
    return told


def titled(figure: Figure | None, *told: str) -> Figure | None:
    """Return a figure whose title says more; what is empty is left out."""
    parts = [part for part in told if part]
    if figure is None or not parts:
        return figure
    data = replace(figure.data, caption=", ".join((figure.data.caption, *parts)))
    return replace(figure, title=", ".join((figure.title, *parts)), data=data)
