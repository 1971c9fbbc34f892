"""Figures against G and g."""

import re
from itertools import pairwise

from perframe.report.collect import Collected
from perframe.report.figures_groups import against_groups
from perframe.report.merit import EPF


def test_what_belongs_to_one_number_stands_side_by_side_and_apart_from_the_next(collected: Collected) -> None:
    figure = against_groups(collected.series, EPF)
    assert figure is not None
    for drawing in figure.drawings:
        # The last marker of each line is the one before its name.
        lines = [
            [
                float(x)
                for x in re.findall(rf'class="mark s{i}" transform="translate\(([\d.]+) ', drawing.body)
            ][:-1]
            for i in range(3)
        ]
        numbers = list(zip(*lines, strict=True))
        assert len(numbers) > 3
        for together in numbers:
            assert all(b - a >= 7.0 for a, b in pairwise(together)), "a marker is 8 pixels wide"
        assert all(max(a) + 8.0 < min(b) for a, b in pairwise(numbers))
