"""Watches one step of a search: ends it when it has enough evidence or a growing backlog.

Above its capacity, a server's latencies depend on the length of the step: the requests under way and their waiting
grow until the end. So a step ends as soon as both certainly rise. (As over-saturation in guidellm;
vllm-project/guidellm#1086.)
"""

import math
from collections.abc import Iterable, Sequence
from statistics import variance
from typing import Final, Literal, TypeAlias

import attrs

from loadtest.figures.confidence import (
    CONFIDENCE,
    sure_share,
    surely_kept,
    surely_missed,
    surely_rises,
    values_needed,
)
from loadtest.run.search import Purpose

BLOCKS: Final = 12
"""The number of blocks in a step; at most twice as many are compared."""

RISING: Final = 0.975
"""The confidence of each of two tests, for 95 % in both together."""

MATERIAL: Final = 1.1
"""The least growth of a backlog."""

EARLY: Final = 0.999
"""The confidence for an early failure, which is tested repeatedly."""

StepState: TypeAlias = Literal["go on", "enough", "missed", "backlog"]
"""The state of a step: continue, enough evidence, certainly failed, or a growing backlog."""


@attrs.frozen
class LimitEvidence:
    """The number of ``values``, and how many are ``over`` a limit that a ``share`` of all must keep.

    ``dependent`` is the number of successive values that count as one, because they depend on each other.
    """

    share: float
    values: int
    over: int
    dependent: float = 1.0

    @property
    def is_decided(self) -> bool:
        """True if the values decide with 95 % confidence whether the limit is kept."""
        return self.is_kept or self.is_missed()

    @property
    def is_kept(self) -> bool:
        return surely_kept(*self._independent_counts, self.share)

    def is_missed(self, confidence: float = CONFIDENCE) -> bool:
        return surely_missed(*self._independent_counts, self.share, confidence)

    @property
    def missing_values_text(self) -> str:
        """A text about the certainty so far, and the values needed for more."""
        sure, needed = (
            100 * sure_share(*self._independent_counts),
            values_needed(self.share, self._independent_counts[1]),
        )
        return f"sure of {sure:.3g} %, for {100 * self.share:g} % it takes {math.ceil(needed * self.dependent)} answers"

    @property
    def _independent_counts(self) -> tuple[int, int]:
        """The number of independent values, and of those over the limit."""
        values = int(self.values / self.dependent)
        return values, min(values, round(self.over / self.dependent))


@attrs.define
class _Block:
    observations: int = 0
    under_way: int = 0
    ends: int = 0
    waited: float = 0.0


def _merge_blocks(blocks: Sequence[_Block]) -> _Block:
    return _Block(*(sum(values) for values in zip(*map(attrs.astuple, blocks), strict=True)))


@attrs.frozen
class BacklogGrowth:
    """The requests under way, and their waiting in seconds, in the first and the last block of a step."""

    under_way: tuple[float, float]
    waited: tuple[float, float]


class StepWatch:
    """The requests under way and the waiting of finished ones, in blocks of ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.under_way = self.most_under_way = 0
        self._seconds = seconds
        self._blocks: list[_Block] = []

    def count_under_way(self, at: float, under_way: int) -> None:
        """Record the requests under way, ``at`` seconds after the begin."""
        self.under_way = under_way
        self.most_under_way = max(self.most_under_way, under_way)
        if (block := self._block_at(at)) is not None:
            block.observations += 1
            block.under_way += under_way

    def count_ends(self, at: float, waited: float, ends: int = 1) -> None:
        """Record the ends of requests, and the sum of their waiting for the first token, or for the whole answer
        without a stream."""
        if (block := self._block_at(at)) is not None:
            block.ends += ends
            block.waited += waited

    def _block_at(self, time: float) -> _Block | None:
        number = int(time / self._seconds) if time >= 0 else -1
        while len(self._blocks) <= number:
            self._blocks.append(_Block())
        return self._blocks[number] if number >= 0 else None

    def dependent_answers(self, deviation: float) -> float:
        """Return how many successive answers count as one, because they waited in the same queue.

        ``deviation`` is the standard deviation of all waiting. The means of blocks deviate more than that of
        independent answers by this factor. Without it, a lucky period of random arrivals would look like a server that
        keeps up.
        """
        whole = [block for block in self._blocks[:-1] if block.ends]
        if len(whole) < 3 or not deviation:
            return 1.0
        each = sum(block.ends for block in whole) / len(whole)
        apart = variance(block.waited / block.ends for block in whole)
        found = min(each, each * apart / deviation**2)
        return found if found > 1 + 2 * math.sqrt(2 / (len(whole) - 1)) else 1.0  # two standard errors of a variance

    @property
    def backlog_grows(self) -> bool:
        """True if the requests under way and their waiting both rise, with 95 % confidence.

        Blocks without ends and the last block do not count.
        """
        under_way, waited = self._series()
        return _rises(under_way) and _rises(waited)

    @property
    def in_flight_rises(self) -> bool:
        """True if the requests under way rise in the second half of the step.

        A server that slows down with each request ends too few of them to show their waiting.
        """
        under_way = [block.under_way / block.observations for block in self._merged_blocks() if block.observations]
        return _rises(under_way[len(under_way) // 2 :])

    @property
    def growth(self) -> BacklogGrowth:
        """The growth of a backlog. Only call it for one."""
        under_way, waited = self._series()
        if not waited:
            under_way, waited = (
                [block.under_way / block.observations for block in self._merged_blocks() if block.observations],
                [0.0],
            )
        return BacklogGrowth((under_way[0], under_way[-1]), (waited[0], waited[-1]))

    def _series(self) -> tuple[list[float], list[float]]:
        """Return the means of the requests under way and of their waiting, block by block."""
        whole = [block for block in self._merged_blocks() if block.observations and block.ends]
        return [block.under_way / block.observations for block in whole], [block.waited / block.ends for block in whole]

    def _merged_blocks(self) -> list[_Block]:
        """Return the blocks, merged to at most twice ``BLOCKS``."""
        several = 1 + len(self._blocks) // (2 * BLOCKS)
        starts = range(0, len(self._blocks) - several, several)
        return [_merge_blocks(self._blocks[start : start + several]) for start in starts]


def _rises(values: Sequence[float]) -> bool:
    return surely_rises(values, RISING) and values[-1] >= MATERIAL * values[0]


@attrs.frozen
class StepLength:
    """The least length of a step, and the most if it has too few values.

    More than ``crowd`` requests under way mean that the server does not keep up.
    """

    least: float
    most: float
    crowd: float = math.inf


def step_state(
    elapsed: float, length: StepLength, evidence: Iterable[LimitEvidence], purpose: Purpose, watch: StepWatch
) -> StepState:
    """Return the state of a step after ``elapsed`` measured seconds.

    On the way up, a short step is enough, unless so many requests are under way that there may be a backlog.
    """
    found = tuple(evidence)
    if any(one.over > 1 and one.is_missed(EARLY) for one in found):
        return "missed"
    if watch.backlog_grows:
        return "backlog"
    if elapsed < length.least:
        return "go on"
    crowded = purpose == "climb" and watch.under_way > length.crowd
    if elapsed >= length.most:
        return "backlog" if crowded and watch.in_flight_rises else "enough"
    if purpose == "climb":
        return "go on" if crowded else "enough"
    wanted = found if purpose == "confirm" else [one for one in found if one.over]
    return "enough" if all(one.is_decided for one in wanted) else "go on"
