"""perframe export --precision, as a user types it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest

from perframe.cli import run

SHAPE = ("--input", "3x64x64")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def perframe(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command in this process, as the `perframe` script does."""

    def run_here(*arguments: object) -> Ended:
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run_here


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("images") / "images.npz"
    values = np.random.default_rng(0).standard_normal((8, 3, 64, 64), np.float32)
    np.savez(path, images=values, labels=np.arange(8))
    return path


def refused(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended
    assert ended.out == ""
    lines = ended.err.splitlines()
    assert len(lines) == 2, ended.err
    for word in words:
        assert word in ended.err


def test_int8_with_images_and_labels(
    perframe: Command, checkpoint: Path, images: Path, tmp_path: Path
) -> None:
    ended = perframe(
        *("export", checkpoint, "-o", tmp_path / "m.onnx", *SHAPE),
        *("--precision", "int8", "--images", images, "--calibrator", "minmax", "--labelled", images),
    )
    assert ended.code == 0, ended.err
    assert "m.onnx: int8, opset 20" in ended.out
    assert "calibrated by minmax on 8 images" in ended.out
    assert "28 of 28 convolutions and matrix products in int8" in ended.out
    assert "largest error a layer adds" in ended.out
    assert "Top-1 on 8 images" in ended.out


def test_one_json_document_says_it_all(
    perframe: Command, onnx_file: Path, images: Path, tmp_path: Path
) -> None:
    ended = perframe(
        *(
            "export",
            onnx_file,
            "-o",
            tmp_path / "m.onnx",
            "--precision",
            "fp16",
            "--labelled",
            images,
            "--json",
        )
    )
    assert ended.code == 0, ended.err
    document = json.loads(ended.out)
    assert (document["precision"], document["quantised"], document["unquantised"]) == ("fp16", [], [])
    assert document["parity"]["worst_layer"]
    assert document["parity"]["worst_layer_error"] < document["parity"]["tolerance"]
    shares = document["accuracy"]
    assert shares["exported"]["n"] == shares["agreement"]["n"] == 8
    assert 0 <= shares["agreement"]["low"] <= shares["agreement"]["value"] <= shares["agreement"]["high"] <= 1


def test_int8_needs_images(perframe: Command, checkpoint: Path, images: Path, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "m.onnx", *SHAPE)
    refused(perframe("export", checkpoint, *out, "--precision", "int8"), 2, "--images")
    refused(perframe("export", checkpoint, *out, "--precision", "fp16", "--images", images), 2, "fp16")
    refused(perframe("export", checkpoint, *out, "--precision", "int4"), 2)
    refused(
        perframe("export", checkpoint, "-o", images, *SHAPE, "--precision", "int8", "--images", images),
        2,
        "the output is also the input",
    )


def test_images_that_do_not_fit(perframe: Command, onnx_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    export = ("export", onnx_file, "-o", out, "--precision", "int8", "--images")
    (tmp_path / "empty").mkdir()
    refused(perframe(*export, tmp_path / "empty"), 5, "expected pictures")
    refused(perframe(*export, tmp_path / "missing.npz"), 5, "missing.npz")
    np.save(tmp_path / "small.npy", np.zeros((2, 3, 32, 32), np.float32))
    refused(perframe(*export, tmp_path / "small.npy"), 5, "n x 3x64x64", "2x3x32x32")
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    refused(perframe(*export, tmp_path / "objects.npy"), 5, "pickled objects")
    assert not out.exists()


def test_labels_that_do_not_fit(perframe: Command, onnx_file: Path, images: Path, tmp_path: Path) -> None:
    given = np.load(images)["images"]
    np.savez(tmp_path / "l.npz", images=given, labels=np.arange(8) + 3)
    export = ("export", onnx_file, "-o", tmp_path / "m.onnx", "--precision", "fp16", "--no-parity")
    refused(perframe(*export, "--labelled", tmp_path / "l.npz"), 5, "10 classes", "found 10")
    assert not (tmp_path / "m.onnx").exists()


def test_an_onnx_file_is_exported_to_another_precision_only(
    perframe: Command, onnx_file: Path, tmp_path: Path
) -> None:
    half, out = tmp_path / "half.onnx", tmp_path / "m.onnx"
    refused(perframe("export", onnx_file, "-o", out), 2, "nothing to export in fp32")
    assert perframe("export", onnx_file, "-o", half, "--precision", "fp16", "--no-parity").code == 0
    refused(
        perframe("export", half, "-o", out, "--precision", "bf16"), 5, "expected an fp32 model, found fp16"
    )
    refused(perframe("export", half, "-o", half, "--precision", "bf16"), 2, "also the input")


def test_parity_that_fails_ends_with_7(perframe: Command, onnx_file: Path, tmp_path: Path) -> None:
    model = onnx.load(str(onnx_file))
    for tensor in model.graph.initializer:
        if tensor.name.startswith("stem.conv."):
            values = onnx.numpy_helper.to_array(tensor) * np.float32(1e6)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(model, str(tmp_path / "large.onnx"))
    out = tmp_path / "m.onnx"
    ended = perframe("export", tmp_path / "large.onnx", "-o", out, "--precision", "fp16")
    refused(ended, 7, "parity failed", "stem.conv", "bf16")
    assert not out.exists()


def test_a_precision_that_the_device_has_no_kernels_for(
    perframe: Command, onnx_file: Path, tmp_path: Path
) -> None:
    model = tmp_path / "m.onnx"
    assert perframe("export", onnx_file, "-o", model, "--precision", "bf16", "--no-parity").code == 0
    refused(perframe("build", model, "-o", tmp_path / "m.engine"), 6, "no kernel", "bf16")
