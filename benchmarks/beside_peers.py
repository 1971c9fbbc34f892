"""How long a user waits for help, and what a mistake looks like: perframe beside other tools.

The others are looked for in the folders that the variable PEERS names (`PEERS=zeus/bin:codecarbon/bin`), then beside
this Python, then on the PATH; one that is not found is named as such. Give each an environment of its own, since what
they depend on contradicts each other. Nothing is downloaded.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from perframe.engines.convert import convert, new_checkpoint
from perframe.profiler.environment import cpu_model, usable_cpus

ROUNDS = 5
PEERS = os.environ.get("PEERS", "").split(os.pathsep)
FOLDERS = [*map(Path, filter(None, PEERS)), Path(sys.executable).parent, *map(Path, os.get_exec_path())]

OPTIMUM = (
    "--config-name benchmark name=case +launcher=process +scenario=inference +backend=pytorch scenario.duration=1"
    " scenario.warmup_runs=1 +scenario.input_shapes.batch_size=1"
)
# optimum-benchmark takes folders as Transformers writes them, and no ONNX file.
OPTIMUM_MODEL = """
from transformers import MobileNetV1Config, MobileNetV1ForImageClassification
MobileNetV1ForImageClassification(MobileNetV1Config(depth_multiplier=0.25)).save_pretrained("model")
"""
ENVIRONMENT = os.environ | {"HF_HUB_OFFLINE": "1", "OVERRIDE_BENCHMARKS": "1"}

# What starts each tool, and by mistake the arguments that make it. Mistakes a tool has no place for are left out.
TOOLS: dict[str, tuple[str, dict[str, str]]] = {
    "perframe": (
        "perframe",
        {
            "missing file": "profile missing.onnx",
            "truncated file": "profile truncated.onnx",
            "no such GPU": "profile model.onnx --device cuda:9",
            "no such sensor": "profile model.onnx --sensor rapl:missing",
            "impossible shape": "profile model.onnx --input 4x224x224",
        },
    ),
    "Polygraphy": (
        "polygraphy",
        {
            "missing file": "run missing.onnx --onnxrt",
            "truncated file": "run truncated.onnx --onnxrt",
            "no such GPU": "run model.onnx --onnxrt --providers cuda",
            "impossible shape": "run model.onnx --onnxrt --input-shapes input:[1,4,224,224]",
        },
    ),
    "Zeus": ("python -m zeus.monitor", {"no such GPU": "power --gpu-indices 9"}),
    "optimum-benchmark": (
        "optimum-benchmark",
        {
            "missing file": f"{OPTIMUM} backend.device=cpu backend.model=missing",
            "truncated file": f"{OPTIMUM} backend.device=cpu backend.model=truncated",
            "no such GPU": f"{OPTIMUM} backend.device=cuda backend.device_ids=9 backend.model=model",
            "impossible shape": f"{OPTIMUM} backend.device=cpu backend.model=model"
            " +scenario.input_shapes.num_channels=4",
        },
    ),
    "Model Analyzer": (
        "model-analyzer",
        {"missing file": "profile --model-repository missing --profile-models model"},
    ),
    "CodeCarbon": (
        "codecarbon",
        {"missing file": "monitor --offline --country-iso-code DEU --no-api -- ./missing"},
    ),
}


def find(program: str) -> tuple[str, ...] | None:
    """Return the command that starts `program`, an executable or `python -m module`; None where it is not found."""
    executable, *module = program.split()
    installed = f"../lib/python3*/site-packages/{module[-1].replace('.', '/')}" if module else executable
    for folder in FOLDERS:
        if os.access(folder / executable, os.X_OK) and any(folder.glob(installed)):
            return (str((folder / executable).absolute()), *module)
    return None


def run(folder: Path, *command: str) -> tuple[float, subprocess.CompletedProcess[str]]:
    """Run a command in `folder`; return its seconds and what came of it."""
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    return time.perf_counter() - start, done


def write_models(folder: Path, optimum: tuple[str, ...] | None) -> None:
    """Write a model, and one cut in half, as each tool takes them."""
    new_checkpoint("mobilenet-v1", folder / "model.pth", group_size=8, width=0.25)
    convert(folder / "model.pth", folder / "model.onnx", parity=False)
    shutil.copy(folder / "model.onnx", folder / "truncated.onnx")
    to_cut = [folder / "truncated.onnx"]
    if optimum:
        run(folder, str(Path(optimum[0]).with_name("python")), "-c", OPTIMUM_MODEL)[1].check_returncode()
        shutil.copytree(folder / "model", folder / "truncated")
        to_cut.append(folder / "truncated" / "model.safetensors")
    for file in to_cut:
        os.truncate(file, file.stat().st_size // 2)


def main() -> None:
    """Print both tables, as Markdown."""
    commands = {name: find(program) for name, (program, _) in TOOLS.items()}
    found = {name: command for name, command in commands.items() if command}
    if "perframe" not in found:
        sys.exit("perframe was not found in PEERS, beside this Python or on the PATH")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_models(folder, commands["optimum-benchmark"])
        print(f"{cpu_model()}, {usable_cpus()} CPUs, load {os.getloadavg()[0]:.1f}\n")
        # In turn, so that what drifts hits all alike; the first round warms up.
        rounds = [{name: run(folder, *found[name], "--help")[0] for name in found} for _ in range(ROUNDS + 1)]
        medians = {name: statistics.median(each[name] for each in rounds[1:]) for name in found}
        print("| tool | `--help` | / perframe |\n|---|---|---|")
        for name in TOOLS:
            ratio = f"{medians[name] / medians['perframe']:.1f}" if name in found else ""
            print(f"| {name} | {f'{medians[name]:.2f} s' if name in found else 'not found'} | {ratio} |")
        print(
            "\n| mistake | tool | exit code | lines on stdout | on stderr | traceback |\n|---|---|---|---|---|---|"
        )
        for mistake in TOOLS["perframe"][1]:
            for name, (_, cases) in TOOLS.items():
                if name in found and mistake in cases:
                    _, done = run(folder, *found[name], *cases[mistake].split())
                    out, err = (len(text.splitlines()) for text in (done.stdout, done.stderr))
                    traceback = "yes" if "\n  File " in done.stdout + done.stderr else "no"
                    print(f"| {mistake} | {name} | {done.returncode} | {out} | {err} | {traceback} |")


if __name__ == "__main__":
    main()
