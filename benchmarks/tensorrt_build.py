"""How long TensorRT-RTX takes to build the 22 published configurations without a GPU, and to find them again.

Batch 1, 224 x 224, fp32; the ONNX files are exported before the time starts. "built" is everything from the open ONNX
model to the engine and its sidecar; "found" is the look-up of a kept engine, and beside it hashing the engine's bytes.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from perframe.engines.base import BuildSpec
from perframe.engines.cache import find_engine
from perframe.engines.convert import convert, new_checkpoint
from perframe.engines.registry import backend_named
from perframe.export.onnx_model import open_onnx, resolve_input_shapes
from perframe.files import sha256_of

# Family, G of the E2GC form, g of the FgGC form.
CONFIGURATIONS: list[tuple[str, int | None, int | None]] = [
    (family, group_size, groups)
    for family in ("mobilenet-v1", "resnext50")
    for group_size, groups in (
        *((each, None) for each in (1, 2, 4, 8, 16, 32)),
        *((None, each) for each in (2, 4, 8, 16, 32)),
    )
]


def main() -> None:
    """Print one line per configuration, and the sums."""
    built_s: list[float] = []
    searched_s: list[float] = []
    with tempfile.TemporaryDirectory(prefix="perframe-") as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        backend = backend_named("tensorrt-rtx")
        for family, group_size, groups in CONFIGURATIONS:
            checkpoint, file = folder / "n.pth.tar", folder / "n.onnx"
            architecture = new_checkpoint(family, checkpoint, group_size=group_size, groups=groups)
            convert(checkpoint, file, parity=False)
            model = open_onnx(file)
            spec = BuildSpec(resolve_input_shapes(model, 1), device=backend.default_device)
            started = time.perf_counter()
            artifact = backend.build(model, spec, folder / "engine")
            built_s.append(time.perf_counter() - started)
            found_s, hash_s = _found(folder)
            searched_s.append(found_s - hash_s)
            size = artifact.path.stat().st_size / 1e6
            print(
                f"{architecture.name:24} built in {built_s[-1]:5.2f} s, {size:6.1f} MB; "
                f"found in {found_s * 1e3:5.1f} ms, of which hashing {hash_s * 1e3:5.1f} ms"
            )
    print(f"{len(built_s)} configurations on {os.cpu_count()} cores: {sum(built_s):.1f} s")
    print(f"slowest look-up without hashing: {max(searched_s) * 1e3:.1f} ms")


def _found(folder: Path) -> tuple[float, float]:
    """Seconds to find the last engine that was kept, and of these to hash its bytes."""
    kept = max((folder / "cache").rglob("engine"), key=lambda path: path.stat().st_mtime)
    hash_s = min(_seconds(lambda: sha256_of(kept)) for _ in range(3))
    found_s = min(_seconds(lambda: find_engine(kept.parent.name)) for _ in range(3))
    return found_s, hash_s


def _seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
