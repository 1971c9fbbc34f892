"""Several builds of one engine as one result: what differs from build to build enters the uncertainty.

A compiler that chooses kernels by trying them makes another engine each time. The windows of one build say nothing of
the next, so each build is one observation of every mean.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from perframe.engines.base import EngineArtifact
from perframe.profiler.result import BatchResult, Build, Energy, Latency, Spent
from perframe.profiler.stats import Estimate, mean_interval
from perframe.profiler.summary import relative_uncertainty


def across_builds(results: Sequence[BatchResult]) -> BatchResult:
    """Return one result for the builds of one engine, measured at one batch size.

    Means are over builds, with Student's t over them; percentiles are the builds' mean. Windows, and the time they
    took, are those of all builds. Layers, the camera's pace and the device's state are the first build's.

    Args:
        results: One per build, at least one.
    """
    first = results[0]
    if len(results) == 1:
        return first
    latencies = [result.latency for result in results if result.latency is not None]
    spent = [result.spent for result in results if result.spent is not None]
    found = {quality: None for result in results for quality in result.quality}
    return replace(
        first,
        latency=_latency(latencies) if latencies else None,
        energy=_energy([result.energy for result in results]),
        builds=tuple(build for result in results for build in result.builds),
        quality=tuple(found),
        spent=sum(spent, Spent()) if spent else None,
    )


def build_of(artifact: EngineArtifact, result: BatchResult) -> Build:
    """Sum up what one build of an engine cost."""
    return Build(
        artifact_sha256=artifact.sha256,
        build_s=artifact.build_s,
        windows=len(result.energy.windows),
        latency_s=result.latency.mean.value if result.latency else None,
        epf_j=result.energy.epf_j.value if result.energy.epf_j else None,
    )


def _latency(each: Sequence[Latency]) -> Latency:
    return Latency(
        p50_s=fmean(latency.p50_s for latency in each),
        p90_s=fmean(latency.p90_s for latency in each),
        p99_s=fmean(latency.p99_s for latency in each),
        mean=mean_interval([latency.mean.value for latency in each]),
        frames_per_s=fmean(latency.frames_per_s for latency in each),
        samples=sum(latency.samples for latency in each),
    )


def _energy(each: Sequence[Energy]) -> Energy:
    windows = tuple(window for energy in each for window in energy.windows)
    edge_errors = [energy.edge_error for energy in each if energy.edge_error is not None]
    edge_error = max(edge_errors, default=None)
    epf_j = _over([energy.epf_j for energy in each])
    return replace(
        each[0],
        epf_j=epf_j,
        epf_above_idle_j=_over([energy.epf_above_idle_j for energy in each]),
        power_w=_over([energy.power_w for energy in each]),
        edge_error=edge_error,
        relative_uncertainty=relative_uncertainty(
            epf_j, edge_error, polled=any(window.readings is not None for window in windows)
        ),
        windows=windows,
    )


def _over(estimates: Sequence[Estimate | None]) -> Estimate | None:
    values = [estimate.value for estimate in estimates if estimate is not None]
    # A mean over the builds that a sensor happened to see would be a mean over a choice of builds.
    return mean_interval(values) if values and len(values) == len(estimates) else None
