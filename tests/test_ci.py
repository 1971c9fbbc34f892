"""The steps of the action and of the GitLab job, driven as they are written, with the fake engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from perframe.cli import command, run
from perframe.engines.convert import convert, new_checkpoint

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "ci" / "perframe-gate.sh"
SETTINGS = """
[profile]
engine = "fake"
windows = 5
batch = [1, 4]

[gate]
max-increase = "2%"
engine = "fake"
"""

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    return found


def gitlab() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text(encoding="utf-8"))[
        "perframe"
    ]
    return found


@pytest.fixture(scope="module")
def dearer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file of the same network at a larger group size, which costs more."""
    folder = tmp_path_factory.mktemp("dearer")
    shape = (3, 64, 64)
    new_checkpoint("mobilenet-v1", folder / "d.pth", group_size=32, width=0.25, classes=10, input_shape=shape)
    convert(folder / "d.pth", folder / "d.onnx", input_shape=shape, parity=False)
    return folder / "d.onnx"


@pytest.fixture(scope="module")
def measured(onnx_file: Path, dearer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the action's step makes of the model (twice: `main`, `same`) and of the dearer one (`dearer`)."""
    job = Job(tmp_path_factory.mktemp("measured") / "job", onnx_file)
    for results, model in (("main", "model.onnx"), ("same", "model.onnx"), ("dearer", str(dearer))):
        told = {"PERFRAME_LOCK_DIR": str(job.folder), "XDG_CACHE_HOME": str(job.folder)}
        ended = job.step("Measure", MODEL=model, RESULTS=results, RUNS="2", **told)
        assert ended.returncode == 0, ended.stderr
        assert "What can be used here" in ended.stdout
        assert {path.name for path in (job.folder / results).iterdir()} == {"run-1.json", "run-2.json"}
    return job.folder


@pytest.fixture
def job(tmp_path: Path, onnx_file: Path, measured: Path) -> "Job":
    """A job whose measurements are done."""
    job = Job(tmp_path / "job", onnx_file)
    for results in ("main", "same", "dearer"):
        shutil.copytree(measured / results, job.folder / results)
    return job


class Job:
    """A checkout with a model and a perframe.toml, on a runner that has perframe."""

    def __init__(self, folder: Path, model: Path) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "model.onnx").write_bytes(model.read_bytes())
        (folder / "perframe.toml").write_text(SETTINGS)
        programs = folder / "bin"
        programs.mkdir()
        self.program("perframe", f"#!{sys.executable}\nfrom perframe.cli import main\nmain()\n")
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("GITHUB_", "CI"))},
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": str(ROOT),
        }

    def program(self, name: str, text: str) -> None:
        """Put a program into the runner's PATH."""
        (self.folder / "bin" / name).write_text(text)
        (self.folder / "bin" / name).chmod(0o755)

    def bash(self, script: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a step as the runner does."""
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def step(self, name: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a step of the action, with its environment's expressions replaced by what is given."""
        (step,) = (each for each in action()["runs"]["steps"] if each["name"] == name)
        others = environment.keys() - step["env"].keys()
        assert all(name.startswith(("GITHUB_", "PERFRAME_", "XDG_")) for name in others), others
        return self.bash(step["run"], **environment)


# --- the files ---------------------------------------------------------------------------------------------------


def script_lines() -> Iterator[list[str]]:
    """Every line of the script and of the GitLab job that runs perframe, as words."""
    text = SCRIPT.read_text(encoding="utf-8").replace("\\\n", " ")
    text += "\n".join(gitlab()["script"]).replace("\\\n", " ")
    for line in text.splitlines():
        if found := re.search(r"(?:^|[;&|]|do )\s*(perframe [a-z].*)", line):
            yield shlex.split(found[1].split(" || ")[0].split("; ")[0])


def test_every_command_and_option_exists() -> None:
    seen = set()
    for _, verb, *words in script_lines():
        found = command.get_command(click.Context(command), verb)
        assert found is not None, verb
        known = {name for each in found.params for name in each.opts}
        for word in words:
            assert not word.startswith("-") or word in known, (verb, word)
        seen.add(verb)
    assert seen == {"doctor", "export", "profile", "gate"}


def test_every_step_calls_the_script_with_inputs_that_exist() -> None:
    found = action()
    steps = [each for each in found["runs"]["steps"] if "run" in each]
    for step in steps:
        words = shlex.split(step["run"])
        assert words[0] == "$GITHUB_ACTION_PATH/ci/perframe-gate.sh" and step["shell"] == "bash"
        # Nothing of a pull request is pasted into a shell: it comes through the environment.
        assert "${{" not in step["run"]
        for variable in re.findall(r"\$\{?([A-Z]+)\b", step["run"]):
            assert variable == "GITHUB_ACTION_PATH" or variable in step["env"], (step["name"], variable)
    inputs = re.findall(r"inputs\.(\w+)", (ROOT / "action.yml").read_text())
    assert set(inputs) == found["inputs"].keys()
    assert all(each["description"] for each in found["inputs"].values())


def blocks(language: str) -> list[str]:
    """The code blocks of the guide in one language."""
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_guides_settings_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (text,) = blocks("toml")
    (tmp_path / "perframe.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert run(["config", "--json"]) == 0, capsys.readouterr().err
    found = {
        (each["command"], each["option"]): each for each in json.loads(capsys.readouterr().out)["settings"]
    }
    assert found["profile", "sensor"]["value"] == "nvml"
    assert len(found) == sum("=" in line for line in text.splitlines())


def test_the_guides_workflows_give_inputs_that_exist() -> None:
    inputs = action()["inputs"]
    given = [
        step["with"]
        for workflow in map(yaml.safe_load, blocks("yaml"))
        for job in workflow.get("jobs", {"job": workflow}).values()
        for step in job["steps"]
        if "perframe" in step["uses"]
    ]
    assert len(given) == 2
    for each in given:
        assert each.keys() <= inputs.keys()
        assert {name for name, told in inputs.items() if told.get("required")} <= each.keys()


# --- the action ---------------------------------------------------------------------------------------------------


def test_a_change_that_costs_no_more_passes_and_is_told_everywhere(job: Job) -> None:
    output, summary = job.folder / "output", job.folder / "summary"
    told = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
    ended = job.step("Gate", RESULTS="same", BASELINE="main", **told)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "::notice title=perframe gate" in ended.stdout
    assert output.read_text() == "outcome=pass\n"
    assert summary.read_text() == (job.folder / "same" / "gate.md").read_text()
    assert (job.folder / "same" / "gate.xml").exists()
    document = json.loads((job.folder / "same" / "gate.json").read_text())
    assert document["baseline"] == ["main/run-1.json", "main/run-2.json"]


def test_a_dearer_model_fails_with_the_code_of_a_regression(job: Job) -> None:
    # A folder with a blank, and one file of it.
    (job.folder / "main").rename(job.folder / "base line")
    stated = {"PERFRAME_GATE_RUN_SPREAD": "1%"}
    for baseline in ("base line", "base line/run-1.json"):
        ended = job.step("Gate", RESULTS="dearer", BASELINE=baseline, INCONCLUSIVE="warn", **stated)
        assert ended.returncode == 3, ended.stdout + ended.stderr
    assert "REGRESSION" in ended.stdout and "::error" not in ended.stdout


def test_a_checkpoint_is_exported_first(job: Job, checkpoint: Path) -> None:
    ended = job.step(
        "Measure",
        MODEL=str(checkpoint),
        RESULTS="results",
        RUNS="1",
        PERFRAME_EXPORT_INPUT="3x64x64",
        PERFRAME_EXPORT_PARITY="0",
    )
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in (job.folder / "results").iterdir()] == ["run-1.json"]


def test_both_models_are_measured_in_turn(job: Job, onnx_file: Path, dearer: Path) -> None:
    ended = job.step(
        "Gate against the base branch", MODEL=str(dearer), BASE=str(onnx_file), RESULTS="results"
    )
    assert ended.returncode == 3, ended.stdout + ended.stderr
    same = job.folder / "same.onnx"
    same.write_bytes(onnx_file.read_bytes())
    ended = job.step("Gate against the base branch", MODEL=str(same), BASE=str(onnx_file), RESULTS="results")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_only_what_is_inconclusive_may_be_let_pass(job: Job) -> None:
    unclear = {"PERFRAME_GATE_MAX_INCREASE": "0.001%", "PERFRAME_GATE_RUN_SPREAD": "5%"}
    arguments = {"RESULTS": "same", "BASELINE": "main"}
    assert job.step("Gate", **arguments, **unclear).returncode == 4
    assert job.step("Gate", **arguments, **unclear, INCONCLUSIVE="warn").returncode == 0
    # Another device is no noise: the gate would never judge again.
    for path in (job.folder / "main").glob("run-*.json"):
        path.write_text(path.read_text().replace('"device_name": "fake"', '"device_name": "other"'))
    assert job.step("Gate", **arguments, INCONCLUSIVE="warn").returncode == 4


@pytest.mark.parametrize("baseline", ["nowhere", "empty", "nowhere/run-1.json"])
def test_a_baseline_that_is_missing_is_no_pass(job: Job, baseline: str) -> None:
    (job.folder / "empty").mkdir()
    ended = job.step("Gate", RESULTS="same", BASELINE=baseline, INCONCLUSIVE="warn")
    assert ended.returncode == 5
    assert ended.stderr.startswith("error: ") and len(ended.stderr.splitlines()) == 2


def test_a_model_that_is_missing_ends_the_measurement(job: Job) -> None:
    ended = job.step("Measure", MODEL="nothing.onnx", RESULTS="results", RUNS="3")
    assert ended.returncode == 5 and "nothing.onnx" in ended.stderr


def test_an_invalid_measurement_is_left_to_the_gate_and_is_no_baseline(job: Job) -> None:
    lines = "".join(f"{hundredths / 100},50.0\n" for hundredths in range(4000))
    (job.folder / "stuck.csv").write_text(f"t_s,power_w\n{lines}")
    stuck = {
        "MODEL": "model.onnx",
        "RESULTS": "stuck",
        "RUNS": "1",
        "PERFRAME_PROFILE_SENSOR": "replay:stuck.csv",
    }
    ended = job.step("Measure", **stuck, GATED="false")
    assert ended.returncode == 8 and "stands still" in ended.stderr
    (job.folder / "stuck").rename(job.folder / "before")
    ended = job.step("Measure", **stuck, GATED="true")
    assert ended.returncode == 0, ended.stderr
    ended = job.step("Gate", RESULTS="stuck", BASELINE="before", INCONCLUSIVE="warn")
    assert ended.returncode == 8 and "stands still" in ended.stdout


def test_a_measurement_is_gated_exactly_where_a_gate_follows() -> None:
    steps = {each["name"]: each for each in action()["runs"]["steps"]}
    gated = steps["Measure"]["env"]["GATED"].removeprefix("${{ ").removesuffix(" }}")
    assert steps["Gate"]["if"] == f"inputs.against == '' && ({gated})"


def test_a_step_that_is_none(job: Job) -> None:
    ended = job.bash(f'"{SCRIPT}" measure model.onnx')
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 2


GH = """#!/usr/bin/env bash
# Stands in for GitHub's command, of which it remembers how it was called.
printf '%s\\n' "$*" >>"$GH_CALLS"
for argument in "$@"; do
  case "$argument" in
  body=@*) cp "${argument#body=@}" "$GH_BODY" ;;
  --dir) folder=next ;;
  *) [[ ${folder:-} == next ]] && { mkdir -p "$argument"; cp -r "$GH_ARTIFACT"/. "$argument"; folder=; } ;;
  esac
done
case "$*" in
"run list"*) echo "$GH_RUN" ;;
"api repos/"*"--paginate"*) echo "$GH_COMMENT" ;;
esac
"""


@pytest.mark.parametrize(
    ("comment", "method"),
    [("", "POST repos/o/r/issues/7/comments"), ("99", "PATCH repos/o/r/issues/comments/99")],
)
def test_the_verdict_is_one_comment(job: Job, comment: str, method: str) -> None:
    job.program("gh", GH)
    (job.folder / "results").mkdir()
    (job.folder / "results" / "gate.md").write_text("### perframe gate: pass\n")
    calls, body = job.folder / "calls", job.folder / "body"
    told = {"GITHUB_REPOSITORY": "o/r", "GH_CALLS": str(calls), "GH_BODY": str(body), "GH_COMMENT": comment}
    ended = job.bash(f'"{SCRIPT}" comment results small 7', **told)
    assert ended.returncode == 0, ended.stderr
    assert f"--method {method}" in calls.read_text().splitlines()[-1]
    assert body.read_text() == "<!-- perframe: small -->\n### perframe gate: pass\n"


def test_the_baseline_is_the_artifact_of_the_default_branch(job: Job) -> None:
    job.program("gh", GH)
    told = {
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_WORKFLOW": "energy",
        "DEFAULT_BRANCH": "main",
        "GH_CALLS": str(job.folder / "calls"),
        "GH_ARTIFACT": str(job.folder / "main"),
    }
    ended = job.bash(f'"{SCRIPT}" baseline perframe-baseline perframe-results', **told, GH_RUN="123")
    assert ended.returncode == 0, ended.stderr
    listed, downloaded = (job.folder / "calls").read_text().splitlines()
    # A pull request from a fork's main is on a branch main too.
    assert "--branch main" in listed and "--event push" in listed
    assert "run download 123" in downloaded and "--name perframe-results" in downloaded
    assert job.step("Gate", RESULTS="same", BASELINE="").returncode == 0
    ended = job.bash(f'"{SCRIPT}" baseline again perframe-results', **told, GH_RUN="")
    assert ended.returncode == 5 and "main" in ended.stderr
    job.program("gh", '#!/bin/sh\n[ "$2" = list ] && echo 123\n')
    ended = job.bash(f'"{SCRIPT}" baseline again perframe-results', **told)
    assert ended.returncode == 5 and "expire" in ended.stderr


@pytest.mark.parametrize("step", ["baseline base perframe-results", "comment main small 7"])
def test_a_runner_without_githubs_command(job: Job, step: str) -> None:
    (job.folder / "main" / "gate.md").write_text("pass\n")
    told = {"GITHUB_REPOSITORY": "o/r", "GITHUB_WORKFLOW": "energy", "DEFAULT_BRANCH": "main"}
    ended = job.bash(f'"{SCRIPT}" {step}', **told, PATH=str(path_without(job.folder / "tools", "gh")))
    assert ended.returncode == 6
    assert ended.stderr.startswith("error: gh: ") and len(ended.stderr.splitlines()) == 2


def path_without(folder: Path, name: str) -> Path:
    """A folder with what the script runs, but for one program."""
    folder.mkdir()
    for each in {"bash", "cat", "gh", "head", "rm"} - {name}:
        if (found := shutil.which(each)) is not None:
            (folder / each).symlink_to(found)
    return folder


def test_the_baseline_is_found_before_anything_is_measured() -> None:
    names = [each["name"] for each in action()["runs"]["steps"]]
    assert names.index("Fetch the baseline") < names.index("Measure") < names.index("Gate")


# --- GitLab -------------------------------------------------------------------------------------------------------


def run_gitlab(job: Job, part: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    lines = [line.replace("for run in 1 2 3", "for run in 1") for line in gitlab()[part]]
    told = {**gitlab()["variables"], "MODEL": "model.onnx", "CI_DEFAULT_BRANCH": "main", **environment}
    return job.bash("\n".join(lines), **told)


def test_the_gitlab_job_runs_as_it_is_written(job: Job, dearer: Path) -> None:
    ended = run_gitlab(job, "script", CI_COMMIT_BRANCH="main")
    assert ended.returncode == 0, ended.stderr
    assert "next baseline" in ended.stdout
    (job.folder / "perframe-results").rename(job.folder / "perframe-baseline")
    (job.folder / "model.onnx").write_bytes(dearer.read_bytes())
    assert run_gitlab(job, "script", PERFRAME_GATE_RUN_SPREAD="1%").returncode == 3
    report = gitlab()["artifacts"]["reports"]["junit"]
    assert "<failure" in (job.folder / report).read_text()


def test_the_gitlab_job_exports_a_checkpoint(job: Job, checkpoint: Path) -> None:
    told = {"PERFRAME_EXPORT_INPUT": "3x64x64", "PERFRAME_EXPORT_PARITY": "0"}
    ended = run_gitlab(job, "script", MODEL=str(checkpoint), CI_COMMIT_BRANCH="main", **told)
    assert ended.returncode == 0, ended.stderr
    document = json.loads((job.folder / "perframe-results" / "run-1.json").read_text())
    assert document["model"]["group_size"] == 8


CURL = """#!/usr/bin/env bash
# Stands in for curl, and remembers what it was told.
printf '%s\\n' "$@" >called
"""


@pytest.mark.parametrize(
    ("token", "merge_request", "told"), [("secret", "7", True), ("", "7", False), ("secret", "", False)]
)
def test_the_gitlab_job_comments_with_a_token_only(
    job: Job, token: str, merge_request: str, told: bool
) -> None:
    job.program("curl", CURL)
    (job.folder / "perframe-results").mkdir()
    (job.folder / "perframe-results" / "gate.md").write_text("### perframe gate: pass\n")
    ended = run_gitlab(
        job,
        "after_script",
        GITLAB_TOKEN=token,
        CI_MERGE_REQUEST_IID=merge_request,
        CI_PROJECT_ID="5",
        CI_API_V4_URL="https://gitlab.example/api/v4",
    )
    assert ended.returncode == 0, ended.stderr
    assert (job.folder / "called").exists() is told
    if told:
        words = (job.folder / "called").read_text().splitlines()
        assert words[-1] == "https://gitlab.example/api/v4/projects/5/merge_requests/7/notes"
        assert "PRIVATE-TOKEN: secret" in words and "body@perframe-results/gate.md" in words
