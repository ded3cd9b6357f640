"""Which module may know which: the arrows point one way, ``streams <- providers <- gateway``."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("streams", "providers", "gateway")
ALLOWED = {"streams": {"streams"}, "providers": {"streams", "providers"}, "gateway": set(PACKAGES)}
ASYNC_LIBRARIES = {"trio", "anyio", "asyncio", "quart", "quart_trio", "hypercorn", "trio_websocket"}
HTTP_CLIENTS = {"httpx", "httpcore", "httpx2", "httpcore2", "requests", "urllib3", "aiohttp"}

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@cache
def imported(path: Path) -> set[str]:
    """The dotted names that a module imports, anywhere in it, type-checking blocks included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno} imports relatively, which hides the arrow"
            found.add(node.module or "")
    return found


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imported(path)}


def module_id(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(params=MODULES, ids=module_id)
def module(request) -> Path:
    return request.param


def test_there_are_modules_to_look_at():
    assert {path.parts[len(ROOT.parts)] for path in MODULES} == set(PACKAGES)


def test_imports_point_one_way(module):
    package = module.relative_to(ROOT).parts[0]
    assert tops(module) & set(PACKAGES) <= ALLOWED[package]


def test_nothing_imports_the_tests(module):
    assert not tops(module) & {"tests", "pytest", "hypothesis", "openai", "anthropic"}


def test_only_the_upstream_modules_know_the_http_client(module):
    if not module_id(module).startswith("gateway/upstream/"):
        assert not tops(module) & HTTP_CLIENTS


def test_streams_and_providers_do_no_io(module):
    if module.relative_to(ROOT).parts[0] == "gateway":
        assert "asyncio" not in tops(module), "everything here runs on trio"
    elif module_id(module) == "streams/pipe.py":
        assert tops(module) & ASYNC_LIBRARIES <= {"trio"}
    else:
        assert not tops(module) & (ASYNC_LIBRARIES | {"socket", "ssl", "http", "subprocess", "threading"})


def test_every_module_is_named_by_the_architecture_or_its_package():
    page = (ROOT / "ARCHITECTURE.md").read_text()
    told = {path.parent: page + path.read_text() for path in MODULES if path.name == "__init__.py"}
    modules = [path for path in MODULES if path.name != "__init__.py"]
    assert [module_id(path) for path in modules if not re.search(rf"\b{path.stem}\b", told[path.parent])] == []


def test_every_module_that_the_architecture_names_is_there():
    named = re.findall(r"\b(\w+\.py)\b", (ROOT / "ARCHITECTURE.md").read_text())
    there = {path.name for folder in (*PACKAGES, "tests", ".ci") for path in (ROOT / folder).rglob("*.py")}
    assert set(named) <= there
