"""How long 10,000 results take to be judged: read from disk, grouped, and held against every published claim.

They are the golden profile with its layers, given the names, windows and energies of the published networks, at one
batch size and at three.
"""

import json
import random
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from perframe.analysis.findings import find
from perframe.analysis.published_series import published_series
from perframe.analysis.results import read_results

RESULTS = 10_000
WINDOWS = 10
GOLDEN = Path(__file__).parents[1] / "tests" / "data" / "profile-1.json"


def main() -> None:
    """Print seconds for profiles of one batch size and of three."""
    for batches in ((1,), (1, 4, 16)):
        with tempfile.TemporaryDirectory() as scratch:
            size = _write(Path(scratch), batches)
            timed = []
            for _ in range(3):
                start_s = time.perf_counter()
                results = read_results(Path(scratch))
                read_s = time.perf_counter() - start_s
                find(results)
                timed.append((time.perf_counter() - start_s, read_s))
            total_s, read_s = min(timed)
            print(
                f"{RESULTS} profiles of {len(batches)} batch sizes ({size / 1e3:.0f} kB each,"
                f" {len(results.results)} results): {total_s:.2f} s, of which {read_s:.2f} s reading"
            )


def _write(folder: Path, batches: tuple[int, ...]) -> float:
    """Write the profiles; return their mean size in bytes."""
    chance = random.Random(0)
    document = json.loads(GOLDEN.read_text(encoding="utf-8"))
    like = {**document["batches"][0], "quality": [], "paced": None}
    tables = [one for one in published_series() if one.conditions.device == "P100"]
    cells = [
        (network.model, {one.batch: float(one.epf_j[0, column]) for one in tables if one.backbone == of})
        for of in dict.fromkeys(one.backbone for one in tables)
        for column, network in enumerate(next(one for one in tables if one.backbone == of).networks)
    ]
    written = 0
    for index in range(RESULTS):
        model, epf_j = cells[index % len(cells)]
        run = chance.gauss(1.0, 0.003)
        document |= {"created": f"run {index // len(cells)}", "model": asdict(model)}
        document["batches"] = [_batch(like, batch, run * epf_j[batch], chance) for batch in batches]
        to = folder / f"run-{index // len(cells)}"
        to.mkdir(exist_ok=True)
        written += (to / f"{model.name}.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    return written / RESULTS


def _batch(like: dict[str, object], batch: int, epf_j: float, chance: random.Random) -> dict[str, object]:
    energy = like["energy"]
    assert isinstance(energy, dict), "the golden profile has energy"
    first = energy["windows"][0]
    windows = [
        {
            **first,
            "frames": 100 * batch,
            "energy_j": (energy_j := 100 * batch * epf_j * chance.gauss(1.0, 0.003)),
            "duration_s": energy_j / 100.0,
        }
        for _ in range(WINDOWS)
    ]
    return {**like, "batch": batch, "energy": {**energy, "windows": windows}}


if __name__ == "__main__":
    main()
