"""Growth of work with its input, counted: work on twice the input is twice the work, or it is not linear.

Python's own work is counted in lines that run. What one of them does inside of C is counted by the size of what it
works on, where that can be read off the line that is about to run: text that grows by ``+=``, a list that is searched
or copied, a slice. So a count is the same on any machine. Patterns and what else has no steps are held against the
processor's time of this thread, far apart and with a wide margin.
"""

import ast
import functools
import gc
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TypeGuard

import pytest

from tests.support.repository import ROOT

Work = Callable[[], object]
"""Something that works on an input made beforehand."""

FEW: Final = 8
"""Units of the smallest input whose steps are counted. What is bounded (lists that are cut short) is full with it."""
STEPS: Final = 1.01
"""Times the steps of the second lot of units that the third may take. Nothing is by chance here, so that a hundredth
shows what is quadratic beside much that is not."""

ROUNDED: Final = 32
"""Steps that the rounding of sizes may make."""

LONG: Final = 16
"""Times the smaller input, where time is measured."""
TIME: Final = 4 * LONG
"""Times the time that this may take: four times what is linear, and a quarter of what is quadratic."""
MEASURABLE: Final = 0.001
"""Seconds that the smaller input takes, if it takes more for more."""
MOST: Final = 1024
"""Units that the smaller input has at most."""
TRIES: Final = 4

BYTES: Final = 32
"""Bytes of text that count as a line when they are copied or searched."""
OURS: Final = tuple(str(ROOT / package) for package in ("configfile", "streams", "providers", "gateway"))

COPIED: Final = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
GROWN: Final = (str, bytes, tuple)  # others grow in place
SEARCHED: Final = (str, bytes, list, tuple)

Probe = tuple[CodeType, tuple[type, ...]]
"""An expression without side effects, and the types of which its whole value is worked on."""

_COPIES: Final = frozenset(
    ("all", "any", "bytes", "dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple")
)
_METHODS: Final = frozenset(
    ("copy", "count", "decode", "encode", "find", "index", "insert", "join", "lstrip", "remove", "replace",
     "rpartition", "rstrip", "search", "split", "splitlines", "strip", "translate")
)  # fmt: skip


# What a line works on


@functools.cache
def probes(file: str) -> Mapping[tuple[int, bool], tuple[Probe, ...]]:
    """By the number of a line, and whether it runs in a frame of its own inside of another: what is copied or searched
    in it. What a loop runs over is left out: it is there once, and the loop's own steps count."""
    found: dict[tuple[int, bool], list[Probe]] = {}
    tree = ast.parse(Path(file).read_bytes())
    for node, inner in _nodes(tree, inner=False):
        for part, types in _worked_on(node):
            if _is_plain(part):
                code = compile(ast.unparse(part), file, "eval")
                found.setdefault((part.lineno, inner), []).append((code, types))
    repeated = {node.lineno for node in ast.walk(tree) if _is_inlined(node)}
    return {at: tuple(codes) for at, codes in found.items() if at[1] or at[0] not in repeated}


_INNER: Final = frozenset(("<dictcomp>", "<genexpr>", "<lambda>", "<listcomp>", "<setcomp>"))


def _nodes(tree: ast.AST, inner: bool) -> Iterator[tuple[ast.AST, bool]]:
    yield tree, inner
    loop = next((part.iter for part in getattr(tree, "generators", ())), getattr(tree, "iter", None))
    own = isinstance(tree, ast.GeneratorExp | ast.Lambda | ast.ListComp | ast.DictComp | ast.SetComp)
    if _is_inlined(tree):
        return
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.comprehension):
            for part in (child.iter, *child.ifs):
                if part is not loop:
                    yield from _nodes(part, inner=True)
        elif child is not loop:
            yield from _nodes(child, inner or own)


def _is_inlined(node: ast.AST) -> TypeGuard[ast.expr]:
    """Whether a comprehension has no frame of its own (PEP 709): its line comes anew with each of its elements."""
    return sys.version_info >= (3, 12) and isinstance(node, ast.ListComp | ast.DictComp | ast.SetComp)


def _worked_on(node: ast.AST) -> Iterator[tuple[ast.expr, tuple[type, ...]]]:
    match node:
        case ast.AugAssign(target=target, op=ast.Add()):
            yield target, GROWN
        case ast.BinOp(left=left, op=ast.Add() | ast.BitOr()):
            yield left, COPIED
        case ast.Compare(ops=[ast.In() | ast.NotIn()], comparators=[inside]):
            yield inside, SEARCHED
        case ast.Subscript(slice=ast.Slice(), ctx=ast.Load()):
            yield node, COPIED
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            yield from ((part.value, COPIED) for part in parts if isinstance(part, ast.Starred))
        case ast.Dict(keys=keys, values=values):
            yield from ((value, COPIED) for key, value in zip(keys, values, strict=True) if key is None)
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _COPIES:
            yield first, COPIED
        case ast.Call(func=ast.Attribute(value=value, attr=name), args=args) if name in _METHODS:
            yield args[0] if name == "join" and args else value, SEARCHED


