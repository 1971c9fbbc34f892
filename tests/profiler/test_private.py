"""Names of people and machines stay out of what is shown to strangers."""

import platform

import pytest

from perframe.profiler.private import without_names


@pytest.fixture(autouse=True)
def somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/zebra")
    monkeypatch.setenv("USER", "zebra")
    monkeypatch.setattr(platform, "node", lambda: "okapi.example.org")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/zebra/.venv/lib/x.so: not found", "~/.venv/lib/x.so: not found"),
        ("cannot open '/home/zebra': denied", "cannot open '~': denied"),
        ("/data/zebra/models, /scratch/okapi/tmp", "/data/USER/models, /scratch/HOST/tmp"),
        ("/mnt/okapi.example.org/zebra-old/a.so", "/mnt/HOST/USER-old/a.so"),
        ("/usr/lib/libzebras.so and zebra crossings", "/usr/lib/libzebras.so and zebra crossings"),
        ("no path at all", "no path at all"),
    ],
)
def test_names_in_paths_are_replaced(text: str, shown: str) -> None:
    assert without_names(text) == shown


@pytest.mark.parametrize("home", ["", "/", "/home/zebra/"])
def test_a_home_that_is_everywhere_or_written_otherwise(monkeypatch: pytest.MonkeyPatch, home: str) -> None:
    monkeypatch.setenv("HOME", home)
    assert "zebra" not in without_names("/home/zebra/x.so")
    assert without_names("/usr/lib/x.so") == "/usr/lib/x.so"
