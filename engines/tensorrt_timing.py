"""How long TensorRT's kernels took when they were tried, kept on disk: later builds try only what is new."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perframe.engines.cuda import DeviceIdentity
from perframe.engines.tensorrt_api import TrtIBuilderConfig, TrtITimingCache
from perframe.engines.tensorrt_library import LOG, TensorRtLibrary
from perframe.errors import UnavailableError
from perframe.files import atomic_path, user_cache


def timings_path(library: TensorRtLibrary, gpu: DeviceIdentity) -> Path:
    """Return where timings are kept: they hold for one version of the library on one GPU."""
    held = f"{library.name} {library.version} {gpu.name} {gpu.uuid} {gpu.compute_capability}"
    return user_cache("timings") / hashlib.sha256(held.encode()).hexdigest()


@contextmanager
def kept_timings(config: TrtIBuilderConfig, path: Path) -> Iterator[None]:
    """Build with the timings kept at `path`, and keep those that the build adds.

    Of two builds at the same time, the later one's timings stay; what the other added is tried again some day. Timings
    that cannot be read or written are done without.

    Args:
        config: Of the build inside the context.
        path: See `timings_path`.
    """
    cache = _read(config, path)
    # TensorRT holds no reference: `cache` must live until the build has ended.
    config.set_timing_cache(cache, False)
    yield
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as target:
            target.write_bytes(cache.serialize())
    except (OSError, UnavailableError) as error:
        LOG.warning("Timings are not kept: %s", error)


def _read(config: TrtIBuilderConfig, path: Path) -> TrtITimingCache:
    try:
        kept = path.read_bytes()
    except OSError:
        kept = b""
    # None is TensorRT's answer to what is damaged or another version's.
    cache = config.create_timing_cache(kept) or config.create_timing_cache(b"")
    assert cache is not None, "an empty cache can always be made"
    return cache
