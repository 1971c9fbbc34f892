"""Which network should ship, and how sure that is."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perframe.analysis.accuracy_table import accuracy_table, published_table, read_accuracy
from perframe.analysis.candidates import Candidate, candidates
from perframe.analysis.choose import Limits, choose
from perframe.analysis.quantities import parse_quantity
from perframe.analysis.results import Result
from perframe.cli import run
from perframe.engines.base import ModelInfo
from perframe.errors import InputError, UsageError
from perframe.profiler.stats import Estimate
from perframe.report.choose import answer_text

TABLE = published_table("imagenet-1k")


def model(group_size: int, params: int = 5_000_000) -> ModelInfo:
    name = f"mobilenet_v1-E2GC-G{group_size}"
    return ModelInfo(
        name, "mobilenet_v1", "E2GC", group_size, None, "fp32", (3, 224, 224), "0", params, 10**9, 10**7
    )


def candidate(
    group_size: int, epf_j: float, half_j: float = 0.001, latency_s: float = 0.01, top1: float | None = 72.0
) -> Candidate:
    return Candidate(
        model=model(group_size),
        batch=1,
        runs=2,
        epf_j=Estimate(epf_j, epf_j - half_j, epf_j + half_j, 20),
        energy_kind="measured",
        latency_s=Estimate(latency_s, latency_s * 0.99, latency_s * 1.01, 20),
        top1_percent=top1,
    )


def test_the_lowest_energy_is_recommended_with_its_margin() -> None:
    found = choose([candidate(1, 0.5), candidate(8, 0.3), candidate(32, 0.4)], Limits())
    assert found.recommended is not None and found.recommended.model.group_size == 8
    assert found.tied == ("mobilenet_v1-E2GC-G8",) and found.next_best == "mobilenet_v1-E2GC-G32"
    assert found.margin is not None and found.margin.value == pytest.approx(1 / 3)
    assert found.margin.low is not None and 0.32 < found.margin.low < found.margin.value


def test_those_that_cannot_be_told_apart_are_named_and_the_most_accurate_wins() -> None:
    near = [
        candidate(8, 0.300, half_j=0.01, top1=72.0),
        candidate(16, 0.305, half_j=0.01, top1=73.5),
        candidate(1, 0.5),
    ]
    found = choose(near, Limits())
    assert found.recommended is not None and found.recommended.model.group_size == 16
    assert found.tied == ("mobilenet_v1-E2GC-G8", "mobilenet_v1-E2GC-G16")
    assert "cannot be told apart" in answer_text(found) and found.next_best == "mobilenet_v1-E2GC-G1"


def test_accuracies_differ_by_points() -> None:
    found = choose([candidate(1, 0.5, top1=70.0), candidate(8, 0.3, top1=72.5)], Limits(), "accuracy")
    assert "mobilenet_v1-E2GC-G1 is 2.50 points lower" in answer_text(found)


def test_a_limit_within_the_interval_is_told() -> None:
    near = choose([candidate(8, 0.300, half_j=0.01)], Limits(max_epf_j=0.305))
    assert any("--max-epf" in note for note in near.notes)
    assert not any(
        "--max-epf" in note for note in choose([candidate(8, 0.300)], Limits(max_epf_j=0.32)).notes
    )


def test_limits_that_nothing_keeps_say_which_binds_and_by_how_much() -> None:
    networks = [candidate(1, 0.5, top1=70.0), candidate(8, 0.3, top1=72.0), candidate(32, 0.6, top1=75.0)]
    found = choose(networks, Limits(min_top1_percent=74.0, max_epf_j=0.4))
    assert found.recommended is None and found.feasible == ()
    bindings = {each.limit: (each.best, each.by) for each in found.binding}
    assert bindings["--min-top1"] == (72.0, "mobilenet_v1-E2GC-G8")
    assert bindings["--max-epf"] == (0.6, "mobilenet_v1-E2GC-G32")
    told = answer_text(found)
    assert "--max-epf would have to be 600.0 mJ (mobilenet_v1-E2GC-G32)" in told


def test_limits_that_nothing_comes_near_say_the_best_of_each() -> None:
    networks = [candidate(1, 0.5), candidate(8, 0.123456)]
    found = choose(networks, Limits(max_epf_j=0.01, max_latency_s=0.001))
    told = answer_text(found)
    assert "--max-epf 123.5 mJ (mobilenet_v1-E2GC-G8), asked 10.00 mJ" in told
    assert "--max-latency 10.00 ms" in told and "asked 1.000 ms" in told


@given(st.floats(1e-3, 10.0))
def test_a_limit_is_kept_when_it_is_typed_back(epf_j: float) -> None:
    networks = [candidate(8, epf_j, half_j=0.0)]
    told = answer_text(choose(networks, Limits(max_epf_j=epf_j / 2.0)))
    found = re.search(r"would have to be (.+?) \(", told)
    assert found is not None
    again = parse_quantity(found[1], "J", "--max-epf")
    assert choose(networks, Limits(max_epf_j=again * (1 + 1e-12))).recommended is not None


def test_what_is_not_known_keeps_no_limit() -> None:
    unknown = candidate(8, 0.1, top1=None)
    found = choose([unknown, candidate(1, 0.5, top1=75.0)], Limits(min_top1_percent=70.0))
    assert found.feasible == ("mobilenet_v1-E2GC-G1",)
    with pytest.raises(UsageError, match="accuracy table"):
        choose([unknown], Limits(min_top1_percent=70.0))
    with pytest.raises(UsageError, match="No result"):
        choose([replace(unknown, epf_j=None)], Limits())


@given(
    st.lists(
        st.tuples(st.floats(0.1, 1.0), st.floats(0.001, 0.1), st.floats(50.0, 80.0)), min_size=1, max_size=12
    )
)
def test_nobody_on_the_front_is_beaten_and_everyone_else_is(points: list[tuple[float, float, float]]) -> None:
    networks = [
        candidate(index + 1, epf_j, latency_s=latency_s, top1=top1)
        for index, (epf_j, latency_s, top1) in enumerate(points)
    ]
    front = choose(networks, Limits()).front
    assert front

    def beaten(one: tuple[float, float, float], other: tuple[float, float, float]) -> bool:
        return one != other and other[0] <= one[0] and other[1] <= one[1] and other[2] >= one[2]

    for network, point in zip(networks, points, strict=True):
        assert (network.name in front) == (not any(beaten(point, other) for other in points))


def result(group_size: int, values: list[float], identity: dict[str, str | float | None]) -> Result:
    joules = np.array(values)
    return Result(
        Path("r.json"), model(group_size), identity, "inference", 1, joules / 30.0, joules, "measured"
    )


def test_runs_that_differ_widen_every_networks_interval() -> None:
    quiet = [0.30, 0.3001, 0.2999]
    loud = [0.31, 0.3101, 0.3099]
    identity: dict[str, str | float | None] = {"device": "cuda:0"}
    apart = candidates(
        [result(8, quiet, identity), result(8, loud, identity), result(1, quiet, identity)], TABLE, 1
    )
    by_size = {each.model.group_size: each for each in apart}
    for each in by_size.values():
        assert each.epf_j is not None and each.epf_j.low is not None
        # Even the network that was measured once: nothing says that its runs differ less.
        assert each.epf_j.value - each.epf_j.low > 0.01
    assert by_size[8].top1_percent == TABLE.of(model(8))


def test_other_conditions_are_not_mixed() -> None:
    with pytest.raises(InputError, match="device"):
        candidates([result(8, [1.0, 1.0], {"device": "a"}), result(1, [1.0, 1.0], {"device": "b"})], TABLE, 1)
    with pytest.raises(InputError, match="there are 1"):
        candidates([result(8, [1.0, 1.0], {})], TABLE, 4)


def test_int8_networks_of_other_layers_are_told() -> None:
    networks = [candidate(8, 0.3), candidate(16, 0.4)]
    layers = ("a.conv", "b.conv")
    alike = [
        replace(each, model=replace(each.model, precision="int8", quantised=layers)) for each in networks
    ]
    assert not any("int8" in note for note in choose(alike, Limits()).notes)
    unlike = [alike[0], replace(alike[1], model=replace(alike[1].model, quantised=layers[:1]))]
    assert any("different layers compute in int8" in note for note in choose(unlike, Limits()).notes)


def test_the_users_table_by_name_or_number(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.csv"
    path.write_text("name,top1_percent\nmobilenet_v1-E2GC-G8,71.5\n")
    assert read_accuracy(path).of(model(8)) == 71.5 and read_accuracy(path).of(model(1)) is None
    path.write_text("family,variant,number,top1_percent\nmobilenet_v1,E2GC,1,70.5\n")
    assert read_accuracy(path).of(model(1)) == 70.5
    for text, said in {
        "name,top1\na,1\n": "top1_percent",
        "name,top1_percent\na,high\n": "line 2",
        "name,top1_percent\na,101\n": "line 2",
        "name,top1_percent\n": "empty",
        "name,top1_percent\na,70\na,71\n": "second time",
        "name,top1_percent\na,0.72\nb,0.7\n": "per cent",
    }.items():
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_accuracy(path)
    with pytest.raises(UsageError, match="imagenet-1k"):
        accuracy_table(None, "cifar")


def test_accuracies_of_networks_that_are_not_there_are_told(tmp_path: Path) -> None:
    path = tmp_path / "accuracy.csv"
    path.write_text("name,top1_percent\nmobilenet_v1-E2GC-G8,71.5\nmobilenet_v1-E2GC-8,71.5\n")
    table = read_accuracy(path)
    assert table.unknown([model(8), model(1)]) == ["mobilenet_v1-E2GC-8"]
    with pytest.raises(InputError, match="found none"):
        table.unknown([model(1)])
    path.write_text("family,variant,number,top1_percent\nmobilenet_v1,E2GC,1,70.5\nvgg,E2GC,8,70\n")
    assert read_accuracy(path).unknown([model(1)]) == ["vgg,E2GC,8"]
    # The published table knows more networks than anybody measures.
    assert TABLE.unknown([model(1)]) == []


def test_choosing_from_a_sweep(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "results"
    grid = ("--family", "mobilenet-v1", "--group-sizes", "1,8,32", "--input", "3x32x32", "--no-layers")
    common = ("--engine", "fake", "--sensor", "sim:v100", "--windows", "3", "-b", "1", "-b", "4")
    assert run(["sweep", *grid, *common, "-o", str(folder)]) == 0, capsys.readouterr().err
    capsys.readouterr()
    assert run(["choose", str(folder), "--json"]) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    # At 32 x 32 depthwise has the least to compute, and this device knows nothing but work.
    assert found["recommended"]["model"]["group_size"] == 1
    # The fake engine repeats itself to the digit, and a copy is no second run.
    assert {each["runs"] for each in found["candidates"]} <= {1, 2}
    assert any("modelled" in note for note in found["notes"])
    assert run(["choose", str(folder), "--min-top1", "72", "--max-latency", "5ms", "--max-params", "6M"]) == 0
    shown = capsys.readouterr().out
    assert "recommended" in shown and "breaks a limit" in shown and "modelled" in shown
    assert run(["choose", str(folder), "--predict"]) == 0
    assert "Measure next" in capsys.readouterr().out
    assert run(["choose", str(folder), "--predict", "--json"]) == 0
    (proposals,) = json.loads(capsys.readouterr().out)["next"].values()
    # What was measured is not proposed again.
    assert proposals and not {"G=1", "G=8", "G=32"} & {each["label"] for each in proposals}
    assert run(["choose", str(folder), "--max-epf", "1nJ"]) == 4
    assert "--max-epf would have to be" in capsys.readouterr().out
    assert run(["choose", str(tmp_path / "none")]) == 5
    assert run(["choose", str(folder), "--max-epf", "300"]) == 2
    accuracy = tmp_path / "accuracy.csv"
    accuracy.write_text("name,top1_percent\nmobilenet_v1-E2GC-G8,71.5\nnosuchnet,70\n")
    capsys.readouterr()
    assert run(["choose", str(folder), "--accuracy", str(accuracy)]) == 0
    assert "nosuchnet" in capsys.readouterr().out
    accuracy.write_text("name,top1_percent\nnosuchnet,70\n")
    assert run(["choose", str(folder), "--accuracy", str(accuracy)]) == 5
    assert run(["report", str(folder), "--accuracy", str(accuracy), "-o", str(tmp_path / "r.html")]) == 5
