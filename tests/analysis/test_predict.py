"""What was not measured, from what was."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from perframe.analysis.predict import predict
from perframe.analysis.proposals import next_to_measure
from perframe.analysis.results import read_results
from perframe.analysis.series import series_of
from perframe.cli import run
from perframe.errors import InputError, UsageError

WriteResults = Callable[..., Path]
SIX = ("G=1", "G=4", "G=32", "g=2", "g=8", "g=32")
# Published for MobileNet-V1 on the P100.
G8 = {1: 0.373, 4: 0.316, 16: 0.302}


def test_an_unmeasured_group_size(write_results: WriteResults, tmp_path: Path) -> None:
    results = read_results(write_results(tmp_path, labels=SIX))
    found = predict(results, "mobilenet-v1", group_size=8)
    assert [each.batch for each in found] == [1, 16, 4]
    for each in found:
        assert each.label == "G=8" and each.networks == 6 and each.not_buildable is None
        assert each.epf_j is not None and each.epf_j.measured is None and not each.epf_j.extrapolated
        value = each.epf_j.value
        assert value.low is not None and value.high is not None
        assert value.low < G8[each.batch] < value.high
        assert value.value == pytest.approx(G8[each.batch], rel=0.12)
        # The fixture's device draws 100 W.
        assert each.latency_s.value.value == pytest.approx(value.value * each.batch / 100.0, rel=0.01)
        assert each.epf_j.accuracy is not None and each.epf_j.authors_accuracy is not None
        assert each.epf_j.accuracy.mean < each.epf_j.authors_accuracy.mean
        assert 4 <= each.epf_j.accuracy.covered <= each.epf_j.accuracy.networks == 6


def test_one_batch_size(write_results: WriteResults, tmp_path: Path) -> None:
    results = read_results(write_results(tmp_path, labels=SIX))
    assert [each.batch for each in predict(results, "resnext50", groups=4, batch=4)] == [4]
    with pytest.raises(InputError, match="no results of resnext50 at batch 2, only at 1, 4, 16"):
        predict(results, "resnext50", groups=4, batch=2)


def test_what_was_measured_stands_beside(write_results: WriteResults, tmp_path: Path) -> None:
    results = read_results(write_results(tmp_path))
    found = predict(results, "mobilenet-v1", group_size=8, batch=1)[0].epf_j
    assert found is not None and found.measured is not None
    assert found.measured.value == pytest.approx(G8[1], rel=0.01)
    # G = 1024 and g = 1 are one network, whichever was asked for.
    dense = [
        predict(results, "mobilenet-v1", batch=1, **rule)[0] for rule in ({"group_size": 1024}, {"groups": 1})
    ]
    assert dense[0].epf_j == dense[1].epf_j
    assert dense[0].epf_j is not None and dense[0].epf_j.extrapolated


def test_a_group_size_that_no_network_has(write_results: WriteResults, tmp_path: Path) -> None:
    results = read_results(write_results(tmp_path))
    at = {size: predict(results, "resnext50", group_size=size, batch=4)[0] for size in (8, 12, 16)}
    assert at[12].not_buildable is not None and "12 does not divide its 128 channels" in at[12].not_buildable
    assert at[8].not_buildable is None
    values = [each.epf_j.value.value for each in at.values() if each.epf_j is not None]
    assert values == sorted(values, reverse=True)


def test_too_few_networks_say_how_many_are_needed(write_results: WriteResults, tmp_path: Path) -> None:
    results = read_results(write_results(tmp_path, labels=("G=1", "G=8", "g=4")))
    with pytest.raises(InputError, match="takes 5 networks, found 3") as caught:
        predict(results, "mobilenet-v1", group_size=16)
    assert caught.value.hint.startswith("Measure 2 more, such as ")
    for label in caught.value.hint.removeprefix("Measure 2 more, such as ").rstrip(".").split(", "):
        assert label not in ("G=1", "G=8", "g=4")


def test_no_interval_without_one_to_spare(write_results: WriteResults, tmp_path: Path) -> None:
    """Five networks give a prediction, but none can be left out."""
    results = read_results(write_results(tmp_path, labels=SIX[:5]))
    found = predict(results, "mobilenet-v1", group_size=16, batch=1)[0].epf_j
    assert found is not None and found.accuracy is None
    assert found.value.low is not None and found.value.high is not None
    assert found.value.low < 0.370 < found.value.high


def test_the_authors_optimum_comes_with_its_price(write_results: WriteResults, tmp_path: Path) -> None:
    found = predict(read_results(write_results(tmp_path)), "resnext50", group_size=4, batch=4)[0].optimum
    assert found is not None and found.constant_epf_j is not None
    assert len(found.optimum.layers) == 16
    assert found.optimum.constant_g == 32
    assert found.proposed_epf_j.low is not None and found.proposed_epf_j.value > found.proposed_epf_j.low


def test_bad_requests(write_results: WriteResults, tmp_path: Path) -> None:
    results = read_results(write_results(tmp_path, labels=SIX))
    for rule in ({}, {"group_size": 4, "groups": 4}, {"group_size": 0}):
        with pytest.raises(UsageError):
            predict(results, "mobilenet-v1", **rule)
    with pytest.raises(UsageError, match="no family"):
        predict(results, "vgg", group_size=4)


# --- what to measure next ---------------------------------------------------------------------------------------


def test_proposals_are_not_measured_yet_and_differ(write_results: WriteResults, tmp_path: Path) -> None:
    for one in series_of(read_results(write_results(tmp_path, labels=SIX)).results):
        found = next_to_measure(one, count=4)
        labels = [each.label for each in found]
        assert len(set(labels)) == 4 and not set(labels) & set(SIX)
        # What would be an extrapolation comes last.
        assert [each.extrapolated for each in found] == sorted(each.extrapolated for each in found)
        assert all(each.epf_j is not None for each in found)


def test_the_proposals_find_the_cheapest(write_results: WriteResults, tmp_path: Path) -> None:
    """Five networks and three proposals reach what is within 3 % of the cheapest of all eleven."""
    start = ("G=1", "G=4", "g=2", "g=8", "g=32")
    full = {each.where: each for each in series_of(read_results(write_results(tmp_path / "all")).results)}
    for one in series_of(read_results(write_results(tmp_path / "few", labels=start)).results):
        truth = {n.label: n.epf_j.value for n in full[one.where].networks if n.epf_j is not None}
        tried = {*start, *(each.label for each in next_to_measure(one, 6))} & set(truth)
        assert min(truth[label] for label in tried) < 1.03 * min(truth.values())


def test_the_first_proposals_are_far_apart(write_results: WriteResults, tmp_path: Path) -> None:
    one = series_of(read_results(write_results(tmp_path, labels=("G=8",))).results)[0]
    found = next_to_measure(one, 4)
    assert len({each.label for each in found}) == 4
    assert all(each.epf_j is None and each.reason for each in found)


# --- the command ------------------------------------------------------------------------------------------------


def test_the_command(write_results: WriteResults, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_results(tmp_path, kind="modelled")
    command = ["predict", "--from", str(tmp_path), "--family", "resnext50", "--group-size", "12"]
    assert run([*command, "-b", "4"]) == 0
    out = capsys.readouterr().out
    for words in ("G=12", "no such network", "(modelled)", "Measure next", "beta", "leave-one-out"):
        assert words in out
    assert out.count("interval held ") == 4 and " of 11" in out
    assert run([*command, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["batch"] for each in document["predictions"]] == [1, 16, 4]
    first = document["predictions"][0]
    assert first["energy_kind"] == "modelled" and first["epf_j"]["value"]["low"] > 0.0


def test_the_command_refuses(
    write_results: WriteResults, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path, labels=("G=1",))
    command = ["predict", "--from", str(tmp_path), "--family", "resnext50"]
    for arguments, code in ((["--group-size", "4"], 5), ([], 2), (["--group-size", "4", "--groups", "2"], 2)):
        assert run([*command, *arguments]) == code
        assert len(capsys.readouterr().err.splitlines()) == 2
