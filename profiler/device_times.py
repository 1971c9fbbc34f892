"""What a device says about its own time: events in its stream, beside what the host sees."""

from collections.abc import Sequence

from perframe.engines.device_engine import DeviceTiming, Execution
from perframe.profiler.result import DeviceTime, Quality
from perframe.profiler.stats import quantile

# From this share on, putting inferences into the stream takes as long as computing them (trtexec warns likewise).
_HOST_BOUND = 0.8


def device_time(timings: Sequence[DeviceTiming], execution: Execution) -> DeviceTime:
    """Sum up inferences timed by events.

    Args:
        timings: At least one.
        execution: How they were run.
    """
    compute = [timing.compute_s for timing in timings]
    uploads = [timing.upload_s for timing in timings if timing.upload_s is not None]
    downloads = [timing.download_s for timing in timings if timing.download_s is not None]
    return DeviceTime(
        device=str(execution.device),
        library=execution.cuda,
        graph=execution.graph,
        no_graph=execution.no_graph,
        transfers=execution.transfers,
        samples=len(compute),
        compute_p50_s=quantile(compute, 0.5),
        compute_p90_s=quantile(compute, 0.9),
        compute_p99_s=quantile(compute, 0.99),
        enqueue_p50_s=quantile([timing.enqueue_s for timing in timings], 0.5),
        upload_p50_s=quantile(uploads, 0.5) if uploads else None,
        download_p50_s=quantile(downloads, 0.5) if downloads else None,
    )


def device_time_quality(time: DeviceTime) -> tuple[Quality, ...]:
    """Say what stands between a device's own time and the latency."""
    if time.enqueue_p50_s <= _HOST_BOUND * time.compute_p50_s:
        return ()
    share = time.enqueue_p50_s / time.compute_p50_s
    return (
        Quality(
            "host-bound",
            "warning",
            f"Putting an inference into the stream takes {share:.0%} of what it takes to compute.",
            "The latency is the host's: give a larger batch"
            + ("." if time.graph else f", or mend what keeps it from being a CUDA graph: {time.no_graph}."),
        ),
    )
