"""How accurate each configuration is: the published tables, or the user's own."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from perframe.analysis.published import published_accuracy
from perframe.engines.base import ModelInfo
from perframe.errors import InputError, UsageError
from perframe.files import readable_file

_NARROWER = re.compile(r"-w\d")
DATASETS = ("imagenet-1k", "food-101")

Key = str | tuple[str, str, int]
"""The name of a configuration, or its family, variant and number."""


@dataclass(frozen=True)
class AccuracyTable:
    """Top-1 accuracy by configuration.

    Attributes:
        source: Where it comes from, for people.
        top1_percent: In per cent, by the name of the configuration, or by family, variant and number.
        own: Whether it is the user's.
    """

    source: str
    top1_percent: Mapping[Key, float]
    own: bool = False

    def of(self, model: ModelInfo) -> float | None:
        """Return the accuracy of a network; `None` if the table does not know it."""
        return next((self.top1_percent[key] for key in _keys(model) if key in self.top1_percent), None)

    def unknown(self, models: Iterable[ModelInfo]) -> list[str]:
        """Return the entries of a user's table that are none of these networks.

        Raises:
            InputError: It knows none of them.
        """
        if not self.own:
            return []
        keys = {key for model in models for key in _keys(model)}
        left = [
            key if isinstance(key, str) else ",".join(map(str, key))
            for key in self.top1_percent.keys() - keys
        ]
        if len(left) == len(self.top1_percent):
            raise InputError(
                f"{self.source}: expected accuracies of the networks at hand, found none; the first is {min(left)}.",
                f"Write a network's name as perframe does: {min(str(key) for key in keys if isinstance(key, str))}.",
            )
        return sorted(left)


def _keys(model: ModelInfo) -> Iterator[Key]:
    yield model.name
    number = model.group_size if model.variant == "E2GC" else model.groups
    # A narrower network of the same G is another network; its name says so.
    if model.family and model.variant and number is not None and not _NARROWER.search(model.name):
        yield model.family, model.variant, number


def published_table(dataset: str) -> AccuracyTable:
    """Return the authors' table for a data set.

    They are accuracies of networks of full width at 224 x 224, trained as the authors did.
    """
    return AccuracyTable(
        f"published for {dataset}, arXiv 2006.15100",
        {
            (each.family, each.variant, each.number): each.top1_percent
            for each in published_accuracy()
            if each.dataset == dataset
        },
    )


def read_accuracy(path: Path) -> AccuracyTable:
    """Read a CSV of the user's: a column `name`, or `family`, `variant` and `number`; and `top1_percent`.

    Raises:
        InputError: It is missing, lacks a column, or holds what is no accuracy.
    """
    readable_file(path, "accuracy table")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            if "top1_percent" not in columns or not (
                {"name"} <= columns or {"family", "variant", "number"} <= columns
            ):
                raise InputError(
                    f"{path}: expected columns name and top1_percent, found {', '.join(sorted(columns)) or 'none'}.",
                    "Instead of name there may be family, variant and number, such as mobilenet_v1,E2GC,8.",
                )
            table: dict[Key, float] = {}
            for key, top1 in _rows(path, reader):
                if key in table:
                    raise InputError(
                        f"{path}: line {reader.line_num} gives a configuration for the second time.",
                        "Keep the row that is right.",
                    )
                table[key] = top1
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file: {error}.", "Save it as CSV in UTF-8.") from error
    if not table:
        raise InputError(f"{path}: the accuracy table is empty.", "Give one row per configuration.")
    if max(table.values()) <= 1.0:
        raise InputError(
            f"{path}: expected accuracies in per cent, found none above 1.",
            "Write 72.4 for 72.4 %, not 0.724.",
        )
    return AccuracyTable(path.name, table, own=True)


def _rows(path: Path, reader: "csv.DictReader[str]") -> Iterator[tuple[Key, float]]:
    for row in reader:
        try:
            top1 = float(row["top1_percent"])
            if not 0.0 <= top1 <= 100.0:
                raise ValueError
            if row.get("name"):
                yield row["name"].strip(), top1
            else:
                yield (row["family"].strip(), row["variant"].strip(), int(row["number"])), top1
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{path}: line {reader.line_num} is no configuration with a top-1 accuracy in per cent.",
                "Write it as mobilenet_v1-E2GC-G8,72.4.",
            ) from error


def accuracy_table(path: Path | None, dataset: str) -> AccuracyTable:
    """Return the user's table, or the published one.

    Raises:
        UsageError: The data set is not one of the published.
        InputError: The user's is not usable.
    """
    if path is not None:
        return read_accuracy(path)
    if dataset not in DATASETS:
        raise UsageError(
            f"No accuracies are published for {dataset}.", f"Choose one of: {', '.join(DATASETS)}."
        )
    return published_table(dataset)
