"""What a checkpoint file is, and whether its zip archive is sane, told before torch touches it.

torch's own format is a zip archive whose entries are stored without compression: `<root>/data.pkl` describes
the tensors and `<root>/data/<n>` hold them. A file far from that shape is broken or hostile, and a few bytes
of a "zip bomb" would unpack to more than the memory holds.
"""

import zipfile
from pathlib import Path
from typing import Literal

from perframe.errors import InputError

Format = Literal["torch-zip", "torch-legacy", "safetensors"]

# A network of a thousand layers with its optimizer state has some ten thousand tensors, an entry each.
_MAX_ENTRIES = 20_000
# Entries are stored as they are, so their sum is below the file's size; a file zipped again may gain a
# little.
_MAX_EXPANSION = 2
# A description takes about 200 bytes per tensor.
_MAX_PICKLE_BYTES = 64 * 1024 * 1024

_NOT_CHECKPOINTS = (
    (b"version https://git-lfs", "a Git LFS pointer", "Fetch the file itself with: git lfs pull"),
    (b"<!DOCTYPE", "a web page", "Download the file itself, not the page about it."),
    (b"<html", "a web page", "Download the file itself, not the page about it."),
    (b"\x89HDF", "an HDF5 file (Keras)", "Convert the model to ONNX with tf2onnx and give the .onnx."),
    (b"GGUF", "a GGUF file", "Give a .pth, .pt, .pth.tar, .safetensors or .onnx file."),
    (b"\x1f\x8b", "a gzip file", "Unpack it first."),
)


def checkpoint_format(path: Path) -> Format:
    """Tell the format of a checkpoint from its content; the suffix says nothing.

    Args:
        path: A readable, non-empty file.

    Raises:
        InputError: It is none of the formats. What is often mistaken for one is named.
    """
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"PK\x03\x04"):
        return "torch-zip"
    # safetensors: the length of a JSON header in 8 bytes, then the header.
    if head[8:9] == b"{":
        return "safetensors"
    # Pickle protocols 2 to 5, what torch.save wrote before 1.6.
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return "torch-legacy"
    for magic, name, hint in _NOT_CHECKPOINTS:
        if head.startswith(magic):
            raise InputError(f"{path}: expected a checkpoint, found {name}.", hint)
    if path.suffix == ".onnx":
        raise InputError(
            f"{path}: expected a checkpoint, found an ONNX file.",
            "Give it to `perframe build` or `perframe profile`.",
        )
    raise InputError(
        f"{path}: expected a checkpoint, found neither a torch file nor safetensors.",
        "Was the download or copy cut off? Give a .pth, .pt, .pth.tar or .safetensors file.",
    )


def check_archive(path: Path) -> None:
    """Refuse a zip archive that torch should not be asked to open.

    Raises:
        InputError: It is cut off, holds too many entries, unpacks to far more than its own size, has an
            absurd description, is not torch's, or is a TorchScript program.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{path}: this checkpoint is cut off or corrupt (its archive has no valid directory).",
            "Copy or download it again.",
        ) from error
    size = path.stat().st_size
    unpacked = sum(entry.file_size for entry in entries)
    if len(entries) > _MAX_ENTRIES:
        raise InputError(
            f"{path}: {len(entries)} entries in the archive, expected at most {_MAX_ENTRIES}.",
            "This is no checkpoint; do not open it.",
        )
    if unpacked > _MAX_EXPANSION * size:
        raise InputError(
            f"{path}: {size} bytes that unpack to {unpacked}, expected about as many (a zip bomb?).",
            "torch.save stores tensors uncompressed; save the checkpoint again with it.",
        )
    names = [entry.filename for entry in entries]
    described = [
        entry for entry in entries if entry.filename.endswith("/data.pkl") or entry.filename == "data.pkl"
    ]
    if not described:
        raise InputError(
            f"{path}: a zip archive without a data.pkl, expected one written by torch.save.",
            "If it holds a checkpoint, unpack it and give that file.",
        )
    if any(entry.file_size > _MAX_PICKLE_BYTES for entry in described):
        raise InputError(
            f"{path}: its description takes {max(entry.file_size for entry in described)} bytes, "
            f"expected at most {_MAX_PICKLE_BYTES}.",
            "Save the state dict alone: torch.save(model.state_dict(), FILE).",
        )
    if any(name.endswith("/constants.pkl") for name in names):
        raise InputError(
            f"{path}: a TorchScript program, expected a state dict.",
            "Export it to ONNX with torch.onnx.export and give the .onnx.",
        )
