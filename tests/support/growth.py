"""Counts how work grows with its input: twice the input must take twice the work.

Python's work is counted in executed lines. Work inside C is counted by the size of the processed value, if the line
shows it: text that grows by ``+=``, a list that is searched or copied, a slice. So a count is the same on any machine.
Patterns and other work without steps are measured in CPU time of this thread, with a wide margin.
"""

import ast
import functools
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias, TypeGuard

import pytest

from tests.support.repository import ROOT

Work = Callable[[], object]
"""Work on an input that was prepared before."""

FEW: Final = 8
"""The units of the smallest input with counted steps. It fills everything that is bounded."""
STEPS: Final = 1.01
"""The greatest ratio of the steps for the third lot of units to those for the second.

Counts are deterministic, so a hundredth reveals quadratic work among much linear work.
"""

ROUNDED: Final = 32
"""Steps that rounding may cause."""

LONG: Final = 16
"""The ratio of the inputs whose time is measured."""
TIME: Final = 4 * LONG
"""The greatest ratio of their times: four times linear, and a quarter of quadratic."""
MEASURABLE: Final = 0.001
"""Seconds that the smaller input must take, unless it reaches its limit."""
MOST: Final = 1024
"""The most units of the smaller input."""
TRIES: Final = 4

BYTES: Final = 32
"""Bytes of text that count as one line when copied or searched."""
OURS: Final = tuple(str(ROOT / package) for package in ("configfile", "streams", "providers", "gateway"))

COPIED: Final = (str, bytes, bytearray, list, tuple, dict, set, frozenset)
GROWN: Final = (str, bytes, tuple)  # other types grow in place
SEARCHED: Final = (str, bytes, list, tuple)

TraceFunction: TypeAlias = Callable[[FrameType, str, object], Any]

Probe = tuple[CodeType, tuple[type, ...]]
"""An expression without side effects, and the types whose size counts."""

_COPIES: Final = frozenset(
    ("all", "any", "bytes", "dict", "frozenset", "list", "max", "min", "set", "sorted", "sum", "tuple")
)
_METHODS: Final = frozenset(
    ("copy", "count", "decode", "encode", "find", "index", "insert", "join", "lstrip", "remove", "replace",
     "rpartition", "rstrip", "search", "split", "splitlines", "strip", "translate")
)  # fmt: skip


# The values that a line processes


@functools.cache
def probes(file: str) -> Mapping[tuple[int, bool], tuple[Probe, ...]]:
    """Return the expressions that a line copies or searches, by line number and by whether they are in an inlined
    comprehension. The iterable of a loop does not count, because the steps of the loop do."""
    found: dict[tuple[int, bool], list[Probe]] = {}
    tree = ast.parse(Path(file).read_bytes())
    for node, inner in _nodes(tree, inner=False):
        for part, types in _processed_values(node):
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
    """Return whether a comprehension has no frame of its own (PEP 709), so that its line repeats for each element."""
    return sys.version_info >= (3, 12) and isinstance(node, ast.ListComp | ast.DictComp | ast.SetComp)


def _processed_values(node: ast.AST) -> Iterator[tuple[ast.expr, tuple[type, ...]]]:
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
    """Return whether evaluating the node has no side effects."""
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
        except Exception:  # a name that is not bound yet
            continue
        if isinstance(value, types):
            size += len(value) // BYTES if isinstance(value, str | bytes | bytearray) else len(value)  # type: ignore[arg-type]
    return size


# Steps and seconds


@functools.cache
def _probed_lines(code: CodeType) -> Mapping[int, tuple[Probe, ...]]:
    """Return the expressions that the lines of our ``code`` copy or search."""
    if not code.co_filename.startswith(OURS):
        return {}
    inner = code.co_name in _INNER
    there = probes(code.co_filename)
    return {line: there[line, inner] for _, _, line in code.co_lines() if line and (line, inner) in there}


