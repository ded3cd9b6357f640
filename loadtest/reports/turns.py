"""What is said of conversations: how many, which of their turns never began, and the figures turn by turn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from loadtest.figures.numbers import duration, plain, several
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally

ALONE: Final = 8
"""Turns with a row each; those behind them share rows, each of twice as many."""

HEADINGS: Final = ("turn", "begun", "whole", "ttft p50", "p95", "duration p50", "p95", "input", "cached")


def has_conversations(run: RunResult) -> bool:
    """Whether any request was of a conversation."""
    return bool(run.turns)


def conversations(run: RunResult) -> Sequence[str]:
    """How many began, and which of their turns did not, as lines."""
    begun = run.turns[1].counts["started"] if 1 in run.turns else 0
    turns = sum(tally.counts["started"] for tally in run.turns.values())
    said = [f"{_begun(run, begun, 'conversation')}; of these {_begun(run, turns, 'turn')}"]
    if run.unbegun:
        said.append(f"{several(run.unbegun, 'turn')} had not begun when one before them failed")
    if run.cut_off:
        said.append(f"{several(run.cut_off, 'turn')} had not begun when the time was up")
    return said


def _begun(run: RunResult, number: int, what: str) -> str:
    rate = f", {plain(number / run.seconds)} a second" if run.seconds else ""
    return f"{several(number, what)} begun{rate}"


def turn_rows(run: RunResult) -> Sequence[Sequence[str]]:
    """A table with ``HEADINGS``, a few rows however many turns there are."""
    told = any(tally.measures["cached_tokens"].count for tally in run.turns.values())
    return [[label, *_cells(tally, told)] for label, tally in _grouped(run.turns)]


def _grouped(turns: Mapping[int, Tally]) -> Iterator[tuple[str, Tally]]:
    first, size = 1, 1
    while first <= max(turns, default=0):
        last = first + size - 1
        tally = Tally()
        for turn in range(first, last + 1):
            if turn in turns:
                tally.merge(turns[turn])
        if tally.counts["started"]:
            yield str(first) if size == 1 else f"{first}–{last}", tally
        first = last + 1
        size = 1 if first <= ALONE else max(size * 2, ALONE)


def _cells(tally: Tally, told: bool) -> Iterator[str]:
    yield from (str(tally.counts[name]) for name in ("started", "whole"))
    for name in ("ttft", "duration"):
        histogram = tally.measures[name]
        yield from (duration(histogram.percentile(p)) if histogram.count else "–" for p in (50, 95))
    asked = tally.measures["input_tokens"]
    yield plain(round(asked.mean)) if asked.count else "–"
    share = tally.cached_share
    yield "–" if share is None or not told else f"{100 * share:.0f} %"
