"""The command lines that measure the same again."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from perframe.analysis.sweep_plan import SweepPlan
from perframe.errors import one_line
from perframe.profiler.result import Profile
from perframe.report.units import shape_text

Told = str | float | None
# Options with their values here and those that they have anyway.
Options = Mapping[str, tuple[Told, Told]]

_COLUMNS = 80
_INPUT = "3x224x224"
_LOWER = ("fp16", "bf16", "int8")


def sweep_command(plan: SweepPlan, output: str) -> list[str]:
    """Return the command line of a sweep, an option with its value in each part.

    Args:
        plan: The sweep.
        output: The folder of the results.
    """
    measurement = plan.measurement
    untrained = [each for each in plan.configurations if each.checkpoint is None]
    trained = dict.fromkeys(each.checkpoint for each in plan.configurations if each.checkpoint is not None)
    precisions = dict.fromkeys(each.precision.name for each in plan.configurations)
    images = {each.precision.images for each in plan.configurations if each.precision.images is not None}
    numbers: Options = {
        "--group-sizes": (_listed(each.group_size for each in untrained), ""),
        "--groups": (_listed(each.groups for each in untrained), ""),
    }
    options: Options = {
        "--images": (images.pop().name if images else None, None),
        "--engine": (plan.engine, "torch" if plan.regime == "training" else "onnxruntime"),
        "--device": (plan.device, "cpu"),
        "--provider": (plan.provider, None),
        "--threads": (plan.threads, None),
        "--regime": (plan.regime, "inference"),
        "--runs": (plan.runs, 2),
        "--windows": (measurement.windows, 5),
        "--window-s": (measurement.window_s, None),
        "--warm-up-s": (measurement.warm_up_s, 10.0),
        "--fps": (measurement.fps, None),
        "--sensor": (_without_folder(plan.sensor), "auto"),
        "--watts": (plan.watts, 10.0),
        "--calibration": (plan.calibration.name if plan.calibration is not None else None, None),
        "--input": (shape_text(plan.input_shape), _INPUT),
        "--width": (plan.width, 1.0),
        "--classes": (plan.classes, 1000),
        "--seed": (plan.seed, 0),
    }
    flags = {
        "--no-layers": measurement.layer_s == 0.0,
        "--allow-other-processes": measurement.allow_other_processes,
    }
    return [
        "perframe sweep",
        *_each("--family", dict.fromkeys(each.family for each in untrained)),
        *_given(numbers),
        *_each("--checkpoint", (path.name for path in trained)),
        *_each("-b", measurement.batches if measurement.batches != (1,) else ()),
        *_each("--precision", precisions if list(precisions) != ["fp32"] else ()),
        *_given(options),
        *_set(flags),
        f"-o {_word(output)}",
    ]


def profile_command(profile: Profile, output: str) -> list[str]:
    """Return the command line that measures a network as this profile did, an option with its value in each part.

    The network's file, a calibration and images for int8 are not known by name: they get one.

    Args:
        profile: The profile; a comment stands for one that was imported.
        output: The result.
    """
    model, engine, identity, plan = profile.model, profile.engine, profile.identity, profile.plan
    if plan is None:
        return [f"# {one_line(model.name)} was imported: another program measured it"]
    options: Options = {
        "--precision": (model.precision if model.precision in _LOWER else None, None),
        "--images": ("IMAGES" if model.precision == "int8" else None, None),
        "--engine": (engine.backend, "onnxruntime"),
        "--device": (engine.device, "fake" if engine.backend == "fake" else "cpu"),
        "--provider": (_provider(profile), None),
        "--threads": (engine.threads, None),
        "--input": (shape_text(model.input_shape) or None, _INPUT),
        "--rebuilds": (max(len(each.builds) for each in profile.batches) or 1, 1),
        "--regime": (profile.regime, "inference"),
        "--sensor": (_sensor(identity), None),
        "--watts": (identity.get("sensor_watts_per_core"), 10.0),
        "--calibration": (_calibration(profile), None),
        "--windows": (plan.windows, 10),
        "--window-s": (plan.window_s, None),
        "--edge-error": (plan.edge_error, 0.005),
        "--warm-up-s": (plan.warm_up_s, 10.0),
        "--fps": (plan.fps, None),
        "--layer-energy": (plan.layer_energy, "attributed"),
        "--layer-budget": (plan.layer_budget_s, None),
        "--seed": (plan.seed, 0),
    }
    flags = {
        "--dynamic": "," in str(identity.get("engine_batches")),
        "--transfers": plan.transfers,
        "--allow-other-processes": plan.allow_other_processes,
        "--no-layers": plan.layer_s == 0.0,
    }
    # The torch engine runs what a network was trained as.
    ending = "pth.tar" if engine.backend == "torch" else "onnx"
    return [
        "perframe profile",
        _word(f"{file_name(model.name)}.{ending}"),
        *_each("-b", plan.batches if plan.batches != (1,) else ()),
        *_given(options),
        *_tensorrt(identity),
        *_set(flags),
        f"-o {_word(output)}",
    ]


def file_name(name: str) -> str:
    """Return a name out of a result as that of a file."""
    return re.sub(r"[^\w.+-]+", "_", name, flags=re.ASCII).lstrip("-.") or "network"


def distinct(names: Iterable[str]) -> list[str]:
    """Return names of which those that came before are numbered."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return found