def _trace(work: Work, tracer_of: Callable[[CodeType], TraceFunction]) -> None:
    """Run ``work`` with one tracer for each function."""
    tracers: dict[int, tuple[CodeType, TraceFunction]] = {}  # with the code, because ids may be reused

    def trace(frame: FrameType, event: str, argument: object) -> TraceFunction | None:
        code = frame.f_code
        if (one := tracers.get(id(code))) is None:
            one = tracers[id(code)] = code, tracer_of(code)
        return one[1](frame, event, argument)

    before = sys.gettrace()
    gc.disable()  # collection would close resources of others
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()


def _total_steps(work: Work) -> int:
    """Return the sum of ``steps``, in half the time."""
    total = 0

    def count(frame: FrameType, event: str, _: object) -> TraceFunction:
        nonlocal total
        total += 1
        return count

    def tracer_of(code: CodeType) -> TraceFunction:
        probed = _probed_lines(code)

        def count_sizes(frame: FrameType, event: str, _: object) -> TraceFunction:
            nonlocal total
            total += 1
            if event == "line" and (found := probed.get(frame.f_lineno)) is not None:
                total += _sizes(found, frame)
            return count_sizes

        return count_sizes if probed else count

    _trace(work, tracer_of)
    return total


def steps(work: Work) -> Counter[tuple[str, int]]:
    """Return the lines that ``work`` runs, and the sizes of the values that our modules copy and search, by file
    and line."""
    total: Counter[tuple[str, int]] = Counter()

    def tracer_of(code: CodeType) -> TraceFunction:
        file, probed = code.co_filename, _probed_lines(code)

        def count(frame: FrameType, event: str, _: object) -> TraceFunction:
            line = frame.f_lineno
            total[file, line] += 1
            if event == "line" and line in probed:
                total[file, line] += _sizes(probed[line], frame)
            return count

        return count

    _trace(work, tracer_of)
    return total


def seconds(work: Work) -> float:
    """Return the CPU seconds of this thread for ``work``, without garbage collection."""
    gc.disable()
    try:
        begin = time.thread_time()
        work()
        return time.thread_time() - begin
    finally:
        gc.enable()


def assert_steps_grow_linearly(made: Callable[[int], Work], few: int = FEW, ratio: float = STEPS) -> None:
    """Check that the steps grow linearly.

    ``made(n)`` is work on ``n`` units; it runs once before it is counted, to fill caches. ``ratio`` is the greatest
    one of the steps for the third lot of units to those for the second.
    """
    made(few)()
    one, two, three = (_total_steps(made(times * few)) for times in (1, 2, 3))
    if three - two > ratio * (two - one) + ROUNDED:
        growing = _fastest_growing_lines(*(steps(made(times * few)) for times in (1, 2, 3)))
        lines = ", ".join(f"{Path(file).relative_to(ROOT)}:{line}" for file, line in growing)
        pytest.fail(f"{one}, {two}, {three} steps for {few} units, twice and three times as many: see {lines}")


def _fastest_growing_lines(*counts: Counter[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the lines that grow the most."""
    more = Counter(
        {at: counts[2][at] - 2 * counts[1][at] + counts[0][at] for at in counts[2] if at[0].startswith(OURS)}
    )
    return [at for at, _ in more.most_common(3)]


def assert_time_grows_linearly(made: Callable[[int], Work], few: int = FEW, most: int = MOST) -> None:
    """Check that the time grows linearly.

    ``made(n)`` is work on ``n`` units, at most ``most`` for the smaller input. The minimum of several times counts,
    because a busy machine adds time at random.
    """
    made(few)()
    while 2 * few <= most and seconds(made(few)) < MEASURABLE:
        few *= 2
    one = min(seconds(made(few)) for _ in range(3))
    many = [seconds(made(LONG * few))]
    while min(many) > TIME * one and len(many) < TRIES:
        one = max(one, seconds(made(few)))
        many.append(seconds(made(LONG * few)))
    assert min(many) <= TIME * one, f"{one:.4f} s for {few} units, {min(many):.4f} s for {LONG} times as many"
