"""Whether a job can be done here: tried, and told by the exit code."""

import json
from dataclasses import replace

import pytest

from perframe.cli import run
from perframe.engines.cuda import cuda_unavailable
from perframe.engines.installed import Installed, installed
from perframe.engines.registry import backend_named
from perframe.errors import PerframeError, UnavailableError
from perframe.profiler.job import Job, require_job
from perframe.profiler.lock import device_lock


@pytest.mark.parametrize("engine", ["onnxruntime", "fake"])
def test_a_job_that_can_be_done_is_done(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["doctor", "--for", "profile", "--engine", engine, "--sensor", "modelled"]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert f"{engine} " in shown and "It ran on" in shown and "energy is modelled" in shown
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["job"]["engine"] == engine and len(document["done"]) == 3


def test_export_reads_a_checkpoint_for_real() -> None:
    assert require_job(Job("export")) == ("A checkpoint was read and exported to ONNX.",)


def test_an_engine_that_is_built_need_not_run() -> None:
    try:
        backend_named("tensorrt-rtx")
    except PerframeError as error:
        pytest.skip(error.message)
    (done,) = require_job(Job("build", "tensorrt-rtx"))
    assert "built" in done
    if cuda_unavailable() is not None:
        with pytest.raises(UnavailableError, match="No GPU can be used"):
            require_job(Job("profile", "tensorrt-rtx"))


@pytest.mark.skipif(cuda_unavailable() is None, reason="there is a GPU")
@pytest.mark.parametrize(
    "options",
    [
        ("--engine", "tensorrt"),
        ("--device", "cuda:0"),
        ("--provider", "tensorrt", "--device", "cuda:0"),
        ("--sensor", "nvml", "--device", "cuda:0"),
        ("--sensor", "rapl:/nowhere"),
    ],
)
def test_what_stands_in_the_way_is_two_lines_and_code_6(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--for", "profile", *options]) == 6
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second = captured.err.splitlines()
    assert first.startswith("error: ") and second.startswith("hint: ")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--for", "profile", "--engine", "abacus"), "abacus"),
        (("--for", "profile", "--device", "tpu"), "tpu"),
        (("--for", "profile", "--sensor", "wattmeter"), "wattmeter"),
        (("--for", "profile", "--sensor", "nvml"), "cpu"),
        (("--for", "fun"), "fun"),
        (("--engine", "fake"), "--for"),
        (("--device", "tpu"), "tpu"),
        (("--for", "profile", "--characterise", "nvml"), "two things"),
    ],
)
def test_a_job_that_is_none_is_a_usage_error(
    options: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", *options]) == 2
    assert word in capsys.readouterr().err


def test_a_measurement_in_progress_is_not_disturbed() -> None:
    with device_lock("cpu"), pytest.raises(UnavailableError, match="being measured"):
        require_job(Job("profile", sensor="none"))
    assert len(require_job(Job("profile", sensor="none"))) == 2


def test_versions_that_do_not_fit_are_named_as_what_is_behind_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def misfit() -> Installed:
        return replace(installed(), versions={"tensorrt": "11.4.1"}, cuda={}, linked_tensorrt=10)

    monkeypatch.setattr("perframe.profiler.job.installed", misfit)
    asked = Job("profile", provider="tensorrt", device="cuda:99")
    with pytest.raises(UnavailableError, match=r"libnvinfer\.so\.10") as caught:
        require_job(asked)
    assert "tensorrt==10.*" in caught.value.hint
    # It is not what stands in the way of the provider for CUDA.
    with pytest.raises(UnavailableError) as caught:
        require_job(replace(asked, provider="cuda"))
    assert "libnvinfer" not in caught.value.message
