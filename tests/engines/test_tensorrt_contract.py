"""Every TensorRT name that the adapter uses, held against recorded listings of four versions' Python API.

The library's objects are typed by the protocols of `engines/tensorrt_api.py`, so with mypy (strict) no other name can
be used without `feature`; what is reached through that is collected from the source.
"""

import ast
import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
API = ROOT / "engines" / "tensorrt_api.py"
ADAPTER = sorted(path for path in (ROOT / "engines").glob("tensorrt*.py") if path != API)
VERSIONS = ("10.3", "10.16", "11.4", "rtx-1.7")
# Every enumeration's members have a name.
ENUM = "BuilderFlag"

Listing = Mapping[str, set[str]]


@pytest.fixture(scope="module")
def listings(data_folder: Path) -> dict[str, Listing]:
    """Class -> its members, of each version."""
    folder = data_folder.parent / "reference" / "tensorrt_python_api"
    if not folder.is_dir():
        pytest.skip(f"recorded API listings not found in {folder}")
    found: dict[str, Listing] = {}
    for version in VERSIONS:
        document = json.loads((folder / f"{version}.json").read_text(encoding="utf-8"))
        found[version] = {name: set(members) for name, members in document.items()}
    return found


def declared() -> dict[str, set[str]]:
    """Class -> the members that the adapter may use, as the protocols declare them; the module is ""."""
    found: dict[str, set[str]] = {}
    for protocol in ast.parse(API.read_text(encoding="utf-8")).body:
        if not isinstance(protocol, ast.ClassDef):
            continue
        names = {each.name for each in protocol.body if isinstance(each, ast.FunctionDef)}
        names |= {
            each.target.id
            for each in protocol.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        }
        owner = {"TrtModule": "", "TrtEnumMember": ENUM}.get(protocol.name, protocol.name.removeprefix("Trt"))
        found.setdefault(owner, set()).update(name for name in names if not name.startswith("__"))
    return found


def missing(names: Mapping[str, set[str]], listing: Listing) -> set[str]:
    """Which of the declared names a version does not have."""
    classes = names.get("", set()) | (names.keys() - {""})
    absent = {name for name in classes if name not in listing}
    return absent | {
        f"{owner}.{member}"
        for owner, members in names.items()
        if owner and owner not in absent
        for member in members - listing[owner]
    }


def features_of(path: Path) -> set[str]:
    """Names that a file asks `feature` for, and those it reads from what `feature` gave."""
    found: set[str] = set()
    for scope in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(scope, ast.FunctionDef):
            from_features: set[str] = set()
            # Twice, so that what is made from one that stands further down is seen too.
            for node in [*ast.walk(scope), *ast.walk(scope)]:
                if isinstance(node, ast.Assign) and from_feature(node.value, from_features):
                    names = (name for target in node.targets for name in ast.walk(target))
                    from_features |= {name.id for name in names if isinstance(name, ast.Name)}
                if isinstance(node, ast.AnnAssign) and node.value and isinstance(node.target, ast.Name):
                    from_features |= {node.target.id} if from_feature(node.value, from_features) else set()
                found |= set(asked(node, from_features))
    return {name for name in found if not name.startswith("__")}


def from_feature(value: ast.expr, from_features: set[str]) -> bool:
    return any(
        (isinstance(part, ast.Name) and part.id in from_features) or is_call_of(part, "feature")
        for part in ast.walk(value)
    )


def asked(node: ast.AST, from_features: set[str]) -> Iterator[str]:
    if (is_call_of(node, "feature") or is_call_of(node, "set_feature")) and isinstance(node, ast.Call):
        name = node.args[1]
        if isinstance(name, ast.Constant):
            yield str(name.value)
    if (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in from_features
    ):
        yield node.attr


def is_call_of(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_has_every_name_that_is_used_untested(
    listings: dict[str, Listing], version: str
) -> None:
    assert missing(declared(), listings[version]) == set()


def test_names_that_only_some_versions_have_are_noticed(listings: dict[str, Listing]) -> None:
    names = {"": {"IStreamReader"}, "BuilderFlag": {"FP16", "TF32"}, "RuntimeThing": {"run"}}
    assert missing(names, listings["11.4"]) == {"IStreamReader", "BuilderFlag.FP16", "RuntimeThing"}
    assert missing(names, listings["10.3"]) == {"RuntimeThing"}


def test_every_feature_that_is_asked_for_exists_in_some_version(listings: dict[str, Listing]) -> None:
    known = {
        name
        for listing in listings.values()
        for name in (*listing, *(m for ms in listing.values() for m in ms))
    }
    features = set().union(*(features_of(path) for path in ADAPTER))
    assert {"ComputeCapability", "set_compute_capability", "cuda_graph_strategy", "EAGER"} <= features
    assert features - known == set()


def test_nothing_is_declared_that_is_not_used() -> None:
    used: set[str] = set()
    for path in ADAPTER:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                used.add(node.attr)
            if isinstance(node, ast.FunctionDef):
                used.add(node.name)  # what a subclass overrides
    assert {name for members in declared().values() for name in members} - used == set()


def test_only_the_border_touches_the_library() -> None:
    assert "Any" not in API.read_text(encoding="utf-8").split()
    importing = set()
    for path in (
        *ROOT.glob("*.py"),
        *(p for room in ROOT.iterdir() if room.name in ROOMS for p in room.rglob("*.py")),
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(module.split(".")[0].startswith("tensorrt") for module in modules):
                importing.add(path.name)
    assert importing == set()  # the border imports it by name, when it is used


ROOMS = ("commands", "export", "engines", "profiler", "analysis", "report")


@pytest.mark.tensorrt
@pytest.mark.parametrize("module", ["tensorrt", "tensorrt_rtx"])
def test_the_installed_library_has_every_name(module: str) -> None:
    try:
        library = importlib.import_module(module)
    except ImportError:
        pytest.skip(f"{module} is not installed")
    names = declared()
    listing = {
        name: set(dir(getattr(library, name))) for name in names.keys() | names[""] if hasattr(library, name)
    }
    assert missing(names, listing) == set()
