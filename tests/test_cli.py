"""The commands as a user types them: what they print, and the code they end with."""

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import onnx
import pytest

from perframe.cli import command, run

QUICK = ("--windows", "2", "--window-s", "0.02", "--warm-up-s", "0")
SHAPE = ("--input", "3x64x64")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def perframe(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process, as the `perframe` script does."""

    def run_here(*arguments: object) -> Ended:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run_here


def refused(ended: Ended, code: int, *words: str) -> None:
    """The command ended with `code` and two lines on stderr that name the cause; nothing went to stdout."""
    assert ended.code == code, ended
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 2, ended.err
    assert lines[0].startswith("error: ") and lines[1].startswith("hint: ")
    for word in words:
        assert word in ended.err


# --- the main job -----------------------------------------------------------------------------------------------


def test_from_nothing_to_a_profile(perframe: Command, tmp_path: Path) -> None:
    checkpoint, model = tmp_path / "m.pth.tar", tmp_path / "m.onnx"
    engine, result = tmp_path / "m.engine", tmp_path / "m.json"
    made = perframe(
        "new", "mobilenet-v1", "--group-size", 8, "--width", 0.25, "--classes", 10, "-o", checkpoint, *SHAPE
    )
    assert made.code == 0 and "E2GC-G8" in made.out

    exported = perframe("export", checkpoint, "-o", model, *SHAPE)
    assert exported.code == 0 and "Parity" in exported.out

    built = perframe("build", model, "--engine", "onnxruntime", "-o", engine)
    assert built.code == 0 and "onnxruntime" in built.out

    profiled = perframe(
        "profile", engine, "-b", 1, "-b", 4, "-b", 16, *QUICK, "--sensor", "modelled", "-o", result
    )
    assert profiled.code == 0
    for batch in (1, 4, 16):
        assert f"Batch {batch}:" in profiled.out
    assert "blocks.0.grouped.conv" in profiled.out
    # Modelled figures carry the word in every table.
    assert profiled.out.count("(modelled)") >= 5
    document = json.loads(result.read_text())
    assert [batch["batch"] for batch in document["batches"]] == [1, 4, 16]
    assert document["model"]["group_size"] == 8


def test_a_checkpoint_is_profiled_in_one_command(perframe: Command, checkpoint: Path) -> None:
    ended = perframe("profile", checkpoint, *SHAPE, *QUICK, "--sensor", "modelled", "--json")
    assert ended.code == 0
    document = json.loads(ended.out)
    assert document["batches"][0]["energy"]["kind"] == "modelled"
    assert document["model"]["name"] == "mobilenet_v1-E2GC-G8-w0.25"


def test_a_dash_pipes_the_result(perframe: Command, onnx_file: Path) -> None:
    ended = perframe("profile", onnx_file, "--engine", "fake", "-o", "-")
    assert ended.code == 0
    assert json.loads(ended.out)["engine"]["backend"] == "fake"


@pytest.mark.parametrize("kind", ["checkpoint", "onnx_file"])
def test_inspect_shows_architecture_and_cost(
    perframe: Command, request: pytest.FixtureRequest, kind: str
) -> None:
    path = request.getfixturevalue(kind)
    shape = SHAPE if kind == "checkpoint" else ()
    ended = perframe("inspect", path, *shape, "--json")
    assert ended.code == 0
    document = json.loads(ended.out)
    model, layers = document["model"], document["layers"]
    assert (model["family"], model["variant"], model["group_size"]) == ("mobilenet_v1", "E2GC", 8)
    assert model["macs"] == sum(layer["macs"] for layer in layers)
    assert {
        "name",
        "module",
        "op",
        "macs",
        "params",
        "activations",
        "intensity",
        "groups",
        "group_size",
    } <= set(layers[0])
    assert "blocks.3.grouped.conv" in perframe("inspect", path, *shape).out


def test_a_network_that_is_both_is_said_to_be_both(perframe: Command, tmp_path: Path) -> None:
    path = tmp_path / "dense.pth"
    perframe("new", "mobilenet-v1", "--groups", 1, "--width", 0.25, "--classes", 10, "-o", path, *SHAPE)
    ended = perframe("inspect", path, *SHAPE)
    assert "coincide" in ended.out
    document = json.loads(perframe("inspect", path, *SHAPE, "--json").out)["model"]
    assert (document["variant"], document["group_size"], document["groups"]) == ("E2GC", 256, 1)


@pytest.mark.parametrize("name", sorted(set(command.list_commands(click.Context(command))) - {"import"}))
def test_every_command_has_help_and_json(perframe: Command, name: str) -> None:
    ended = perframe(name, "--help")
    assert ended.code == 0
    assert "--json" in ended.out and "--debug" in ended.out
    found = command.get_command(click.Context(command), name)
    assert found is not None and found.help


def test_every_command_prints_json(perframe: Command, checkpoint: Path, tmp_path: Path) -> None:
    new = perframe(
        "new", "mobilenet-v1", "--groups", 4, "--width", 0.25, "-o", tmp_path / "n.pth", *SHAPE, "--json"
    )
    assert json.loads(new.out)["name"] == "mobilenet_v1-FgGC-g4-w0.25"
    exported = json.loads(perframe("export", checkpoint, "-o", tmp_path / "m.onnx", *SHAPE, "--json").out)
    assert exported["opset"] == 20 and len(exported["parity"]["differences"]) == 2
    built = json.loads(perframe("build", tmp_path / "m.onnx", "-o", tmp_path / "m.engine", "--json").out)
    assert built["schema"] == "perframe.engine/1"


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["inspect", "export", "build", "profile"])
@pytest.mark.parametrize("kind", ["missing", "directory", "empty"])
def test_a_file_that_is_none(perframe: Command, tmp_path: Path, verb: str, kind: str) -> None:
    path = tmp_path / ("given.onnx" if verb == "build" else "given.pth")
    if kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    output = ("-o", tmp_path / "out") if verb in ("export", "build") else ()
    refused(perframe(verb, path, *output), 5, str(path))


def truncated(path: Path, source: Path) -> None:
    path.write_bytes(source.read_bytes()[:20_000])


def zip_bomb(path: Path, source: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 50_000_000)
        archive.writestr("archive/version", "3")


def hostile_pickle(path: Path, source: Path) -> None:
    import torch

    class Hostile:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {path}.executed",)

    torch.save({"state_dict": Hostile()}, path)


def with_tensor(change: Callable[[dict[str, object]], None]) -> Callable[[Path, Path], None]:
    def damage(path: Path, source: Path) -> None:
        import torch

        document = torch.load(source, weights_only=True)
        change(document["state_dict"])
        torch.save(document, path)

    return damage


def missing(state: dict[str, object]) -> None:
    del state["blocks.3.grouped.conv.weight"]


def extra(state: dict[str, object]) -> None:
    import torch

    state["adapter.weight"] = torch.ones(8, 8)


def misshapen(state: dict[str, object]) -> None:
    import torch

    state["blocks.3.grouped.norm.running_mean"] = torch.ones(7)


def not_a_number(state: dict[str, object]) -> None:
    import torch

    weight = state["blocks.3.grouped.conv.weight"]
    assert isinstance(weight, torch.Tensor)
    weight[0, 0, 0, 0] = float("nan")


def infinite(state: dict[str, object]) -> None:
    import torch

    weight = state["fc.weight"]
    assert isinstance(weight, torch.Tensor)
    weight[0, 0] = float("inf")


def unknown(state: dict[str, object]) -> None:
    import torch

    state.clear()
    state["conv.weight"] = torch.ones(8, 3, 5, 5)
    state["fc.weight"] = torch.ones(10, 8)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncated, ()),
        (zip_bomb, ()),
        (hostile_pickle, ("system",)),
        (with_tensor(missing), ("blocks.3.grouped.conv.weight",)),
        (with_tensor(extra), ("adapter.weight",)),
        (with_tensor(misshapen), ("running_mean", "7")),
        (with_tensor(not_a_number), ("blocks.3.grouped.conv.weight", "NaN")),
        (with_tensor(infinite), ("fc.weight", "infinite")),
        (with_tensor(unknown), ("--factory", ".onnx")),
    ],
    ids=["truncated", "zip bomb", "hostile", "missing", "extra", "misshapen", "nan", "inf", "unknown"],
)
def test_a_bad_checkpoint(
    perframe: Command,
    checkpoint: Path,
    tmp_path: Path,
    damage: Callable[[Path, Path], None],
    words: tuple[str, ...],
) -> None:
    path = tmp_path / "bad.pth"
    damage(path, checkpoint)
    refused(perframe("export", path, "-o", tmp_path / "out.onnx", *SHAPE), 5, str(path), *words)
    assert not (tmp_path / "out.onnx").exists()
    assert not Path(f"{path}.executed").exists()


def test_a_corrupt_onnx_file(perframe: Command, onnx_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "corrupt.onnx"
    path.write_bytes(onnx_file.read_bytes()[:-1000])
    refused(perframe("profile", path), 5, str(path))
    path.write_bytes(os.urandom(5000))
    refused(perframe("build", path, "-o", tmp_path / "out"), 5, str(path))


def test_external_data_outside_the_folder(perframe: Command, onnx_file: Path, tmp_path: Path) -> None:
    model = onnx.load(str(onnx_file))
    tensor = max(model.graph.initializer, key=lambda each: len(each.raw_data))
    onnx.external_data_helper.set_external_data(tensor, "../../etc/passwd")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    path = tmp_path / "escaping.onnx"
    path.write_bytes(model.SerializeToString())
    refused(perframe("profile", path), 5, "../../etc/passwd")


SYMBOLIC = """
<ir_version: 10, opset_import: ["": 20]>
g (float[batch, 3, h, w] x) => (float[batch, 3, h, w] y) { y = Relu(x) }
"""


@pytest.fixture
def symbolic(tmp_path: Path) -> Path:
    path = tmp_path / "symbolic.onnx"
    onnx.save(onnx.parser.parse_model(SYMBOLIC), str(path))
    return path


def test_a_symbolic_input_needs_its_size(perframe: Command, symbolic: Path) -> None:
    refused(perframe("profile", symbolic), 5, "--input 3x")
    assert perframe("profile", symbolic, *SHAPE, *QUICK, "--json").code == 0


@pytest.mark.parametrize("given", ["3x0x4", "axbxc", "3", "4x64x64", ""])
def test_a_wrong_input_size(perframe: Command, symbolic: Path, given: str) -> None:
    refused(perframe("profile", symbolic, "--input", given), 2)


def test_an_input_size_the_model_does_not_take(perframe: Command, onnx_file: Path) -> None:
    refused(perframe("profile", onnx_file, "--input", "1x64x64"), 2, "expected", "found")


def test_a_checkpoint_with_channels_it_does_not_take(
    perframe: Command, checkpoint: Path, tmp_path: Path
) -> None:
    refused(perframe("export", checkpoint, "-o", tmp_path / "o.onnx", "--input", "1x64x64"), 2, "3 channels")


@pytest.mark.parametrize("batch", ["0", "-3", "two"])
def test_an_impossible_batch(perframe: Command, onnx_file: Path, batch: str) -> None:
    refused(perframe("profile", onnx_file, "-b", batch), 2)


def test_a_batch_the_model_is_not_made_for(perframe: Command, tmp_path: Path) -> None:
    path = tmp_path / "fixed.onnx"
    onnx.save(onnx.parser.parse_model(SYMBOLIC.replace("batch", "2").replace("h, w", "8, 8")), str(path))
    refused(perframe("profile", path, "-b", 4), 2, "fixed at 2")
    assert perframe("profile", path, "-b", 2, *QUICK, "--json").code == 0


def test_an_unknown_engine(perframe: Command, onnx_file: Path) -> None:
    refused(perframe("profile", onnx_file, "--engine", "abacus"), 2, "abacus", "onnxruntime")


@pytest.mark.parametrize("device", ["tpu", "cuda", "cuda:x"])
def test_an_unknown_device(perframe: Command, onnx_file: Path, device: str) -> None:
    refused(perframe("profile", onnx_file, "--device", device), 2, device)


def test_an_unknown_sensor(perframe: Command, onnx_file: Path) -> None:
    refused(perframe("profile", onnx_file, "--sensor", "wattmeter"), 2, "wattmeter")


def test_a_sensor_that_is_not_there(perframe: Command, onnx_file: Path, tmp_path: Path) -> None:
    refused(perframe("profile", onnx_file, "--sensor", f"rapl:{tmp_path}"), 6)


def test_an_engine_asked_for_otherwise_than_built(perframe: Command, onnx_file: Path, tmp_path: Path) -> None:
    engine = tmp_path / "engine"
    assert perframe("build", onnx_file, "-o", engine).code == 0
    refused(perframe("profile", engine, "--engine", "fake"), 2, "built with engine onnxruntime")
    engine.write_bytes(b"other")
    refused(perframe("profile", engine), 5, str(engine))


@pytest.mark.parametrize("verb", ["export", "build", "profile", "new"])
def test_an_unwritable_output(
    perframe: Command, checkpoint: Path, onnx_file: Path, tmp_path: Path, verb: str
) -> None:
    (tmp_path / "file").touch()
    given = {"export": checkpoint, "new": "mobilenet-v1"}.get(verb, onnx_file)
    more = ("--group-size", 8) if verb == "new" else ()
    refused(perframe(verb, given, *more, "-o", tmp_path / "file" / "out"), 6, "cannot write the output")


@pytest.mark.parametrize("verb", ["export", "build", "profile"])
def test_an_output_that_is_the_input(
    perframe: Command, checkpoint: Path, onnx_file: Path, tmp_path: Path, verb: str
) -> None:
    path = tmp_path / ("given.pth" if verb == "export" else "given.onnx")
    path.write_bytes((checkpoint if verb == "export" else onnx_file).read_bytes())
    before = path.read_bytes()
    refused(perframe(verb, path, "-o", path), 2, "also the input")
    assert path.read_bytes() == before


def test_groups_that_do_not_divide_name_the_layer(perframe: Command, tmp_path: Path) -> None:
    refused(
        perframe("new", "mobilenet-v1", "--group-size", 12, "-o", tmp_path / "n.pth"),
        2,
        "blocks.0.grouped.conv",
    )
    refused(perframe("new", "mobilenet-v1", "-o", tmp_path / "n.pth"), 2)


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("profile",), ("profile", "x", "--nonsense"), ("new", "vgg")]
)
def test_wrong_usage(perframe: Command, arguments: tuple[str, ...]) -> None:
    refused(perframe(*arguments), 2, "--help")


def test_a_bug_keeps_its_traceback(
    perframe: Command, onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh no")

    monkeypatch.setattr("perframe.engines.convert.inspect_file", broken)
    ended = perframe("inspect", onnx_file)
    assert ended.code == 1
    assert "Traceback" in ended.err and "oh no" in ended.err


def test_debug_adds_the_traceback(perframe: Command, tmp_path: Path) -> None:
    ended = perframe("inspect", tmp_path / "none.onnx", "--debug")
    assert ended.code == 5
    assert "Traceback" in ended.err and ended.err.rstrip().splitlines()[-1].startswith("hint: ")


def test_a_device_in_use_names_the_holder(perframe: Command, onnx_file: Path) -> None:
    from perframe.profiler.lock import device_lock

    with device_lock("cpu"):
        refused(perframe("profile", onnx_file, *QUICK), 6, str(os.getpid()), "--wait-s")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--wait-s", "nan"),
        ("--fps", "inf"),
        ("--window-s", "nan"),
        ("--windows", "1"),
        ("--threads", "100000"),
        ("--edge-error", "0"),
    ],
)
def test_numbers_that_are_none(perframe: Command, onnx_file: Path, arguments: tuple[str, str]) -> None:
    refused(perframe("profile", onnx_file, *arguments), 2)


def test_a_batch_that_fits_no_memory(perframe: Command, onnx_file: Path) -> None:
    refused(perframe("profile", onnx_file, "-b", 2**62), 6, "memory")


def test_an_output_that_would_replace_another_file_it_needs(
    perframe: Command, onnx_file: Path, tmp_path: Path
) -> None:
    engine, trace = tmp_path / "m.engine", tmp_path / "t.csv"
    trace.write_text("t_s,power_w\n0,5\n100,5\n")
    assert perframe("build", onnx_file, "-o", engine).code == 0
    sidecar = tmp_path / "m.engine.json"
    before = sidecar.read_text()
    refused(perframe("profile", engine, "-o", sidecar), 2, "also the input")
    refused(perframe("profile", onnx_file, "--sensor", f"replay:{trace}", "-o", trace), 2, "also the input")
    model = tmp_path / "other.json"
    model.write_bytes(onnx_file.read_bytes())
    refused(perframe("build", model, "-o", tmp_path / "other"), 2, "also the input")
    notes = tmp_path / "new.json"
    notes.write_text('{"mine": 1}')
    refused(perframe("build", onnx_file, "-o", tmp_path / "new"), 2, "another program")
    assert sidecar.read_text() == before and notes.read_text() == '{"mine": 1}'


def test_an_output_that_is_no_plain_file_stays_what_it_is(
    perframe: Command, onnx_file: Path, tmp_path: Path
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    refused(perframe("profile", onnx_file, "-o", pipe), 6, "special file")
    assert pipe.is_fifo()


def test_a_damaged_sidecar_does_not_open_its_engine(
    perframe: Command, onnx_file: Path, tmp_path: Path
) -> None:
    engine = tmp_path / "engine"
    assert perframe("build", onnx_file, "-o", engine).code == 0
    (tmp_path / "engine.json").write_text("{")
    refused(perframe("profile", engine, *QUICK), 5, "engine.json")


def test_names_out_of_a_file_reach_no_terminal_as_they_are(perframe: Command, tmp_path: Path) -> None:
    model = onnx.parser.parse_model(SYMBOLIC.replace("h, w", "8, 8"))
    model.graph.node[0].name = "relu\x1b[31mred\n\x1b]0;title\x07"
    path = tmp_path / "rude.onnx"
    onnx.save(model, str(path))
    for ended in (perframe("inspect", path, "--all"), perframe("profile", path, *QUICK, "--engine", "fake")):
        assert ended.code == 0
        assert "\\x1b[31mred" in ended.out
        assert "\x1b" not in ended.out


def test_weights_beside_the_model_are_built_in(perframe: Command, onnx_file: Path, tmp_path: Path) -> None:
    model = onnx.load(str(onnx_file))
    path = tmp_path / "split.onnx"
    onnx.save(model, str(path), save_as_external_data=True, location="split.onnx.data", size_threshold=0)
    assert (tmp_path / "split.onnx.data").exists()
    ended = perframe("profile", path, *QUICK, "--json")
    assert ended.code == 0, ended
    layers = json.loads(ended.out)["batches"][0]["layers"]
    assert "blocks.0.grouped.conv" in {layer["module"] for layer in layers}


def test_a_terminal_that_cannot_show_a_character(onnx_file: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "perframe", "profile", str(onnx_file), *QUICK],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert b"Batch 1" in ended.stdout


def test_a_full_disk_behind_stdout(onnx_file: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "perframe", "inspect", str(onnx_file), "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert ended.returncode == 6
    assert b"Traceback" not in ended.stderr


# --- Ctrl-C -----------------------------------------------------------------------------------------------------


def interrupted(
    arguments: list[object], when: Callable[[], bool], folder: Path, by: signal.Signals = signal.SIGINT
) -> Ended:
    """Start a command as a process of its own, and send it Ctrl-C, or another signal, once `when` holds."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perframe", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "PERFRAME_LOCK_DIR": str(folder)},
    )
    deadline = time.monotonic() + 60
    while not when() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(by)
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_its_kin_during_warm_up(onnx_file: Path, tmp_path: Path, by: signal.Signals) -> None:
    result = tmp_path / "r.json"
    ended = interrupted(
        ["profile", onnx_file, "-o", result],
        lambda: (tmp_path / "perframe-cpu.json").exists(),
        tmp_path,
        by,
    )
    assert ended.code == 130, ended
    assert "Traceback" not in ended.err and ended.err.strip().startswith("error: Interrupted")
    assert not result.exists()
    assert not list(tmp_path.glob("perframe-*/"))


def test_ctrl_c_during_export(checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    ended = interrupted(
        ["export", checkpoint, "-o", out / "m.onnx", *SHAPE], lambda: any(out.iterdir()), tmp_path
    )
    assert ended.code == 130, ended
    assert "Traceback" not in ended.err
    assert not list(out.iterdir())


def test_ctrl_c_while_profiling_keeps_what_was_finished(onnx_file: Path, tmp_path: Path) -> None:
    result = tmp_path / "r.json"
    ended = interrupted(
        ["profile", onnx_file, "-b", 1, "-b", 2, "-b", 4, "-o", result, "--windows", 2, "--window-s", 1],
        result.exists,
        tmp_path,
    )
    assert ended.code == 130, ended
    assert "Traceback" not in ended.err
    # What was finished is saved, shown, and marked as not being all.
    document = json.loads(result.read_text())
    assert [batch["batch"] for batch in document["batches"]] == [1]
    assert document["complete"] is False
    assert "Batch 1:" in ended.out
