"""JSON as TensorRT and trtexec write it, which is not always JSON.

trtexec puts names of layers between quotes as they are, with the quotes, backslashes and control characters in
them, and prints numbers that are none as `nan` or `-nan(ind)` (samples/common/sampleReporting.cpp, 8.x to 11.1).
"""

import gzip
import json
import re
import zlib
from pathlib import Path

from perframe.errors import InputError
from perframe.files import readable_file

MOST_BYTES = 1 << 28
"""A quarter of a gigabyte: trtexec's times of a million queries. A compressed file can be made to hold any number."""

_GZIP_MAGIC = b"\x1f\x8b"
# How trtexec spaces a layer's entry; whoever else writes one, writes JSON and spaces it as JSON libraries do.
_NAME_BEGINS, _NAME_ENDS = '"name" : "', '", "timeMs" : '
_NO_NUMBER = re.compile(r'("\s*:\s*)-?(?:nan|inf)(?:\(\w*\))?(?=\s*[,}\]])', re.IGNORECASE)
# A line that holds one string and nothing behind it, as the inspector prints them: `  "Name": "conv1",`.
_STRING_LINE = re.compile(
    r'^([ \t\[{,}\]]*(?:"[A-Za-z/ ]+"[ \t]*:[ \t\[]*)?")(.*)("[ \t]*,?[ \t\r]*)$', re.MULTILINE
)


def read_json(path: Path, what: str) -> object:
    """Read a JSON file of TensorRT or trtexec, gzipped or not.

    Args:
        path: The file.
        what: What it should hold ("layer profile"), for messages.

    Raises:
        InputError: The file is missing, cut off, too large, or not even leniently JSON.
        UnavailableError: There is no permission to read it.
    """
    readable_file(path, what)
    try:
        with path.open("rb") as file:
            compressed = file.read(2) == _GZIP_MAGIC
        with gzip.open(path) if compressed else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: not a readable {what}: {error}.", "Was the copy cut off?") from error
    if len(data) > MOST_BYTES:
        raise InputError(
            f"{path}: expected a {what} of at most {MOST_BYTES >> 20} MB, found more.",
            "Record for a shorter time, such as trtexec --duration=60.",
        )
    return parse_json(data.decode("utf-8-sig", errors="replace"), str(path))


def parse_json(text: str, where: str) -> object:
    """Parse what TensorRT or trtexec wrote.

    Args:
        text: The text.
        where: Where it came from, for messages.

    Raises:
        InputError: It cannot be mended into JSON, or is nested too deeply.
    """
    text = _raw_names_escaped(text)
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        try:
            return json.loads(_mended(text), strict=False)
        except (ValueError, RecursionError):
            raise InputError(f"{where}: not a JSON document: {error}.", "Was the file cut off?") from error


def text_of(value: object) -> str | None:
    """Return a string as text that can be written again, or None for anything else.

    JSON can hold halves of characters, which no file and no terminal takes.
    """
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


def _raw_names_escaped(text: str) -> str:
    """Escape the names that trtexec wrote as they are."""
    before, *entries = text.split(_NAME_BEGINS)
    for index, entry in enumerate(entries):
        name, end, rest = entry.partition(_NAME_ENDS)
        entries[index] = f"{json.dumps(name)[1:-1]}{end}{rest}" if end else entry
    return _NAME_BEGINS.join([before, *entries])


def _mended(text: str) -> str:
    """Escape what stands in the inspector's strings, and leave out numbers that are none."""
    return _STRING_LINE.sub(_escaped, _NO_NUMBER.sub(r"\1null", text))


def _escaped(line: re.Match[str]) -> str:
    # What is an escape already stays one.
    inside = re.sub(r'\\(?!["\\/bfnrtu])|(?<!\\)"', r"\\\g<0>", line[2])
    return f"{line[1]}{inside}{line[3]}"
