"""One step of a search while it runs: when it has shown enough, and when it only piles up.

Above its capacity a server is measured by how long one measures: those under way, and the waiting of each, grow until
the step ends. So a step ends as soon as both surely rise. (Over-saturation in guidellm; vllm-project/guidellm#1086.)
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
"""A step is looked at in so many blocks of time, or up to twice as many."""

RISING: Final = 0.975
"""The confidence of each single look, for 95 % in all of them together."""

MATERIAL: Final = 1.1
"""What rises by less than this factor is no backlog."""

EARLY: Final = 0.999
"""The confidence with which a step may fail before its time: it is looked at again and again."""

StepState: TypeAlias = Literal["go on", "enough", "missed", "backlog"]
"""Whether a step goes on, has shown enough, surely misses what must hold, or piles up requests."""


@attrs.frozen
class LimitEvidence:
    """How many of the ``values`` were ``over`` a limit that ``share`` of all must keep. So many in a row were ``alike``
    that they tell no more than one of them would."""

    share: float
    values: int
    over: int
    alike: float = 1.0

    @property
    def settled(self) -> bool:
        """Whether there are values enough to say with 95 % confidence that it is kept, or that it is not."""
        return self.kept or self.missed()

    @property
    def kept(self) -> bool:
        return surely_kept(*self._told, self.share)

    def missed(self, confidence: float = CONFIDENCE) -> bool:
        return surely_missed(*self._told, self.share, confidence)

    @property
    def too_few(self) -> str:
        """Of what it is sure, and what it takes for more."""
        sure, needed = 100 * sure_share(*self._told), values_needed(self.share, self._told[1])
        return f"sure of {sure:.3g} %, for {100 * self.share:g} % it takes {math.ceil(needed * self.alike)} answers"

    @property
    def _told(self) -> tuple[int, int]:
        """Values that know nothing of each other, and those over the limit."""
        values = int(self.values / self.alike)
        return values, min(values, round(self.over / self.alike))


@attrs.define
class _Block:
    looks: int = 0
    under_way: int = 0
    ends: int = 0
    waited: float = 0.0


def _together(blocks: Sequence[_Block]) -> _Block:
    return _Block(*(sum(values) for values in zip(*map(attrs.astuple, blocks), strict=True)))


@attrs.frozen
class BacklogGrowth:
    """Those under way, and the seconds that they waited, in the first and in the last block of a step."""

    under_way: tuple[float, float]
    waited: tuple[float, float]


class StepWatch:
    """Those under way and the waiting of those that ended, in blocks of ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.under_way = self.most_under_way = 0
        self._seconds = seconds
        self._blocks: list[_Block] = []

    def look(self, at: float, under_way: int) -> None:
        """So many were under way at a time from the begin of what counts on."""
        self.under_way = under_way
        self.most_under_way = max(self.most_under_way, under_way)
        if (block := self._at(at)) is not None:
            block.looks += 1
            block.under_way += under_way

    def ended(self, at: float, waited: float, ends: int = 1) -> None:
        """One ended, or several, and waited so long in sum for their first tokens, or for all that is no stream."""
        if (block := self._at(at)) is not None:
            block.ends += ends
            block.waited += waited

    def _at(self, time: float) -> _Block | None:
        number = int(time / self._seconds) if time >= 0 else -1
        while len(self._blocks) <= number:
            self._blocks.append(_Block())
        return self._blocks[number] if number >= 0 else None

    def alike(self, deviation: float) -> float:
        """How many answers in a row tell no more than one, as they waited in one queue. ``deviation`` is that of all
        their waiting: means of blocks are further apart by that factor than if none knew of another. With arrivals at
        random a run of luck would be taken for a server that holds."""
        whole = [block for block in self._blocks[:-1] if block.ends]
        if len(whole) < 3 or not deviation:
            return 1.0
        each = sum(block.ends for block in whole) / len(whole)
        apart = variance(block.waited / block.ends for block in whole)
        found = min(each, each * apart / deviation**2)
        return found if found > 1 + 2 * math.sqrt(2 / (len(whole) - 1)) else 1.0  # two errors of a variance

    @property
    def backlog_grows(self) -> bool:
        """Whether those under way and their waiting both rise, with 95 % confidence. Before the first ends come the
        server is only being filled; the last block is not over yet."""
        under_way, waited = self._series()
        return _rises(under_way) and _rises(waited)

    @property
    def still_filling(self) -> bool:
        """Whether those under way rise in the later half of the step, whatever ended. A server that serves all at once,
        ever more slowly, ends so few that their waiting shows nothing yet."""
        under_way = [block.under_way / block.looks for block in self._in_several() if block.looks]
        return _rises(under_way[len(under_way) // 2 :])

    @property
    def growth(self) -> BacklogGrowth:
        """By how much they rose. Only of what grows."""
        under_way, waited = self._series()
        if not waited:
            under_way, waited = [block.under_way / block.looks for block in self._in_several() if block.looks], [0.0]
        return BacklogGrowth((under_way[0], under_way[-1]), (waited[0], waited[-1]))

    def _series(self) -> tuple[list[float], list[float]]:
        """Those under way and their waiting, as means of blocks."""
        whole = [block for block in self._in_several() if block.looks and block.ends]
        return [block.under_way / block.looks for block in whole], [block.waited / block.ends for block in whole]

    def _in_several(self) -> list[_Block]:
        """Twice as many blocks as a step has at most, of as many as there are."""
        several = 1 + len(self._blocks) // (2 * BLOCKS)
        starts = range(0, len(self._blocks) - several, several)
        return [_together(self._blocks[start : start + several]) for start in starts]


def _rises(values: Sequence[float]) -> bool:
    return surely_rises(values, RISING) and values[-1] >= MATERIAL * values[0]


@attrs.frozen
class StepLength:
    """How long a step lasts at least, and at most where its values are too few. More than a ``crowd`` under way are
    more than a server has that keeps up."""

    least: float
    most: float
    crowd: float = math.inf


def state(
    elapsed: float, length: StepLength, evidence: Iterable[LimitEvidence], purpose: Purpose, watch: StepWatch
) -> StepState:
    """Whether a step goes on after ``elapsed`` seconds that count. On the way up a look is enough, but where so many
    are under way that it may be a backlog."""
    found = tuple(evidence)
    if any(one.over > 1 and one.missed(EARLY) for one in found):
        return "missed"
    if watch.backlog_grows:
        return "backlog"
    if elapsed < length.least:
        return "go on"
    crowded = purpose == "climb" and watch.under_way > length.crowd
    if elapsed >= length.most:
        return "backlog" if crowded and watch.still_filling else "enough"
    if purpose == "climb":
        return "go on" if crowded else "enough"
    wanted = found if purpose == "confirm" else [one for one in found if one.over]
    return "enough" if all(one.settled for one in wanted) else "go on"
