"""The answer calls networks by their rules, as far as those tell them apart."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from perframe.profiler.result import Profile
from perframe.report.collect import Collected, collect
from perframe.report.section_answer import answer_section


def whys(section: str) -> list[str]:
    return [each.replace("\u00a0", " ") for each in re.findall(r'<p class="why">(.*?)</p>', section)]


def test_cards_and_ties_name_rules(collected: Collected) -> None:
    section = answer_section(collected)
    assert "E2GC-G" not in section and "FgGC-g" not in section
    assert re.match(r"[Gg] = \d+ has the lowest energy per frame; ", whys(section)[0])
    assert re.search(r"[Gg] = \d+ is \d+\.\d % worse \(\d+\.\d % to \d+\.\d %\)\.", whys(section)[0])


def test_two_networks_of_one_rule_keep_their_names(
    write_grid: Callable[..., Path], collected: Collected, tmp_path: Path
) -> None:
    def renamed(profile: Profile) -> Profile:
        model = replace(profile.model, name=f"own-{profile.model.name}")
        return replace(profile, model=model, created="2026-01-02T00:00:00+00:00")

    write_grid(tmp_path / "a", runs=1)
    write_grid(tmp_path / "b", runs=1, edit=renamed)
    section = answer_section(collect([tmp_path], collected.table))
    assert 'class="pick long">' in section
    assert "mobilenet_v1-E2GC-G32" in section and "own-mobilenet_v1-E2GC-G32" in section
