"""How long a report of the full grid takes, how large it is, and what of that is reading.

Without an argument the published grid (22 networks x 3 batch sizes x 2 runs) is first swept with the fake engine, which
takes some minutes of exporting; give a folder of results to measure a report of your own.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from perframe.analysis.accuracy_table import published_table
from perframe.report.collect import collect
from perframe.report.page import report_page

ROUNDS = 5
SWEEP = (
    "sweep --family mobilenet-v1 --family resnext50 --group-sizes 1,2,4,8,16,32 --groups 2,4,8,16,32"
    " -b 1 -b 4 -b 16 --engine fake --sensor sim:a100 --windows 5 --window-s 1"
)


def perframe(*arguments: str) -> float:
    """Run a command as a user does; return how long it took."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "perframe", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the medians."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else f"{scratch}/grid")
        if not folder.exists():
            perframe(*SWEEP.split(), "-o", str(folder))
        html = Path(scratch) / "report.html"
        whole = [perframe("report", str(folder), "-o", str(html)) for _ in range(ROUNDS)]
        reads, writes = [], []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            collected = collect([folder], published_table("imagenet-1k"))
            reads.append(time.perf_counter() - start)
            start = time.perf_counter()
            report_page(collected)
            writes.append(time.perf_counter() - start)
        profiles = sum(len(each.runs) for each in collected.measured)
        print(
            f"{profiles} profiles of {len(collected.measured)} networks, {len(collected.results.results)} results"
        )
        print(f"perframe report: {statistics.median(whole):.2f} s (slowest {max(whole):.2f} s)")
        print(
            f"  reading {statistics.median(reads):.2f} s, drawing and writing {statistics.median(writes):.2f} s"
        )
        print(f"report.html: {html.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
