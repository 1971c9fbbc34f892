"""perframe gate: did a frame get dearer than allowed."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from perframe.commands.gate_options import (
    METRICS,
    maxima_from,
    refuse_what_has_no_effect,
    with_maxima,
    with_measuring,
)
from perframe.commands.options import FILE, common, shapes_from

if TYPE_CHECKING:
    from perframe.analysis.pairs import Pairs
    from perframe.analysis.verdict import Judgement, Threshold


@click.command(name="gate")
@click.argument("files", type=FILE, nargs=-1, required=True, metavar="CURRENT...")
@click.option(
    "--baseline", "baselines", type=FILE, multiple=True, help="Profile compared against; repeatable."
)
@click.option("--against", type=FILE, metavar="BASE", help="Measure both in turn, now.")
@click.option("--metric", "metrics", type=click.Choice(METRICS), multiple=True, help="Repeatable [epf].")
@click.option("--max-increase", metavar="2%", help="Largest increase allowed against the baseline.")
@with_maxima
@click.option(
    "-b",
    "--batch",
    "batches",
    type=click.IntRange(1),
    multiple=True,
    help="Repeatable [all; 1 with --against].",
)
@click.option("--thresholds", "thresholds_file", type=FILE, metavar="FILE.toml", help="Several of them.")
@click.option("--ignore", multiple=True, metavar="KEY", help="Compare although this differs; repeatable.")
@click.option(
    "--run-spread", metavar="1%", help="Spread between runs, if known [measured from several runs of each]."
)
@with_measuring
@click.option("--junit", type=FILE, metavar="FILE.xml", help="Also write JUnit XML.")
@click.option("--markdown", type=FILE, metavar="FILE.md", help="Also write Markdown, for a comment.")
@click.option("--github", is_flag=True, help="Also print GitHub annotations, and fill in the step summary.")
@click.option("-o", "output", type=FILE, metavar="GATE.json", help="Also write the JSON document.")
@common
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    baselines: tuple[Path, ...],
    against: Path | None,
    metrics: tuple[str, ...],
    max_increase: str | None,
    batches: tuple[int, ...],
    thresholds_file: Path | None,
    ignore: tuple[str, ...],
    run_spread: str | None,
    junit: Path | None,
    markdown: Path | None,
    github: bool,
    output: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Judge a result by thresholds: 0 passed, 3 regression, 4 inconclusive or incomparable, 8 invalid.

    CURRENT is a profile, or several runs of one; with --against, what is to be measured. A regression is told
    before an invalid measurement, and that before what could not be judged.
    """
    from perframe.analysis.gate import judge, read_runs
    from perframe.analysis.quantities import parse_quantity
    from perframe.analysis.thresholds import thresholds_from
    from perframe.analysis.verdict import exit_code
    from perframe.files import writable_target

    refuse_what_has_no_effect(ctx, measuring=against is not None)
    if github and as_json:
        raise click.UsageError("--github prints annotations where --json prints its document.")
    read = (*files, *baselines, *(each for each in (against, thresholds_file) if each is not None))
    for target in (junit, markdown, output):
        if target is not None:
            writable_target(target, inputs=read)
    thresholds = thresholds_from(metrics, max_increase, maxima_from(options), batches, thresholds_file)
    pairs: tuple[Pairs, ...] = ()
    if against is not None:
        if len(files) != 1:
            raise click.UsageError(f"--against judges one candidate, found {len(files)}.")
        try:
            judgement, pairs = _measured(files[0], against, thresholds, batches, ignore, options)
        except KeyboardInterrupt:
            # Elsewhere what was finished is kept. Half of the pairs are no verdict.
            click.echo("error: Interrupted.\nhint: Nothing was decided, and nothing is kept.", err=True)
            ctx.exit(130)
    else:
        spread = None if run_spread is None else parse_quantity(run_spread, "%", "--run-spread")
        current, baseline = read_runs(files, baselines)
        names = [str(each) for each in files], [str(each) for each in baselines]
        judgement = judge(current, baseline, thresholds, ignore=ignore, run_spread=spread, names=names)
    try:
        _tell(judgement, pairs, junit, markdown, output, github=github, as_json=as_json)
    except (BrokenPipeError, SystemExit):
        # Whoever stopped reading (perframe gate ... | head) must not turn a regression into a pass, nor a pass
        # into a bug: rich would end with 1.
        sys.stdout = None
    ctx.exit(exit_code(judgement.outcome))


def _measured(
    candidate: Path,
    baseline: Path,
    thresholds: "tuple[Threshold, ...]",
    batches: tuple[int, ...],
    ignore: tuple[str, ...],
    options: dict[str, Any],
) -> "tuple[Judgement, tuple[Pairs, ...]]":
    from perframe.analysis.interleave import Budget, interleave, require_pairable
    from perframe.engines.prepare import device_of, engine_for
    from perframe.profiler.plan import MeasurementPlan
    from perframe.profiler.sensors.calibrated import calibrated
    from perframe.profiler.sensors.registry import sensor_from
    from perframe.report.progress import progress_bar

    asked = batches or tuple(dict.fromkeys(batch for each in thresholds for batch in each.batches)) or (1,)
    require_pairable(thresholds, asked)
    plan = MeasurementPlan(
        batches=asked,
        window_s=options["window_s"],
        warm_up_s=options["warm_up_s"],
        layer_s=1.0 if options["layers"] else 0.0,
        seed=options["seed"],
        allow_other_processes=options["allow_other_processes"],
    )
    if candidate.exists() and baseline.exists() and candidate.samefile(baseline):
        raise click.UsageError(f"{candidate}: measured against itself.")
    with ExitStack() as stack:
        device = device_of(candidate, options["engine"], options["device"])
        device_of(baseline, options["engine"], options["device"])
        source = sensor_from(options["sensor"], watts_per_core=options["watts"], device=device)
        sensor = calibrated(source, options["calibration"])
        progress = stack.enter_context(progress_bar())
        engines = [
            stack.enter_context(
                engine_for(
                    file,
                    **{
                        key: options[key]
                        for key in ("engine", "device", "provider", "threads", "factory", "trust")
                    },
                    input_shapes=shapes_from(options["inputs"]),
                    batches=asked,
                    progress=progress,
                )
            )
            for file in (baseline, candidate)
        ]
        found = interleave(
            engines[0],
            engines[1],
            plan,
            sensor,
            thresholds,
            budget=Budget(options["max_pairs"], options["budget_s"]),
            ignore=ignore,
            names=(str(baseline), str(candidate)),
            progress=progress,
            wait_s=options["wait_s"],
        )
    return found.judgement, found.pairs


def _tell(
    judgement: "Judgement",
    pairs: "tuple[Pairs, ...]",
    junit_file: Path | None,
    markdown_file: Path | None,
    output: Path | None,
    *,
    github: bool,
    as_json: bool,
) -> None:
    from perframe.files import write_text
    from perframe.report.gate import show_judgement
    from perframe.report.gate_formats import github_annotations, judgement_json, junit, markdown

    if junit_file is not None:
        write_text(junit_file, junit(judgement))
    if markdown_file is not None:
        write_text(markdown_file, markdown(judgement))
    if output is not None:
        write_text(output, judgement_json(judgement, pairs) + "\n")
    if as_json:
        click.echo(judgement_json(judgement, pairs))
    else:
        show_judgement(judgement)
    if github:
        for line in github_annotations(judgement):
            click.echo(line)
        if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
            # Shared with the other commands of the step, so it is added to.
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(markdown(judgement))
