import csv
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.errors import UsageError
from perframe.export.architecture import (
    FAMILIES,
    Architecture,
    count,
    grouped_channels,
    layers,
    make_architecture,
    scaled,
)

families = st.sampled_from(sorted(FAMILIES))
widths = st.sampled_from([0.25, 0.5, 0.75, 1.0, 1.25])


def _published(folder: Path) -> dict[str, tuple[str, str]]:
    """Name of a configuration -> parameters and MACs in millions, as printed."""
    published = {}
    with (folder / "e2gc" / "training_epf.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            rule = "group_size" if row["variant"] == "E2GC" else "groups"
            architecture = make_architecture(row["model"], **{rule: int(row["group_param"])})
            published[architecture.name] = (row["params_m"], row["macs_m"])
    return published


def test_all_22_published_configurations_are_counted(data_folder: Path) -> None:
    published = _published(data_folder)
    assert len(published) == 22
    for name, (params_m, macs_m) in published.items():
        params, macs = count(_by_name(name))
        assert abs(params / 1e6 - float(params_m)) <= 0.02, name
        assert abs(macs / 1e6 / float(macs_m) - 1) <= 0.002, name


def test_where_the_printed_count_is_not_ours_rounded(data_folder: Path) -> None:
    differ = []
    for name, (params_m, macs_m) in _published(data_folder).items():
        params, macs = count(_by_name(name))
        if f"{params / 1e6:.2f}" != params_m:
            differ.append(f"{name}: {params / 1e6:.3f} M parameters, printed {params_m}")
        rounded = f"{macs / 1e6:.2f}" if "." in macs_m else f"{macs / 1e7:.0f}0"
        if rounded != macs_m:
            differ.append(f"{name}: {macs / 1e6:.0f} M MACs, printed {macs_m}")
    # Cut off instead of rounded, or rounded to 50 M.
    assert differ == [
        "mobilenet_v1-E2GC-G1: 4.209 M parameters, printed 4.20",
        "mobilenet_v1-E2GC-G16: 4.879 M parameters, printed 4.87",
        "resnext50-E2GC-G32: 4794 M MACs, printed 4800",
    ]


def _by_name(name: str) -> Architecture:
    family, _, value = name.split("-")
    number = int(value[1:])
    return make_architecture(family, **{"group_size" if value[0] == "G" else "groups": number})


def test_names_of_the_command_line_and_of_results_are_taken() -> None:
    assert make_architecture("mobilenet-v1", group_size=8) == make_architecture("mobilenet_v1", group_size=8)
    assert make_architecture("resnext50", groups=32, width=0.5).name == "resnext50-FgGC-g32-w0.5"


def test_depthwise_is_group_size_one() -> None:
    architecture = make_architecture("mobilenet-v1", group_size=1)
    assert architecture.layer_groups == (32, 64, 128, 128, 256, 256, *[512] * 6, 1024)
    assert (architecture.variant, architecture.group_size, architecture.groups) == ("E2GC", 1, None)


def test_a_group_size_above_the_channels_means_one_group() -> None:
    architecture = make_architecture("mobilenet-v1", group_size=128)
    assert architecture.layer_groups[:5] == (1, 1, 1, 1, 2)
    assert architecture.group_size == 128


def test_one_group_everywhere_is_both_and_named_e2gc() -> None:
    architecture = make_architecture("resnext50", groups=1)
    assert (architecture.variant, architecture.group_size, architecture.groups) == ("E2GC", 1024, 1)


def test_mixed_groups_are_other() -> None:
    architecture = Architecture("mobilenet_v1", (1, 2, 1, *[4] * 10))
    assert (architecture.variant, architecture.group_size, architecture.groups) == ("other", None, None)
    assert architecture.name == "mobilenet_v1-other"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"group_size": 3}, ["blocks.0.grouped.conv", "32 channels", "2 or 4"]),
        ({"group_size": 48}, ["blocks.1.grouped.conv", "64 channels", "32 or 64"]),
        ({"groups": 64}, ["blocks.0.grouped.conv", "32 channels", "are 32."]),
        ({"groups": 0}, ["--groups 0"]),
        ({"group_size": -8}, ["--group-size -8"]),
        ({"group_size": 8, "groups": 8}, ["found both"]),
        ({}, ["found neither"]),
        ({"group_size": 8, "width": 0.0}, ["width 0"]),
        ({"group_size": 8, "width": float("nan")}, ["width nan"]),
        ({"group_size": 8, "width": 0.01}, ["width 0.01"]),
        ({"group_size": 8, "width": 1e9}, ["width 1e+09"]),
        ({"group_size": 8, "classes": 0}, ["--classes 0"]),
    ],
)
def test_illegal_values_name_the_layer_and_the_legal_neighbours(
    arguments: dict[str, int], told: list[str]
) -> None:
    with pytest.raises(UsageError) as raised:
        make_architecture("mobilenet-v1", **arguments)
    for words in told:
        assert words in str(raised.value)


def test_an_unknown_family_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="mobilenet-v1, resnext50"):
        make_architecture("resnet50", group_size=8)


@given(families, widths, st.integers(1, 2048))
def test_a_group_size_is_legal_exactly_if_every_layer_allows_it(
    family: str, width: float, group_size: int
) -> None:
    channels = grouped_channels(FAMILIES[family], width)
    legal = all(group_size >= c or c % group_size == 0 for c in channels)
    if not legal:
        with pytest.raises(UsageError):
            make_architecture(family, group_size=group_size, width=width)
        return
    architecture = make_architecture(family, group_size=group_size, width=width)
    assert architecture.variant == "E2GC"
    assert architecture.group_size == min(group_size, max(channels))
    assert make_architecture(family, group_size=architecture.group_size, width=width) == architecture


@given(families, widths, st.integers(1, 256))
def test_a_number_of_groups_is_legal_exactly_if_it_divides_every_layer(
    family: str, width: float, groups: int
) -> None:
    channels = grouped_channels(FAMILIES[family], width)
    if any(c % groups for c in channels):
        with pytest.raises(UsageError):
            make_architecture(family, groups=groups, width=width)
        return
    architecture = make_architecture(family, groups=groups, width=width)
    assert architecture.groups == groups
    assert architecture.variant == ("E2GC" if groups == 1 else "FgGC")


@given(families, st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_a_larger_group_size_costs_more(family: str, group_size: int) -> None:
    smaller = count(make_architecture(family, group_size=group_size))
    larger = count(make_architecture(family, group_size=2 * group_size))
    assert smaller < larger
    assert smaller[1] < larger[1]


@given(families, st.floats(0.05, 4), st.integers(1, 500), st.integers(1, 500))
def test_layers_fit_together(family: str, width: float, height: int, breadth: int) -> None:
    architecture = make_architecture(family, groups=1, width=width)
    table = layers(architecture)
    assert len({layer.name for layer in table}) == len(table)
    assert [layer for layer in table if layer.grouped] and table[-1].kind == "fc"
    for before, after in pairwise(table):
        if not after.name.endswith("shortcut.conv"):
            assert after.in_channels == before.out_channels
        assert min(after.output_size((height, breadth))) >= 1


def test_rounding_is_half_up() -> None:
    assert [scaled(10, width) for width in (0.24, 0.25, 0.34, 0.35)] == [2, 3, 3, 4]
