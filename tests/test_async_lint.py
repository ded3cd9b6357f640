"""``.ci/async_lint.py`` reports the same as flake8-async, in a sixth of its time."""

import importlib.util
import sys
from argparse import ArgumentParser
from types import ModuleType

import pytest

from tests.support.repository import ROOT

SHOWN = {"ASYNC100", "ASYNC101", "ASYNC300"}
"""The rules that only see parts of a module."""

MODULE = '''
from __future__ import annotations
import contextlib, time
from contextlib import suppress
{imports}

class Before:
    """It names no scope."""
    LARGE = {{"a": [1, 2, 3]}}
    async def does(self) -> None:
        await trio.lowlevel.checkpoint()

@contextlib.contextmanager
def managed():
    yield

with contextlib.suppress(ValueError):
    print("fail_after")

{case}

class After(Before):
    def does_not(self): return "CancelScope"
'''
INSIDE_A_CLASS = """
class Holds:
    KEPT = 1
    def one(self):
        return 1
    @property
    async def two(self):
        with trio.fail_after(1):
            print()
    async def three(self): pass
"""

CASES = {
    "ASYNC100": [
        ("import trio", "async def f():\n    with trio.move_on_after(1):\n        print()"),
        ("import trio", INSIDE_A_CLASS),
        ("import trio", "if True:\n    async def f():\n        with trio.CancelScope():\n            print()"),
        ("import trio", "async def f():\n    with trio.fail_after(1), suppress(OSError):\n        print()"),
        ("import trio as t  # noqa: ASYNC106", "async def f():\n    with t.fail_after(1):\n        print()"),
        ("from trio import fail_after as soon  # noqa: ASYNC106", "async def f():\n    with soon(1):\n        print()"),
        (
            "from trio import (  # noqa: ASYNC106\n    fail_after\n    as soon)",
            "async def f():\n    with soon(1):\n        print()",
        ),
        ("import anyio", "async def f():\n    with anyio.move_on_after(1):\n        print()"),
    ],
    "ASYNC101": [
        ("import trio", "async def f():\n    async with trio.open_nursery() as n:\n        yield n"),
        ("import trio", "def f():\n    with trio.open_nursery() as n:\n        yield n"),
        ("import trio", "def f():\n    with trio.CancelScope() as n:\n        yield n"),
        ("import asyncio", "async def f():\n    async with asyncio.timeout(1):\n        yield 1"),
        ("import asyncio", "def f():\n    with asyncio.timeout(1):\n        yield 1"),
        ("import trio_websocket as w", "def f():\n    with w.open_websocket('x') as s:\n        yield s"),
    ],
    "ASYNC102": [
        ("import trio", "async def f():\n    try:\n        print()\n    finally:\n        await trio.sleep(1)")
    ],
    "ASYNC103": [
        ("import trio", "async def f():\n    try:\n        print()\n    except BaseException:\n        print()")
    ],
    "ASYNC105": [("import trio", "async def f():\n    trio.sleep(1)")],
    "ASYNC110": [("import trio", "async def f():\n    while f:\n        await trio.sleep(1)")],
    "ASYNC251": [("", "async def f():\n    time.sleep(1)")],
    "ASYNC300": [
        ("import asyncio", "async def f():\n    asyncio.create_task(f())"),
        ("from asyncio import create_task as go", "async def f():\n    go(f())"),
    ],
}


@pytest.fixture(scope="module")
def lint() -> ModuleType:
    spec = importlib.util.spec_from_file_location("async_lint", ROOT / ".ci/async_lint.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parser = ArgumentParser()
    module.Plugin.add_options(parser)
    module.Plugin.parse_options(parser.parse_args(options()))
    return module


def options() -> list[str]:
    return [word for word in (ROOT / ".ci/lint").read_text().split() if word.startswith("--disable=")]


@pytest.mark.parametrize("others", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_it_finds_what_the_tool_finds(lint, others):
    """A module with a suspicion is checked by the whole tool. The gate has one case of some rules."""
    for code, cases in CASES.items():
        in_gate = cases[:1] if code in SHOWN else []
        for imports, case in cases[len(in_gate) :] if others else in_gate:
            source = MODULE.format(imports=imports, case=case)
            assert any(code in str(error) for error in lint.problems(source)), f"{code}: {case}"


def test_a_noqa_comment_suppresses_only_its_rule(lint):
    for taken, kept in (
        ("  # noqa: ASYNC110\n", False),
        ("  # noqa: ASYNC100\n", True),
        ("  # why: ASYNC110\n", True),
        ("\n        # noqa: ASYNC110", True),
        ("  # noqa\n", False),
    ):
        source = f"import trio\nasync def f():\n    while f:{taken}\n        await trio.sleep(1)\n"
        assert bool(lint.problems(source)) == kept, taken
        assert bool([*lint.Plugin.from_source(source).run()]) == kept, taken


def test_no_other_rule_looks_at_the_tree_that_keeps_every_space(lint):
    """A new rule may be about other things than scopes and tasks: check which code it must see."""
    from flake8_async.visitors import ERROR_CLASSES_CST  # here, because not every worker needs it

    enabled = lint.Plugin.from_source("").options.enabled_codes
    assert {code for rule in ERROR_CLASSES_CST for code in rule.error_codes} & enabled == SHOWN


def test_problems_are_reported_with_their_file_and_make_it_fail(lint, tmp_path, capsys, monkeypatch):
    bad, good = tmp_path / "bad.py", tmp_path / "good.py"
    bad.write_text("import trio\nasync def f():\n    trio.sleep(1)\n")
    good.write_text("import trio\n")
    for files, status in (([bad, good], 1), ([good], 0)):
        monkeypatch.setattr(sys, "argv", ["async_lint.py", *options(), *map(str, files)])
        assert lint.main() == status
        out = capsys.readouterr().out
        assert [line.partition(":")[0] for line in out.splitlines()] == [str(bad)] * status
