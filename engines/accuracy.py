"""Whether a network still sees what it saw: top-1 of the reference and of the exported file on labelled images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import sqrt

import numpy as np

from perframe.arrays import Array
from perframe.engines.running import Runner
from perframe.errors import InputError
from perframe.export.images import LabelledSet

# Two-sided 95 % of the normal distribution.
_Z = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """A share of images, and where that of all such images lies with 95 % confidence.

    Attributes:
        count: Images it holds for.
        n: Images in all.
        value: `count / n`.
        low: Lower end of Wilson's interval (E. B. Wilson, 1927).
        high: Upper end.
    """

    count: int
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Accuracy:
    """Top-1 on labelled images.

    Attributes:
        source: The file they were in.
        reference: Of the network it was exported from, in fp32.
        exported: Of the exported file.
        agreement: Images that both give the same answer for, right or wrong.
    """

    source: str
    reference: Share
    exported: Share
    agreement: Share


def share(count: int, n: int) -> Share:
    """Return `count` of `n` as a share with Wilson's interval; n is at least 1."""
    value, width = count / n, _Z * _Z / n
    middle = (value + width / 2) / (1 + width)
    reach = sqrt(value * (1 - value) * width + width * width / 4) / (1 + width)
    # Rounding must not carry an end past a share of none or all.
    return Share(count, n, value, max(0.0, min(middle - reach, value)), min(1.0, max(middle + reach, value)))


def measure_accuracy(
    labelled: LabelledSet, reference: Callable[[Mapping[str, Array]], Array], exported: Runner
) -> Accuracy:
    """Count right answers and agreement.

    Args:
        labelled: Images and labels.
        reference: Inputs by name to logits (batch, classes), in fp32.
        exported: The exported file.

    Raises:
        InputError: A label is beyond the network's classes.
    """
    name, output = exported.model.inputs[0].name, exported.model.outputs[0].name
    right = reference_right = agreeing = done = 0
    for part in exported.over(labelled.images):
        labels = labelled.labels[done : done + len(part[name])]
        found = part[output].reshape(len(labels), -1)
        if labels.max() >= found.shape[1]:
            raise InputError(
                f"{labelled.source}: expected labels below the network's {found.shape[1]} classes,"
                f" found {labels.max()}.",
                "Labels count from 0, in the order of the network's outputs.",
            )
        answers = found.argmax(axis=1)
        expected = reference({name: part[name]}).reshape(len(labels), -1).argmax(axis=1)
        right += int(np.count_nonzero(answers == labels))
        reference_right += int(np.count_nonzero(expected == labels))
        agreeing += int(np.count_nonzero(answers == expected))
        done += len(labels)
    return Accuracy(
        source=str(labelled.source),
        reference=share(reference_right, done),
        exported=share(right, done),
        agreement=share(agreeing, done),
    )
