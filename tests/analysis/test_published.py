"""The published tables, as they ship."""

import csv
from pathlib import Path

import pytest

from perframe.analysis.paper_figures import paper_figures
from perframe.analysis.published import published_accuracy, published_epf
from perframe.analysis.published_series import published_series


def test_every_cell_is_there() -> None:
    assert len(published_epf()) == 22 * 2 * 3
    assert len(published_accuracy()) == 22 * 2
    assert len(published_series()) == 12
    assert all(len(series.networks) == 11 for series in published_series())


def test_they_are_the_recorded_ones(data_folder: Path) -> None:
    with (data_folder / "e2gc" / "training_epf.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [round(cell.epf_j * 1e3) for cell in published_epf()] == [int(row["epf_mj"]) for row in rows]
    with (data_folder / "e2gc" / "accuracy.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [cell.top1_percent for cell in published_accuracy()] == [
        float(row["top1_percent"]) for row in rows
    ]


def test_the_counts_are_ours() -> None:
    for series in published_series():
        for cell in published_epf():
            if (cell.device, cell.batch) == (series.conditions.device, series.batch):
                label = f"{'G' if cell.variant == 'E2GC' else 'g'}={cell.number}"
                for network in series.networks:
                    if network.label == label and network.model.family == cell.family:
                        assert network.model.macs == pytest.approx(cell.macs_m * 1e6, rel=0.002)
                        assert network.model.params == pytest.approx(cell.params_m * 1e6, rel=0.003)


def test_which_printed_figures_follow_from_the_tables() -> None:
    found = {(each.statement.partition(":")[0], each.printed): each for each in paper_figures()}
    assert found["mobilenet_v1", "10.8"].reproduces
    assert found["mobilenet_v1", "8.7"].reproduces
    assert found["resnext50", "3.5"].reproduces
    abstract, slides = found["resnext50", "4.73"], found["resnext50", "4"]
    assert not abstract.reproduces and not slides.reproduces
    assert abstract.recomputed == pytest.approx(100 * (1 - 1162 / 1204))
    # 1 - 1088 / 1142 and 1 - 1152 / 1200, and nothing else.
    assert [each.partition(" (")[0] for each in abstract.cells] == ["G=32 for g=8 on P100 at batch 1"]
    assert [each.partition(" (")[0] for each in slides.cells] == ["G=8 for g=32 on P4000 at batch 16"]
