"""Images of the user's: arrays as the network takes them, pictures, labels, and everything that is neither."""

import sys
from pathlib import Path

import numpy as np
import pytest

from perframe.arrays import Array
from perframe.errors import InputError, UnavailableError
from perframe.export.images import read_images, read_labelled

SHAPE = (3, 8, 8)


def images(count: int = 5, *shape: int) -> Array:
    return np.random.default_rng(0).standard_normal((count, *(shape or SHAPE)), np.float32)


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_images(path, SHAPE)
    for word in (str(path), *words):
        assert word in caught.value.message


def test_arrays_are_taken_as_they_are(tmp_path: Path) -> None:
    wanted = images()
    np.save(tmp_path / "a.npy", wanted)
    np.savez(tmp_path / "named.npz", images=wanted, other=np.zeros(3))
    np.savez_compressed(tmp_path / "alone.npz", whatever=wanted.astype(np.float64))
    for name in ("a.npy", "named.npz", "alone.npz"):
        found = read_images(tmp_path / name, SHAPE)
        assert found.images.dtype == np.float32
        np.testing.assert_array_equal(found.images, wanted)
        assert found.available == 5
    assert len({read_images(tmp_path / n, SHAPE).sha256 for n in ("a.npy", "named.npz", "alone.npz")}) == 1


def test_of_many_some_are_taken_evenly_spread(tmp_path: Path) -> None:
    # Sorted by class, as data sets are: the first ones would all be of one class.
    many = np.arange(2000, dtype=np.float32).reshape(-1, 1, 1, 1) * np.ones((1, 1, 2, 2), np.float32)
    np.save(tmp_path / "a.npy", many)
    found = read_images(tmp_path / "a.npy", (1, 2, 2))
    assert (len(found.images), found.available) == (512, 2000)
    steps = np.diff(found.images[:, 0, 0, 0])
    assert set(steps) == {3.0, 4.0}
    assert found.images[-1, 0, 0, 0] > 1990


def test_arrays_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    for wrong, words in (
        (images(2, 3, 9, 8), ("n x 3x8x8", "found 2x3x9x8")),
        (images(2, 8, 8, 3), ("found 2x8x8x3",)),
        (images(1)[0], ("found 3x8x8",)),
        (np.float32(1.0), ("a single number",)),
        (images(0), ("at least one image",)),
        (np.zeros((2, *SHAPE), np.uint8), ("expected floats", "found uint8")),
        (np.ones((2, *SHAPE), np.float32), ("every value of every image is 1",)),
    ):
        np.save(path, wrong)
        refused(path, *words)
    broken = images()
    broken[3, 0, 0, 0], broken[4, 1, 1, 1] = np.nan, np.inf
    np.save(path, broken)
    refused(path, "image 3 holds values that are not finite, and 1 more do")


def test_files_that_are_no_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=np.array([{"code": "runs"}], object))
    refused(path, "pickled objects, which are not read")
    np.savez(path, first=images(), second=images())
    refused(path, "'images'", "found first, second")
    np.savez(path)
    refused(path, "found none")
    path.write_bytes(b"PK\x03\x04 cut off")
    refused(path, "something else")
    path.write_bytes(b"plain text")
    refused(path)
    refused(tmp_path / "missing.npz")
    path.write_bytes(b"")
    refused(path, "empty file")


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none here")
    refused(tmp_path, "expected pictures", ".png")


def test_pictures_are_prepared_as_imagenet_networks_see_them(tmp_path: Path) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (tmp_path / "cats").mkdir()
    # 16 wide and 32 high in one colour but for the upper and lower margins, which the cut leaves out.
    colour = np.array([255, 0, 128], np.uint8)
    tall = np.full((32, 16, 3), colour)
    tall[:8], tall[-8:] = 7, 9
    pillow.fromarray(tall).save(tmp_path / "cats" / "a.png")
    pillow.fromarray(np.arange(256).astype(np.uint8).reshape(16, 16)).save(tmp_path / "b.PNG")
    found = read_images(tmp_path, SHAPE)
    assert (found.images.shape, found.available) == ((2, *SHAPE), 2)
    assert found.images.dtype == np.float32
    # Sorted by path: upper case before lower.
    centre = found.images[1]
    expected = (colour / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(centre[:, 4, 4], expected, rtol=1e-5)
    with pytest.raises(InputError, match="3 channels, the network takes 1"):
        read_images(tmp_path, (1, 8, 8))

    (tmp_path / "c.jpg").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"c\.jpg: not a picture"):
        read_images(tmp_path, SHAPE)


def test_pictures_need_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"whatever")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(UnavailableError, match="Pillow") as caught:
        read_images(tmp_path, SHAPE)
    assert "pip install pillow" in caught.value.hint


def test_labels_belong_to_images(tmp_path: Path) -> None:
    path, labels = tmp_path / "a.npz", np.array([0, 4, 1, 1, 3])
    np.savez(path, images=images(), labels=labels)
    found = read_labelled(path, SHAPE)
    np.testing.assert_array_equal(found.images, images())
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (np.arange(4), r"shape \(4,\)"),
        (np.arange(5.0), "float64"),
        (np.eye(5, dtype=int), r"shape \(5, 5\)"),
        (np.array([0, 1, -1, 2, 3]), "integers from 0"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, labels: Array, found: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=images(), labels=labels)
    with pytest.raises(InputError, match=found):
        read_labelled(path, SHAPE)


def test_labelled_images_need_both_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, images=images())
    with pytest.raises(InputError, match="expected an array 'labels', found images"):
        read_labelled(path, SHAPE)
    np.savez(path, labels=np.arange(5), pictures=images())
    with pytest.raises(InputError, match="expected an array 'images'"):
        read_labelled(path, SHAPE)
