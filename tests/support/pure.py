"""Which test files are pure: they open no socket, start no process and no thread, so they run in seconds anywhere.

It is told from what a file imports, itself or by way of other modules of tests, and from the fixtures that it asks for:
there is no list to keep. ``pytest --pure`` runs these alone (tests/conftest.py), and stops what is not so after all.
"""

import ast
import functools
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parents[1]

SEEN_WITH: Final = frozenset(
    {"socket", "subprocess", "threading", "concurrent", "multiprocessing", "signal", "select", "http", "ssl", "sqlite3",
     "pytest_httpserver", "openai", "anthropic"}
)  # fmt: skip
"""What a test that does more than compute has to import. The SDKs' clients connect; their types alone, with which some
tests compare, take longer to load and to build than all other tests that only compute."""

STOPPED: Final = ("socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.system", "sqlite3.connect")
"""Audit events. A loop of trio has a pair of sockets of its own, which it neither binds nor connects."""


class NotPure(Exception):
    """A test that ``--pure`` has chosen wants to reach out of its process."""


def is_pure(file: Path) -> bool:
    """Whether ``file``, a file of tests, is one of those that only compute."""
    return not (file.is_relative_to(TESTS / "e2e") or _reaches_out(file)) and not _fixtures_asked_for(file) & _servers()


@functools.cache
def _reaches_out(file: Path) -> bool:
    return any(_is_seen_with(name) or _module_reaches_out(name) for name in _imported(file))


def _is_seen_with(name: str) -> bool:
    return name.split(".")[0] in SEEN_WITH


def _module_reaches_out(name: str) -> bool:
    """``name`` is a module of tests, or something in one."""
    below = name.split(".")
    files = [TESTS.joinpath(*below[1:end]).with_suffix(".py") for end in (len(below), len(below) - 1) if end > 1]
    return below[0] == "tests" and any(_reaches_out(file) for file in files if file.is_file())


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(_parsed(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _fixtures_asked_for(file: Path) -> set[str]:
    """And not given by ``parametrize``, which may use the name of one for a value of its own."""
    asking = [one for one in _functions(file) if one.name.startswith("test_") or _is_fixture(one)]
    return {arg.arg for one in asking for arg in one.args.args if not _is_given(arg.arg, one)}


@functools.cache
def _servers() -> frozenset[str]:
    """The fixtures of conftest.py, all of which are servers or made by a program."""
    return frozenset(one.name for one in _functions(TESTS / "conftest.py") if _is_fixture(one))


def _functions(file: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(_parsed(file)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def _is_given(name: str, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(re.search(rf"parametrize\(.*\b{name}\b", ast.unparse(by)) for by in function.decorator_list)


def _is_fixture(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any("pytest.fixture" in ast.unparse(by) for by in function.decorator_list)


def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_bytes(), file)


def stop_what_is_not() -> None:
    """From here on, for the rest of this process: which connects, listens or starts a process gets ``NotPure``."""

    def judge(event: str, _: object) -> None:
        if event in STOPPED:
            raise NotPure(
                f"{event} in a test that --pure has chosen: tests/support/pure.py must tell it by what it imports"
            )

    sys.addaudithook(judge)
