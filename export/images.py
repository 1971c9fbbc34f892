"""Images of the user's: what int8 is calibrated on, and labelled ones that accuracy is counted on.

Arrays (`.npy`, `.npz`) hold images as the network takes them: floats of shape (n, channels, height, width),
scaled and normalised. A folder of pictures is decoded with Pillow and prepared as ImageNet networks are
trained. Arrays are read without pickle, so a file runs no code.
"""

import hashlib
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perframe.arrays import Array
from perframe.errors import InputError, UnavailableError
from perframe.files import readable_file

# More images than this change no range any more; TensorRT's guide speaks of some 500 for ImageNet networks.
_MOST_TO_CALIBRATE = 512
_PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp"})
# Mean and standard deviation of ImageNet's red, green and blue, and the share of a picture's shorter side that
# is kept: what torchvision's published classifiers are evaluated with.
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_STD = np.array((0.229, 0.224, 0.225), np.float32)
_KEPT = 224 / 256
_HOW_TO_SAVE = "Save floats of shape (n, channels, height, width), scaled and normalised as in training."


@dataclass(frozen=True)
class ImageSet:
    """Images to calibrate on.

    Attributes:
        source: Where they come from.
        images: (n, channels, height, width), float32.
        available: How many there were; `images` holds them all or some of them, evenly spread.
        sha256: Of the images' bytes.
    """

    source: Path
    images: Array
    available: int
    sha256: str


@dataclass(frozen=True)
class LabelledSet:
    """Images and what they show.

    Attributes:
        source: Where they come from.
        images: (n, channels, height, width), float32.
        labels: (n,), integers from 0: which of the network's outputs should be largest.
    """

    source: Path
    images: Array
    labels: Array


def read_images(path: Path, shape: tuple[int, ...]) -> ImageSet:
    """Read images to calibrate on.

    Args:
        path: A folder of pictures, searched with its subfolders; an `.npy`; or an `.npz` whose `images`, or
            only array, it is.
        shape: Channels, height and width that the network takes.

    Raises:
        InputError: It is missing, holds no images or misshapen ones, integers, values that are not finite,
            the same value everywhere, or pickled objects.
        UnavailableError: A folder was given and Pillow is not installed, or there is too little memory.
    """
    if path.is_dir():
        files = sorted(f for f in path.rglob("*") if f.suffix.lower() in _PICTURES and f.is_file())
        if not files:
            raise InputError(
                f"{path}: expected pictures ({', '.join(sorted(_PICTURES))}), found none.",
                "Give the folder they lie in, or an .npy or .npz of images.",
            )
        images, available = _decoded([files[i] for i in _spread(len(files))], shape), len(files)
    else:
        found = _array(path, _load(path), "images")
        _check_shape(path, found, shape)
        images, available = found[_spread(len(found))], len(found)
    images = _checked(path, images)
    return ImageSet(path, images, available, hashlib.sha256(images.data).hexdigest())


def read_labelled(path: Path, shape: tuple[int, ...]) -> LabelledSet:
    """Read images with labels.

    Args:
        path: An `.npz` with the arrays `images` and `labels`.
        shape: Channels, height and width that the network takes.

    Raises:
        InputError: See `read_images`; or labels are missing, not integers, negative or of another number.
        UnavailableError: There is too little memory.
    """
    arrays = _load(path)
    images = _array(path, arrays, "images")
    _check_shape(path, images, shape)
    labels = arrays.get("labels")
    if labels is None:
        raise InputError(
            f"{path}: expected an array 'labels', found {', '.join(arrays) or 'none'}.",
            "Save both: numpy.savez(FILE, images=..., labels=...).",
        )
    if labels.dtype.kind not in "iu" or labels.shape != images.shape[:1] or labels.min() < 0:
        raise InputError(
            f"{path}: expected {len(images)} labels, integers from 0, found {labels.dtype} of shape"
            f" {labels.shape}.",
            "Give the index of the right output for each image.",
        )
    return LabelledSet(path, _checked(path, images), labels)