def _is_plain(node: ast.AST) -> bool:
    """Whether looking at it changes nothing."""
    kinds = (
        ast.Name,
        ast.Attribute,
        ast.Subscript,
        ast.Slice,
        ast.Constant,
        ast.UnaryOp,
        ast.unaryop,
        ast.expr_context,
    )
    return isinstance(node, kinds) and all(map(_is_plain, ast.iter_child_nodes(node)))


def _sizes(probes: tuple[Probe, ...], frame: FrameType) -> int:
    names, known = frame.f_globals, frame.f_locals
    size = 0
    for code, types in probes:
        try:
            value = eval(code, names, known)  # an expression of our own code
        except Exception:  # a name that is not there yet
            continue
        if isinstance(value, types):
            size += len(value) // BYTES if isinstance(value, str | bytes | bytearray) else len(value)  # type: ignore[arg-type]
    return size


# Steps and seconds


class Counted:
    """What has run of a function's lines, by their numbers, and what they have worked on."""

    def __init__(self, code: CodeType) -> None:
        self.code = code  # which is there as long as its id is that of no other
        self.lines = lines = defaultdict[int, int](int)
        there = probes(code.co_filename) if code.co_filename.startswith(OURS) else {}
        probed = {line: found for (line, inner), found in there.items() if inner == (code.co_name in _INNER)}

        def trace(frame: FrameType, event: str, _: object) -> Any:
            line = frame.f_lineno
            lines[line] += 1
            if line in probed and event == "line":
                lines[line] += _sizes(probed[line], frame)
            return trace

        self.trace = trace


def steps(work: Work) -> Counter[tuple[str, int]]:
    """The lines that ``work`` runs, and the sizes of what they copy and search in our own modules; by file and line."""
    counted: dict[int, Counted] = {}

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if (one := counted.get(id(code))) is None:
            one = counted[id(code)] = Counted(code)
        return one.trace(frame, event, argument)

    before = sys.gettrace()
    gc.disable()  # it closes what others have left open
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    count: Counter[tuple[str, int]] = Counter()
    for one in counted.values():
        count.update({(one.code.co_filename, line): times for line, times in one.lines.items()})
    return count


def seconds(work: Work) -> float:
    """Seconds of this thread on the processor for ``work``, without those of the garbage collection."""
    gc.disable()
    try:
        begin = time.thread_time()
        work()
        return time.thread_time() - begin
    finally:
        gc.enable()


def assert_steps_grow_linearly(made: Callable[[int], Work], few: int = FEW) -> None:
    """``made(n)`` is the work on ``n`` units. It has run before it is counted: what is kept for later is there."""
    made(few)()
    counts = [steps(made(times * few)) for times in (1, 2, 3)]
    one, two, three = (count.total() for count in counts)
    if three - two > STEPS * (two - one) + ROUNDED:
        lines = ", ".join(f"{Path(file).relative_to(ROOT)}:{line}" for file, line in _growing(*counts))
        pytest.fail(f"{one}, {two}, {three} steps for {few} units, twice and three times as many: see {lines}")


def _growing(*counts: Counter[tuple[str, int]]) -> list[tuple[str, int]]:
    """The lines that take more and more."""
    more = Counter(
        {at: counts[2][at] - 2 * counts[1][at] + counts[0][at] for at in counts[2] if at[0].startswith(OURS)}
    )
    return [at for at, _ in more.most_common(3)]


def assert_time_grows_linearly(made: Callable[[int], Work], few: int = FEW, most: int = MOST) -> None:
    """``made(n)`` is the work on ``n`` units; the smaller input has ``most`` at most. A machine that is busy makes it
    slower by chance: the fewest seconds count, and what is quadratic is so every time."""
    made(few)()
    while 2 * few <= most and seconds(made(few)) < MEASURABLE:
        few *= 2
    one = min(seconds(made(few)) for _ in range(3))
    many = [seconds(made(LONG * few))]
    while min(many) > TIME * one and len(many) < TRIES:
        one = max(one, seconds(made(few)))
        many.append(seconds(made(LONG * few)))
    assert min(many) <= TIME * one, f"{one:.4f} s for {few} units, {min(many):.4f} s for {LONG} times as many"
