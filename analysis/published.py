"""What the authors of E2GC published, as data.

Energy per frame while *training* (forward and backward, `EPF = mean power x (FP_t + BP_t) / B`, times averaged over 100
iterations, power from nvidia-smi) and top-1 accuracy of the same 22 networks: tables of N. K. Jha, R. Saini, S. Nag and
S. Mittal, "E2GC: Energy-efficient Group Convolution in Deep Neural Networks", VLSID 2020 (arXiv 2006.15100), as printed
on the slides of the talk.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

SOURCE = "E2GC (arXiv 2006.15100)"

GPUS = ("P100", "P4000")
BATCHES = (1, 4, 16)

_DATA = Path(__file__).with_name("data")


@dataclass(frozen=True)
class PublishedEpf:
    """One cell of the energy tables.

    Attributes:
        family: `mobilenet_v1` or `resnext50`.
        variant: `E2GC` or `FgGC`.
        number: The group size G of E2GC, or the number of groups g of FgGC.
        params_m: Parameters in millions, as printed.
        macs_m: Multiply-accumulates in millions, as printed.
        device: The GPU.
        batch: Frames per iteration.
        epf_j: Joules per frame; printed in whole millijoules.
    """

    family: str
    variant: Literal["E2GC", "FgGC"]
    number: int
    params_m: float
    macs_m: float
    device: str
    batch: int
    epf_j: float


@dataclass(frozen=True)
class PublishedAccuracy:
    """One cell of the accuracy tables.

    Attributes:
        family: `mobilenet_v1` or `resnext50`.
        variant: `E2GC` or `FgGC`.
        number: The group size G of E2GC, or the number of groups g of FgGC.
        dataset: `imagenet-1k` or `food-101`.
        top1_percent: Top-1 accuracy in per cent.
    """

    family: str
    variant: Literal["E2GC", "FgGC"]
    number: int
    dataset: str
    top1_percent: float


@lru_cache(maxsize=1)
def published_epf() -> tuple[PublishedEpf, ...]:
    """Return the energy tables: 22 networks on 2 GPUs at 3 batch sizes."""
    return tuple(
        PublishedEpf(
            family=row["model"],
            variant="E2GC" if row["variant"] == "E2GC" else "FgGC",
            number=int(row["group_param"]),
            params_m=float(row["params_m"]),
            macs_m=float(row["macs_m"]),
            device=row["device"],
            batch=int(row["batch"]),
            epf_j=float(row["epf_mj"]) / 1e3,
        )
        for row in _rows("training_epf.csv")
    )


@lru_cache(maxsize=1)
def published_accuracy() -> tuple[PublishedAccuracy, ...]:
    """Return the accuracy tables: 22 networks on 2 data sets."""
    return tuple(
        PublishedAccuracy(
            family=row["model"],
            variant="E2GC" if row["variant"] == "E2GC" else "FgGC",
            number=int(row["group_param"]),
            dataset=row["dataset"],
            top1_percent=float(row["top1_percent"]),
        )
        for row in _rows("accuracy.csv")
    )


def _rows(name: str) -> Iterator[dict[str, str]]:
    with (_DATA / name).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
