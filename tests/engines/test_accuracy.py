"""Right answers, counted; and how sure one may be of the share."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest

from perframe.arrays import Array
from perframe.engines.accuracy import measure_accuracy, share
from perframe.engines.running import Runner, running
from perframe.errors import InputError
from perframe.export.images import LabelledSet


@pytest.fixture(params=["N", "4"], ids=["free batch", "batch of 4"])
def identity(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Runner]:
    """A network whose answer is the brightest of three pixels."""
    text = f"""
    <ir_version: 10, opset_import: ["": 20]>
    m (float[{request.param}, 3, 1, 1] x) => (float[{request.param}, 3] y) {{ y = Flatten(x) }}
    """
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "m.onnx"))
    with running(tmp_path / "m.onnx") as runner:
        yield runner


def brightest(answers: list[int]) -> Array:
    return np.eye(3, dtype=np.float32)[answers].reshape(-1, 3, 1, 1)


def test_answers_are_counted(identity: Runner) -> None:
    answers = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    labels = np.array([0, 1, 2, 0, 1, 2, 0, 0, 0, 1])

    def always_zero(inputs: Mapping[str, Array]) -> Array:
        return np.tile(np.array([1.0, 0.0, 0.0]), (len(inputs["x"]), 1))

    found = measure_accuracy(LabelledSet(Path("d.npz"), brightest(answers), labels), always_zero, identity)
    assert (found.exported.count, found.exported.n) == (7, 10)
    assert found.reference.count == 5
    assert found.agreement.count == 4
    assert (found.source, found.exported.value) == ("d.npz", 0.7)


def test_a_label_beyond_the_classes_is_refused(identity: Runner) -> None:
    labelled = LabelledSet(Path("d.npz"), brightest([0, 1]), np.array([0, 3]))
    with pytest.raises(InputError, match="below the network's 3 classes, found 3"):
        measure_accuracy(labelled, identity.output, identity)


def test_the_interval_is_wilsons() -> None:
    # Computed from the published formula by hand for 95 %.
    assert share(8, 10).low == pytest.approx(0.4901, abs=1e-4)
    assert share(8, 10).high == pytest.approx(0.9433, abs=1e-4)
    assert (share(10, 10).high, share(0, 10).low) == (1.0, 0.0)
    assert share(10, 10).low == pytest.approx(0.7225, abs=1e-4)


@pytest.mark.parametrize("truth", [0.5, 0.9, 0.98])
def test_the_interval_holds_the_truth_as_often_as_it_says(truth: float) -> None:
    counts = np.random.default_rng(0).binomial(200, truth, 2000)
    covered = [share(int(c), 200).low <= truth <= share(int(c), 200).high for c in counts]
    # Counts are whole, so the share of intervals that hold it steps around 95 %.
    assert 0.92 < np.mean(covered) < 0.98
