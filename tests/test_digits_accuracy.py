"""The benchmark of accuracy, with a short training: every precision keeps what the network has learnt."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest


def test_a_trained_network_keeps_its_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    path = Path(__file__).parents[1] / "benchmarks" / "digits_accuracy.py"
    spec = importlib.util.spec_from_file_location("digits_accuracy", path)
    assert spec is not None and spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "digits_accuracy", benchmark)
    spec.loader.exec_module(benchmark)

    every = benchmark.load_digits()
    digits = replace(every, test_images=every.test_images[:100], test_labels=every.test_labels[:100])
    benchmark.train(digits, tmp_path / "digits.pth", group_size=8, epochs=4)
    exports = benchmark.export_all(digits, tmp_path / "digits.pth", tmp_path)
    assert set(exports) == {"fp32", "fp16", "bf16", "int8 entropy", "int8 minmax"}
    right = {name: done.accuracy.exported.value for name, done in exports.items()}
    assert right["fp32"] > 0.7
    # A broken layer would cost most of the answers.
    assert all(value >= right["fp32"] - 0.02 for value in right.values())
    assert all(done.accuracy.agreement.value >= 0.95 for done in exports.values())
    assert len(benchmark.table(exports).splitlines()) == 6
