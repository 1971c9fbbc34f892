"""What each precision costs in accuracy, on a network that was really trained.

scikit-learn's handwritten digits (1797 grey images of 8 x 8, each pixel enlarged to 4 x 4), MobileNet-V1 in E2GC form
at a quarter of its width. The network is trained here, exported in fp32, fp16, bf16 and int8 as `perframe export`
does, and its answers are counted on images that neither training nor calibration has seen.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perframe.arrays import Array
from perframe.engines.convert import Conversion, convert
from perframe.engines.lower import PrecisionSpec
from perframe.export.ranges import CALIBRATORS

SHAPE = (3, 32, 32)
TEST_IMAGES = 500
CALIBRATION_IMAGES = 256


@dataclass(frozen=True)
class Digits:
    """Images (n, 3, 32, 32), normalised, and labels (n,): for training, and for testing."""

    images: Array
    labels: Array
    test_images: Array
    test_labels: Array


def load_digits(seed: int = 0) -> Digits:
    """Load the digits and part them at random."""
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    grey = np.kron(pixels.reshape(-1, 1, 8, 8), np.ones((1, 3, 4, 4)))
    images = ((grey - grey.mean()) / grey.std()).astype(np.float32)
    order = np.random.default_rng(seed).permutation(len(labels))
    test, train = order[:TEST_IMAGES], order[TEST_IMAGES:]
    return Digits(images[train], labels[train], images[test], labels[test])


def train(digits: Digits, checkpoint: Path, *, group_size: int, epochs: int, seed: int = 0) -> None:
    """Train MobileNet-V1 in E2GC form and write its checkpoint."""
    import torch
    from torch import nn

    from perframe.export.architecture import make_architecture
    from perframe.export.checkpoint import save_checkpoint
    from perframe.export.networks import new_network

    architecture = make_architecture("mobilenet-v1", group_size=group_size, width=0.25, classes=10)
    network = new_network(architecture, seed=seed, input_size=SHAPE[1:]).train()
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    chance = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    batches = len(images) // 64
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=epochs * batches)
    for _ in range(epochs):
        # What is left over of an epoch, less than a batch, is another share of the images each time.
        for batch in torch.randperm(len(images), generator=chance)[: batches * 64].split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
            optimiser.step()
            schedule.step()
    save_checkpoint(checkpoint, network.eval(), architecture)


def export_all(digits: Digits, checkpoint: Path, folder: Path) -> dict[str, Conversion]:
    """Export a checkpoint in every precision, int8 by both calibrators, and count right answers."""
    calibration, labelled, fp32 = folder / "calibration.npy", folder / "test.npz", folder / "fp32.onnx"
    np.save(calibration, digits.images[:CALIBRATION_IMAGES])
    np.savez(labelled, images=digits.test_images, labels=digits.test_labels)
    specs = {name: PrecisionSpec(name) for name in ("fp16", "bf16")}
    specs |= {f"int8 {how}": PrecisionSpec("int8", calibration, how) for how in CALIBRATORS}
    return {"fp32": convert(checkpoint, fp32, input_shape=SHAPE, labelled=labelled)} | {
        name: convert(fp32, folder / "narrow.onnx", precision=spec, labelled=labelled)
        for name, spec in specs.items()
    }


def table(exports: dict[str, Conversion]) -> str:
    """One line per precision."""
    lines = [f"{'precision':14}{'right':>7}{'top-1':>9}{'95 %':>18}{'as fp32':>9}{'layer error':>13}"]
    for precision, done in exports.items():
        assert done.accuracy is not None and done.parity is not None
        found, error = done.accuracy.exported, done.parity.worst_layer_error
        lines.append(
            f"{precision:14}{found.count:7}{found.value:9.1%}{f'{found.low:.1%} to {found.high:.1%}':>18}"
            f"{done.accuracy.agreement.count:9}{'' if error is None else f'{error:.1e}':>13}"
        )
    return "\n".join(lines)


def main() -> None:
    """Train, export, and print a table per group size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--group-size", type=int, nargs="+", default=[8], metavar="G")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    digits = load_digits(arguments.seed)
    for group_size in arguments.group_size:
        with tempfile.TemporaryDirectory() as name:
            checkpoint, started = Path(name) / "digits.pth", time.perf_counter()
            train(digits, checkpoint, group_size=group_size, epochs=arguments.epochs, seed=arguments.seed)
            train_s = time.perf_counter() - started
            exports = export_all(digits, checkpoint, Path(name))
        print(f"G = {group_size}: {arguments.epochs} epochs in {train_s:.0f} s, {TEST_IMAGES} test images")
        print(table(exports), end="\n\n")


if __name__ == "__main__":
    main()
