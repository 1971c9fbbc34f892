"""How long a user waits for help: perframe beside Polygraphy and a bare interpreter."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15


def seconds(*command: str) -> float:
    """Return how long one run of a command takes."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print the medians and the ratio."""
    scripts = Path(sys.executable).parent
    commands = {
        "python -c pass": (sys.executable, "-c", "pass"),
        "perframe --help": (str(scripts / "perframe"), "--help"),
        "polygraphy --help": (str(scripts / "polygraphy"), "--help"),
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            found[name].append(seconds(*command))
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, value in medians.items():
        print(f"{name}: {value * 1e3:.0f} ms (slowest {max(found[name]) * 1e3:.0f} ms)")
    print(f"  perframe / polygraphy: {medians['perframe --help'] / medians['polygraphy --help']:.2f}")


if __name__ == "__main__":
    main()