def wrapped(parts: Sequence[str]) -> str:
    """Return a command line that is broken between options where it is long."""
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + 1 + len(part) > _COLUMNS:
            lines[-1] += " \\"
            lines.append(f"    {part}")
        else:
            lines[-1] += f" {part}"
    return "\n".join(lines)


def _sensor(identity: Mapping[str, Told]) -> str:
    sensor = identity.get("sensor")
    argument = {"sim": "sensor_preset", "replay": "sensor_file"}.get(str(sensor))
    return "none" if sensor is None else f"{sensor}:{identity.get(argument)}" if argument else str(sensor)


def _provider(profile: Profile) -> str | None:
    """ONNX Runtime's provider, unless it is the one that fits the device; other runtimes have but one."""
    engine = profile.engine
    fits = engine.backend != "onnxruntime" or engine.device.startswith(engine.provider)
    return None if fits else engine.provider


def _calibration(profile: Profile) -> str | None:
    used = any(each.energy.calibration is not None for each in profile.batches)
    return "CALIBRATION.json" if used else None


def _tensorrt(identity: Mapping[str, Told]) -> list[str]:
    """What TensorRT was told about the build, which stands in the identity as text."""
    parts = []
    for key, value in identity.items():
        if key == "tensorrt_targets":
            parts += _each("--target", re.findall(r"'([^']*)'", str(value)))
        elif key.startswith("tensorrt_") and value != "False":
            name = key.removeprefix("tensorrt_").replace("_", "-").replace("workspace-bytes", "workspace")
            parts.append(f"--{name}" if value == "True" else f"--{name} {_word(value)}")
    return parts


def _without_folder(sensor: str) -> str:
    name, colon, argument = sensor.partition(":")
    return f"{name}{colon}{Path(argument).name}"


def _listed(numbers: Iterable[int | None]) -> str:
    return ",".join(str(each) for each in dict.fromkeys(numbers) if each is not None)


def _each(option: str, values: Iterable[str | int]) -> list[str]:
    return [f"{option} {_word(value)}" for value in values]


def _given(options: Options) -> list[str]:
    """Options with their values, those left out whose value is not known or what they have anyway."""
    return [
        f"{option} {_word(value)}"
        for option, (value, usual) in options.items()
        if value is not None and value != usual
    ]


def _set(flags: Mapping[str, bool]) -> list[str]:
    return [flag for flag, is_set in flags.items() if is_set]


def _word(value: Told) -> str:
    if isinstance(value, float) and float(f"{value:g}") == value:
        value = f"{value:g}"
    return shlex.quote(one_line(str(value)))
