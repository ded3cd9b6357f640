"""Tests mirror the folders of the code, and their helpers are in ``tests/support``."""

import ast
import functools
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from tests.support.features import needed_features
from tests.support.repository import ROOT
from tests.support.syntax import imports

TESTS = ROOT / "tests"
PACKAGES = ("configfile", "streams", "providers", "loadtest", "trigate", "gateway")
OTHERS = {"clients", "data", "docs", "e2e", "pages", "recordings", "sessions", "support"}
"""Folders that mirror no package, described in ``tests/README.md``."""

COMMANDS = {"soak.py"}
CODE = sorted(path for path in TESTS.rglob("*.py") if "programs" not in path.parts)


def module_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def imports_in(path: Path) -> tuple[tuple[str, str], ...]:
    """Return all imports in a module: each with its module, and the imported name or ""."""
    found = []
    for node in imports(path):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        else:
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively"
            found += [(node.module or "", alias.name) for alias in node.names]
    return tuple(found)


def is_test(path: Path) -> bool:
    return path.name.startswith("test_")


def test_every_folder_mirrors_a_package_or_is_one_of_a_few():
    folders = {path.parent.relative_to(TESTS) for path in CODE if is_test(path)} - {Path()}
    mirrors = {folder for folder in folders if folder.parts[0] in PACKAGES}
    assert [folder for folder in sorted(mirrors) if not (ROOT / folder / "__init__.py").is_file()] == []
    tops = {path.name for path in TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert tops - set(PACKAGES) <= OTHERS
    assert all(
        (path / "__init__.py").is_file() for folder in folders for path in (TESTS / folder, TESTS / folder.parent)
    )


def test_tests_are_only_in_their_folders():
    """Helpers of tests are in ``tests/support``."""
    assert [module_id(path) for path in CODE if not is_in_place(path)] == []


def is_in_place(path: Path) -> bool:
    top = path.relative_to(TESTS).parts[0]
    if top in OTHERS - {"docs", "e2e"}:
        return not is_test(path)
    if top == path.name:
        return is_test(path) or path.name in COMMANDS | {"__init__.py", "conftest.py"}
    return is_test(path) or path.name in {"__init__.py", "conftest.py"}


def test_no_test_imports_a_test():
    names = [(path, name) for path in CODE for name, _ in imports_in(path)]
    assert [pair for pair in names if pair[1].rpartition(".")[2].startswith("test_")] == []
    assert [(path, name) for path, name in names if path.name != "conftest.py" and name.endswith("conftest")] == []


FEATURES = tuple(path.parent.name for path in (ROOT / "gateway/features").glob("*/feature.py"))
NEEDING: Mapping[str, Collection[str]] = {}
"""The features that a test module imports although it is in the folder of none of them. Add none: see below."""


def test_a_test_imports_only_the_feature_of_its_folder():
    """So every feature can be deleted with its folder of tests. A test that combines features imports the other one in
    a function, with ``needs_feature``."""
    found = {}
    for path in CODE:
        own = feature_of(path)
        needed = needed_features(own) if own else set()
        if is_test(path) and (others := features_imported_by(path) - needed - {*NEEDING.get(module_id(path), ())}):
            found[module_id(path)] = others
    assert found == {}


def feature_of(path: Path) -> str:
    """Return the feature in whose folder a test is."""
    parts = path.relative_to(TESTS).parts
    return parts[2] if parts[:2] == ("gateway", "features") else ""


TOP_IMPORT = re.compile(
    r"^(?:from|import) (gateway\.features|tests\.support|tests\.pages)(?:\.(\w+))?"
    r"(?:[\w.]* import (\w+(?:, \w+)*|\([^)]*\)))?", re.MULTILINE,
)  # fmt: skip


@functools.cache
def features_imported_by(path: Path) -> frozenset[str]:
    """Return the features that a module imports when it is imported, also by way of helpers."""
    found = set[str]()
    for package, module, names in TOP_IMPORT.findall(path.read_text()):
        modules = [module] if module else re.findall(r"\w+", names)
        if package == "gateway.features":
            found |= {*modules} & set(FEATURES)
        else:
            helpers = (ROOT / package.replace(".", "/") / f"{one}.py" for one in modules)
            found = found.union(*(features_imported_by(one) for one in helpers if one.is_file()))
    return frozenset(found)


def test_helpers_are_imported_in_only_one_way():
    helpers = {path.stem for path in (TESTS / "support").glob("*.py")} - {"recordings", "postgres", "processes"}
    others = [path for path in CODE if TESTS / "clients" not in path.parents]
    assert [(path, name) for path in others for name, _ in imports_in(path) if name in helpers] == []


def test_helpers_have_different_names():
    names = Counter(path.stem for folder in ("support", "clients") for path in (TESTS / folder).glob("*.py"))
    assert [name for name, count in names.items() if count > 1 and name != "__init__"] == []


def test_tests_import_no_private_names():
    assert [(path, pair) for path in CODE for pair in imports_in(path) if is_private(".".join(pair))] == []


def is_private(name: str) -> bool:
    steps = name.split(".")
    return steps[0] in PACKAGES and any(step.startswith("_") and not step.startswith("__") for step in steps)
