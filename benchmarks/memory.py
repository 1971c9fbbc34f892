"""Peak memory of a whole profile beside a bare ONNX Runtime loop: ResNeXt-50 G = 32 at batch 16."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from perframe.engines.convert import convert, new_checkpoint

BATCH = 16
BARE = f"""
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
image = numpy.random.default_rng(0).standard_normal(({BATCH}, 3, 224, 224), dtype=numpy.float32)
for _ in range(5):
    session.run(None, {{"input": image}})
"""


def peak_bytes(*arguments: str) -> int:
    """Run a Python program; return the largest resident memory it had."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{arguments} failed")
    return usage.ru_maxrss * 1024


def main() -> None:
    """Print both peaks and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        checkpoint, model = Path(name) / "n.pth", Path(name) / "n.onnx"
        new_checkpoint("resnext50", checkpoint, group_size=32)
        convert(checkpoint, model, parity=False)
        bare = peak_bytes("-c", BARE, str(model))
        command = (
            "-m",
            "perframe",
            "profile",
            str(model),
            "-b",
            str(BATCH),
            "--windows",
            "2",
            "--warm-up-s",
            "3",
        )
        ours = peak_bytes(*command)
    print(
        f"peak memory, ResNeXt-50 G = 32, batch {BATCH}: bare loop {bare / 1e6:.0f} MB, perframe {ours / 1e6:.0f} MB"
    )
    print(f"  perframe / bare loop: {ours / bare:.2f}")


if __name__ == "__main__":
    main()
