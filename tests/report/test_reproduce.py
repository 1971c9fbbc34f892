"""The commands that a report prints measure the same again: they are typed here as they stand on the page."""

import dataclasses
import html
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from perframe.analysis.accuracy_table import AccuracyTable, published_table
from perframe.analysis.sweep import Sweep
from perframe.analysis.sweep_plan import Configuration, SweepPlan, read_plan
from perframe.cli import run
from perframe.commands.profile import command as profile_options
from perframe.engines.lower import PrecisionSpec
from perframe.errors import UsageError
from perframe.export.architecture import FAMILIES
from perframe.profiler.plan import MeasurementPlan
from perframe.profiler.result import Build, CalibrationUse, Profile, read_profile, write_profile
from perframe.report.collect import collect
from perframe.report.page import report_page
from perframe.report.reproduce import distinct, profile_command, sweep_command, wrapped

RECORDED = Path(__file__).parents[2] / "results" / "amd-epyc-2-cores"
TABLE = published_table("imagenet-1k")
QUICK = ("--engine", "fake", "--windows", "3", "--warm-up-s", "0.012345678", "--no-layers")


def commands(*results: Path, table: AccuracyTable = TABLE) -> list[list[str]]:
    """The words of every command in the section on reproducing."""
    section = report_page(collect(results, table)).split('id="reproduce"')[1]
    text = re.search(r"<pre><code>(.*?)</code></pre>", section, flags=re.DOTALL)
    assert text is not None
    assert max(len(html.unescape(line)) for line in text[1].splitlines()) <= 100
    return [shlex.split(line) for line in html.unescape(text[1]).replace("\\\n", "").splitlines()]


def planned(words: list[str], monkeypatch: pytest.MonkeyPatch) -> SweepPlan:
    """What a sweep's command line asks for, of a sweep that ends before it begins."""
    asked: list[SweepPlan] = []

    def seen(plan: SweepPlan, *_: object) -> Sweep:
        asked.append(plan)
        raise UsageError("Seen.", "That is enough.")

    monkeypatch.setattr("perframe.analysis.sweep.sweep", seen)
    assert run(words[1:]) == 2 and len(asked) == 1
    return asked[0]


def test_recorded_sweeps_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = commands(RECORDED)
    assert [words[:2] for words in found] == [
        ["perframe", "sweep"],
        ["perframe", "sweep"],
        ["perframe", "report"],
    ]
    for words, name in zip(found[:2], ("inference", "training"), strict=True):
        assert words[-2:] == ["-o", f"RESULTS/{name}/"]
        assert planned(words, monkeypatch) == read_plan(RECORDED / name)


def test_a_part_of_a_sweep_is_measured_one_by_one() -> None:
    found = commands(RECORDED / "training" / "run-1")
    assert len(found) == 12 and found[-1][1] == "report"
    assert {tuple(words[:2]) for words in found[:-1]} == {("perframe", "profile")}
    assert len({words[-1] for words in found}) == 12, "a file for each"
    assert all("torch" in words and words[2].endswith(".pth.tar") for words in found[:-1])


def test_what_is_too_much_to_list_is_counted(grid: Path) -> None:
    found = commands(grid)
    assert found[20] == ["#", "and", "2", "more", "networks,", "see", "below"]


def test_a_sweep_is_swept_again_from_its_report(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / checkpoint.name).write_bytes(checkpoint.read_bytes())
    grid = ("--family", "mobilenet-v1", "--group-sizes", "4", "--width", "0.25", "--classes", "10")
    many = ("--runs", "1", "-b", "2", "-b", "1", "--watts", "20", "--seed", "3", "--input", "3x32x32")
    rest = ("--sensor", "modelled", "--allow-other-processes", "--checkpoint", checkpoint.name)
    assert run(["sweep", *grid, *QUICK, *many, *rest, "-o", "first"]) == 0
    again, report = commands(Path("first"))
    assert report == ["perframe", "report", "RESULTS/", "-o", "report.html"]
    assert run(again[1:]) == 0
    assert read_plan(Path("RESULTS")) == read_plan(Path("first"))


@pytest.mark.parametrize(
    "options",
    [
        ("--sensor", "sim:a100", "--edge-error", "0.05", "-b", "2", "-b", "1"),
        ("--sensor", "modelled", "--watts", "7.5", "--seed", "5", "--window-s", "0.123456789"),
        ("--sensor", "none", "--fps", "50", "--allow-other-processes"),
    ],
    ids=["simulated", "modelled", "none"],
)
def test_a_profile_is_measured_again_from_its_report(
    onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["profile", str(onnx_file), *QUICK, *options, "-o", "first.json"]) == 0
    again, _ = commands(Path("first.json"))
    (tmp_path / again[2]).write_bytes(onnx_file.read_bytes())
    (tmp_path / "RESULTS").mkdir()
    assert run(again[1:]) == 0
    before, after = (read_profile(path) for path in (Path("first.json"), Path(again[-1])))
    assert after.plan == before.plan and after.model == before.model
    assert after.identity == before.identity and after.regime == before.regime


def asked(profile: Profile) -> dict[str, Any]:
    """What the command line of a profile sets, by the names of the command's arguments."""
    words = shlex.split(wrapped(profile_command(profile, "RESULTS/a.json")).replace("\\\n", ""))
    assert words[:2] == ["perframe", "profile"]
    ctx = profile_options.make_context("profile", words[2:])
    return {
        name: value
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
    }


