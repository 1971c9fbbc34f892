"""The published claims as objects: what each says, where, by which formula it is judged, and what that needs."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from perframe.analysis.effects import (
    MAC_MISMATCH,
    Effect,
    Missing,
    activation_reuse,
    batching,
    batching_small_groups,
    beyond_depthwise,
    e2gc_over_fggc,
    fall_from_one,
    interior_minimum,
    macs_against_energy,
    same_order,
    weight_reuse,
)
from perframe.analysis.published import SOURCE
from perframe.analysis.published_series import published_series
from perframe.analysis.regimes import both_regimes
from perframe.analysis.series import Series, across_families

Cases = Callable[[tuple[Series, ...]], Iterator[tuple[Series, ...]]]
"""From everything that was measured to what an effect is computed from, once per case."""


@dataclass(frozen=True)
class Claim:
    """One published claim.

    Attributes:
        code: Short name.
        statement: What it says.
        source: Where it stands.
        published: What is printed there.
        formula: The effect it is judged by; positive where the claim is right.
        needs: What must have been measured.
        unit: Of the effect: a `share` of energy, or a `correlation`.
        effect: Computes it.
        cases: Finds what to compute it from.
    """

    code: str
    statement: str
    source: str
    published: str
    formula: str
    needs: str
    unit: Literal["share", "correlation"]
    effect: Callable[..., Effect | Missing] = field(repr=False)
    cases: Cases = field(repr=False)


def _each(series: tuple[Series, ...]) -> Iterator[tuple[Series, ...]]:
    yield from ((one,) for one in series if one.backbone is not None)


def _families_together(series: tuple[Series, ...]) -> Iterator[tuple[Series, ...]]:
    yield from ((one,) for one in across_families(series))


def _batch_sizes(series: tuple[Series, ...]) -> Iterator[tuple[Series, ...]]:
    for members in _alike(series, lambda one: (one.conditions, one.backbone)):
        ordered = sorted(members, key=lambda one: one.batch)
        if len(ordered) > 1:
            yield ordered[0], ordered[-1]


def _regimes(series: tuple[Series, ...]) -> Iterator[tuple[Series, ...]]:
    for training, inference in both_regimes(series):
        if inference.backbone is not None and inference.conditions.precision == training.conditions.precision:
            yield inference, training


def _precisions(series: tuple[Series, ...]) -> Iterator[tuple[Series, ...]]:
    for members in _alike(series, _but_for_precision):
        # The widest is what the others are held against.
        ordered = sorted(members, key=lambda one: (one.conditions.precision != "fp32", str(one.conditions)))
        reference = ordered[0]
        yield from (
            (reference, one)
            for one in ordered[1:]
            if one.conditions.precision != reference.conditions.precision
        )


def _published_gpus(series: tuple[Series, ...]) -> Iterator[tuple[Series, ...]]:
    published = published_series()
    for one in series:
        for other in published:
            alike = (one.backbone, one.batch) == (other.backbone, other.batch)
            # Of the tables themselves, which name no identity, one GPU against the other.
            if alike and (one.conditions.identity or one.conditions.device < other.conditions.device):
                yield one, other


def _but_for_precision(one: Series) -> tuple[object, ...]:
    on = one.conditions
    return (on.device, on.sensor, on.energy_kind, on.regime, on.backend, one.backbone, one.batch)


def _alike(series: Iterable[Series], key: Callable[[Series], tuple[object, ...]]) -> list[list[Series]]:
    groups: dict[tuple[object, ...], list[Series]] = {}
    for one in series:
        if one.backbone is not None:
            groups.setdefault(key(one), []).append(one)
    return list(groups.values())


_SEED = "The Ramifications of Making Deep Neural Networks (DNNs) Compact (VLSID 2019)"
_FIVE = "E2GC and FgGC networks of one family at one batch size, 5 or more"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        code="fewer-macs",
        statement="Fewer MACs are not less energy.",
        source=SOURCE,
        published="EPF rises as G, and with it MACs, falls",
        formula="- rank correlation of MACs and EPF over E2GC",
        needs="5 or more group sizes at one batch size",
        unit="correlation",
        effect=macs_against_energy,
        cases=_each,
    ),
    Claim(
        code="fggc-minimum",
        statement="EPF of FgGC has a minimum within the range of g.",
        source=SOURCE,
        published="lower g costs computation, higher g costs data reuse",
        formula="EPF of the cheaper end of g / lowest EPF between - 1",
        needs="3 or more numbers of groups at one batch size",
        unit="share",
        effect=interior_minimum,
        cases=_each,
    ),
    Claim(
        code="e2gc-falls",
        statement="EPF of E2GC falls as G grows from 1.",
        source=SOURCE,
        published="tables",
        formula="1 - EPF(largest G up to 32) / EPF(G = 1)",
        needs="G = 1 and a larger G at one batch size",
        unit="share",
        effect=fall_from_one,
        cases=_each,
    ),
    Claim(
        code="depthwise",
        statement="Depthwise convolution costs more than groups of two channels.",
        source=SOURCE,
        published="tables",
        formula="1 - EPF(G = 2) / EPF(G = 1)",
        needs="G = 1 and G = 2 at one batch size",
        unit="share",
        effect=beyond_depthwise,
        cases=_each,
    ),
    Claim(
        code="e2gc-beats-fggc",
        statement="E2GC needs less energy than FgGC at comparable MACs.",
        source=SOURCE,
        published="10.8 % (MobileNet-V1) and 4.73 % or 4 % (ResNeXt-50); headline pairs G=8 for g=32",
        formula=f"1 - EPF(E2GC) / EPF(FgGC), mean of all pairs whose MACs differ by {100.0 * MAC_MISMATCH:g} % or less",
        needs="E2GC and FgGC networks of comparable MACs at one batch size, such as G = 8 and g = 32",
        unit="share",
        effect=e2gc_over_fggc,
        cases=_each,
    ),
    Claim(
        code="batching",
        statement="Batching lowers EPF.",
        source=SOURCE,
        published="tables",
        formula="1 - EPF(largest batch) / EPF(smallest batch), mean over networks",
        needs="the same networks at two batch sizes",
        unit="share",
        effect=batching,
        cases=_batch_sizes,
    ),
    Claim(
        code="batching-small-groups",
        statement="Batching lowers EPF of the smallest groups.",
        source=SOURCE,
        published="tables",
        formula="1 - EPF(largest batch) / EPF(smallest batch) at G = 1",
        needs="G = 1 or 2 at two batch sizes",
        unit="share",
        effect=batching_small_groups,
        cases=_batch_sizes,
    ),
    Claim(
        code="devices-agree",
        statement="Networks rank alike on P100, P4000 and this device.",
        source=SOURCE,
        published="tables, P100 against P4000",
        formula="rank correlation of EPF over the networks measured on both",
        needs=f"{_FIVE}, at batch 1, 4 or 16",
        unit="correlation",
        effect=same_order,
        cases=_published_gpus,
    ),
    Claim(
        code="regimes-agree",
        statement="Networks rank alike in training and in inference on one device.",
        source="asked, not published",
        published="",
        formula="rank correlation of EPF in inference and in training",
        needs=f"{_FIVE}, in both regimes on one device with one sensor",
        unit="correlation",
        effect=same_order,
        cases=_regimes,
    ),
    Claim(
        code="precisions-agree",
        statement="Networks rank alike in every precision.",
        source="asked, not published",
        published="",
        formula="rank correlation of EPF in fp32 and in another precision",
        needs=f"{_FIVE}, in two precisions with one runtime on one device",
        unit="correlation",
        effect=same_order,
        cases=_precisions,
    ),
    Claim(
        code="activation-reuse",
        statement="MACs per activation track energy efficiency.",
        source=_SEED,
        published="correlation 0.88 over 12 CNNs, whose energies are not printed",
        formula="correlation of MACs per joule with MACs per activation"
        " - its median with the same energies dealt to the networks at random",
        needs="5 or more networks of any kind at one batch size",
        unit="correlation",
        effect=activation_reuse,
        cases=_families_together,
    ),
    Claim(
        code="weight-reuse",
        statement="MACs per parameter do not track energy efficiency.",
        source=_SEED,
        published="correlation -0.18 over 12 CNNs, whose energies are not printed",
        formula="- correlation of MACs per joule with MACs per parameter"
        " + its median with the same energies dealt to the networks at random",
        needs="5 or more networks of any kind at one batch size",
        unit="correlation",
        effect=weight_reuse,
        cases=_families_together,
    ),
)