def _spread(count: int) -> list[int]:
    """Indices of at most so many of `count` things, evenly spread: data sets are often sorted by class."""
    kept = min(count, _MOST_TO_CALIBRATE)
    return [index * count // kept for index in range(kept)]


def _load(path: Path) -> dict[str, Array]:
    """The arrays of a file by name; that of an `.npy` has the name ""."""
    readable_file(path, "set of images")
    try:
        # Opened here: numpy does not close a file that it cannot read.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"": loaded}
            return {name: loaded[name] for name in loaded.files}
    except MemoryError as error:
        raise UnavailableError(
            f"{path}: the images do not fit into memory.", "Give fewer; some hundred are enough."
        ) from error
    # numpy names pickled objects and foreign files alike by a ValueError.
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        kind = "pickled objects, which are not read" if "pickle" in str(error) else "something else"
        raise InputError(
            f"{path}: expected an .npy or .npz of numbers, found {kind}.",
            "Save it with numpy.save or numpy.savez, as plain floats.",
        ) from error


def _array(path: Path, arrays: dict[str, Array], name: str) -> Array:
    if name in arrays or len(arrays) == 1:
        return arrays[name] if name in arrays else next(iter(arrays.values()))
    raise InputError(
        f"{path}: expected an array {name!r}, found {', '.join(arrays) or 'none'}.",
        f"Save it with numpy.savez(FILE, {name}=...).",
    )


def _check_shape(path: Path, images: Array, shape: tuple[int, ...]) -> None:
    expected = "x".join(map(str, shape))
    if images.dtype.kind != "f":
        raise InputError(
            f"{path}: expected floats as the network takes them, found {images.dtype}.", _HOW_TO_SAVE
        )
    if images.shape[1:] != shape or images.ndim != len(shape) + 1:
        found = "x".join(map(str, images.shape)) or "a single number"
        raise InputError(f"{path}: expected images of n x {expected}, found {found}.", _HOW_TO_SAVE)
    if len(images) == 0:
        raise InputError(f"{path}: expected at least one image, found none.", _HOW_TO_SAVE)


def _checked(path: Path, images: Array) -> Array:
    images = np.ascontiguousarray(images, np.float32)
    wrong = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
    if wrong.size:
        raise InputError(
            f"{path}: image {wrong[0]} holds values that are not finite, and {wrong.size - 1} more do.",
            "Check how the images were normalised.",
        )
    if images.min() == images.max():
        raise InputError(
            f"{path}: every value of every image is {images.flat[0]:g}.", "Give the images you deploy on."
        )
    return images


def _decoded(files: list[Path], shape: tuple[int, ...]) -> Array:
    """Pictures as ImageNet networks see them: the shorter side scaled, the centre cut out, normalised."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UnavailableError(
            "Pictures need Pillow, which is not installed.", "pip install pillow, or give an .npy or .npz."
        ) from error
    channels, height, width = shape
    if channels != len(_MEAN):
        raise InputError(
            f"{files[0].parent}: pictures have 3 channels, the network takes {channels}.",
            "Give an .npy or .npz of prepared images.",
        )
    decoded = np.empty((len(files), height, width, channels), np.float32)
    for index, file in enumerate(files):
        try:
            with warnings.catch_warnings(), Image.open(file) as picture:
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                scale = max(height / picture.height, width / picture.width) / _KEPT
                size = (round(picture.width * scale), round(picture.height * scale))
                scaled = picture.convert("RGB").resize(size, Image.Resampling.BILINEAR)
        # What Pillow raises over damaged pictures, and over those too large to be meant well.
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:
            raise InputError(
                f"{file}: not a picture that Pillow can read.", "Take it out of the folder."
            ) from error
        left, top = (scaled.width - width) // 2, (scaled.height - height) // 2
        decoded[index] = np.asarray(scaled.crop((left, top, left + width, top + height)))
    normalised: Array = (decoded / 255 - _MEAN) / _STD
    return normalised.transpose(0, 3, 1, 2)
