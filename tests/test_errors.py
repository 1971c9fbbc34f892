import re
from pathlib import Path

import pytest

import perframe.errors
from perframe.errors import InputError, PerframeError


def test_every_error_is_two_lines_whatever_the_file_held() -> None:
    error = InputError("bad\n\n name \x1b[2Jcleared\u202e", "try\nagain")
    assert str(error) == "bad name \\x1b[2Jcleared\\u202e\ntry again"


def classes(base: type[PerframeError]) -> list[type[PerframeError]]:
    return [each for child in base.__subclasses__() for each in (child, *classes(child))]


@pytest.mark.parametrize("cls", classes(PerframeError))
def test_the_table_lists_every_error_with_its_code(cls: type[PerframeError]) -> None:
    rows = re.findall(r"^\| (\d+) \|.*\|(.*)\|$", perframe.errors.__doc__ or "", flags=re.MULTILINE)
    assert (str(cls.exit_code), f"`{cls.__name__}`") in [(code, raised.strip()) for code, raised in rows]


def test_the_readme_lists_every_exit_code() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 130):
        assert f"| {code} |" in readme