def with_plan(**changes: Any) -> Callable[[Profile], Profile]:
    def edit(profile: Profile) -> Profile:
        return dataclasses.replace(profile, plan=dataclasses.replace(MeasurementPlan(), **changes))

    return edit


def with_identity(**changes: str | float | None) -> Callable[[Profile], Profile]:
    return lambda profile: dataclasses.replace(profile, identity={**profile.identity, **changes})


def with_engine(backend: str, device: str, provider: str) -> Callable[[Profile], Profile]:
    return lambda profile: dataclasses.replace(
        profile,
        engine=dataclasses.replace(profile.engine, backend=backend, device=device, provider=provider),
    )


def with_energy(profile: Profile) -> Profile:
    used = CalibrationUse("power_w", "power_w", True, True, 10.0, 20.0)
    batch = dataclasses.replace(
        profile.batches[0],
        energy=dataclasses.replace(profile.batches[0].energy, calibration=used),
        builds=(Build("0", 1.0, 2, None, None),) * 3,
    )
    return dataclasses.replace(profile, batches=(batch,))


def with_precision(profile: Profile) -> Profile:
    model = dataclasses.replace(profile.model, precision="int8", input_shape=(3, 224, 224))
    return dataclasses.replace(profile, model=model)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (with_plan(), {}),
        (with_plan(layer_s=0.0), {"layers": False}),
        (
            with_plan(layer_energy="replayed", layer_budget_s=60.0),
            {"layer_energy": "replayed", "layer_budget": 60.0},
        ),
        (with_plan(transfers=True, edge_error=0.02), {"transfers": True, "edge_error": 0.02}),
        (with_plan(warm_up_s=0.1 + 0.2), {"warm_up_s": 0.1 + 0.2}),
        (with_engine("onnxruntime", "cuda:0", "cuda"), {"engine": None, "device": "cuda:0"}),
        (
            with_engine("onnxruntime", "cuda:0", "tensorrt"),
            {"engine": None, "device": "cuda:0", "provider": "tensorrt"},
        ),
        (with_engine("tensorrt", "cuda:1", "tensorrt"), {"engine": "tensorrt", "device": "cuda:1"}),
        (
            with_identity(
                tensorrt_tf32="True", tensorrt_sparsity="False", tensorrt_workspace_bytes="1048576"
            ),
            {"tf32": True, "workspace": 1048576},
        ),
        (
            with_identity(tensorrt_targets="('8.6', '8.9')", engine_batches="1, 4"),
            {"targets": ("8.6", "8.9"), "dynamic": True},
        ),
        (with_identity(sensor="replay", sensor_file="a b.csv"), {"sensor": "replay:a b.csv"}),
        (with_energy, {"calibration": Path("CALIBRATION.json"), "rebuilds": 3}),
        (with_precision, {"inputs": None, "precision": "int8", "images": Path("IMAGES")}),
    ],
)
def test_what_changed_a_measurement_is_an_option(
    golden: Profile, edit: Callable[[Profile], Profile], expected: dict[str, Any]
) -> None:
    before = asked(with_plan()(golden))
    wanted = {key: value for key, value in {**before, **expected}.items() if value is not None}
    assert asked(edit(with_plan()(golden))) == wanted


def test_only_what_is_not_so_anyway_is_an_option(golden: Profile) -> None:
    model = dataclasses.replace(golden.model, input_shape=(3, 224, 224))
    plain = with_engine("onnxruntime", "cpu", "cpu")(dataclasses.replace(golden, model=model))
    plain = with_plan()(with_identity(sensor="modelled", sensor_watts_per_core=10.0)(plain))
    assert set(asked(plain)) == {"file", "sensor", "output"}


def test_every_option_of_a_sweep(tmp_path: Path) -> None:
    one = Configuration("a", FAMILY, 8, None, precision=PrecisionSpec("int8", tmp_path / "images"))
    plan = SweepPlan(
        (one, dataclasses.replace(one, name="b", checkpoint=tmp_path / "my weights.pth")),
        sensor=f"replay:{tmp_path / 'trace.csv'}",
        calibration=tmp_path / "calibration.json",
    )
    words = sweep_command(plan, "RESULTS/")
    assert str(tmp_path) not in " ".join(words), "a report is passed around"
    assert {
        "--checkpoint 'my weights.pth'", "--precision int8", "--images images",
        "--sensor replay:trace.csv", "--calibration calibration.json",
    } <= set(words)  # fmt: skip


FAMILY = next(iter(FAMILIES))


def test_names_out_of_files_are_words_of_the_shell(golden: Profile) -> None:
    model = dataclasses.replace(golden.model, name="$(touch x); `y`\n../-z")
    words = wrapped(profile_command(dataclasses.replace(golden, model=model), "RESULTS/a.json"))
    assert shlex.split(words)[2] == "_touch_x_y_.._-z.onnx"
    assert distinct(["a", "b", "a", "a"]) == ["a", "b", "a-2", "a-3"]


def test_runs_versions_and_accuracies_of_ones_own_are_told(golden: Profile, tmp_path: Path) -> None:
    for i in range(2):
        write_profile(
            dataclasses.replace(golden, created=f"2026-01-0{i + 1}T00:00:00+00:00"), tmp_path / f"{i}.json"
        )
    own = AccuracyTable("own.csv", {golden.model.name: 70.0}, own=True)
    assert commands(tmp_path, table=own)[-1][2:5] == ["RESULTS/", "--accuracy", "own.csv"]
    page = report_page(collect([tmp_path], TABLE))
    assert f"Measured with perframe {golden.perframe} and" in page and "pip install" not in page
    assert "measured as often" in page
