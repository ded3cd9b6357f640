"""The figures of a run while it goes on, the refusals among them: those of several processes can be merged to one's."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline

MANY: Final = 20  # refusals and nothing else; what such a load would still ask is of no use
STATUSES: Final = (400, 401, 403, 404)


@attrs.define
class RefusedAnswers:
    """How many answers were ``refused`` and how many ``others`` there were, in the warm-up too. ``said`` is what the
    first refusal said."""

    refused: int = 0
    others: int = 0
    said: str = ""

    def add(self, record: ExchangeRecord) -> None:
        if record.end == "interrupted":
            return
        if record.status not in STATUSES:
            self.others += 1
            return
        self.refused += 1
        if not self.said and record.problem is not None:
            self.said = f"{record.problem.kind}: {record.problem.detail}"

    def merge(self, other: "RefusedAnswers") -> None:
        """Add those that another process has seen."""
        self.refused += other.refused
        self.others += other.others
        self.said = self.said or other.said

    @property
    def are_all(self) -> bool:
        return self.refused >= MANY and not self.others


Key = TypeVar("Key", str, int)


@attrs.frozen
class FigureCell:
    """The least part of a run that has sums of its own: a kind of request, a turn of its conversations, a step."""

    request: str
    turn: int
    step: int


class RunFigures:
    """The sums of a run, cell by cell; ``total``, ``requests``, ``turns`` and ``steps`` put them together anew at each
    look.

    What began in the warm-up is in none of them, but its tokens are in the ``timeline``, and its answers among the
    ``refusals``. ``last`` is when the last
    exchange ended, ``retry_waits`` are what clients waited because they were told to. ``unbegun`` counts turns that a
    failed one before them kept from beginning, ``cut_off`` those that the end of the load did; ``conversing`` are the
    kinds of requests that have several turns. ``probes`` are in none of the other figures."""

    def __init__(self) -> None:
        self.cells: defaultdict[FigureCell, Tally] = defaultdict(Tally)
        self.timeline = LoadTimeline()
        self.late = Histogram()
        self.lag = Histogram()
        self.last = 0.0
        self.unbegun = 0
        self.cut_off = 0
        self.retry_waits = Histogram()
        self.conversing: set[str] = set()
        self.probes = Tally()
        self.refusals = RefusedAnswers()

    @property
    def total(self) -> Tally:
        found = Tally()
        for tally in self.cells.values():
            found.merge(tally)
        return found

    @property
    def requests(self) -> Mapping[str, Tally]:
        return self._by(lambda cell: cell.request)

    @property
    def turns(self) -> Mapping[int, Tally]:
        return self._by(lambda cell: cell.turn)

    @property
    def conversations(self) -> Mapping[int, Tally]:
        """Conversations turn by turn, without requests that stand alone."""
        return self._by(lambda cell: cell.turn, lambda cell: cell.request in self.conversing)

    @property
    def steps(self) -> Mapping[int, Tally]:
        return self._by(lambda cell: cell.step)

    def _by(
        self, key: Callable[[FigureCell], Key], takes: Callable[[FigureCell], bool] = lambda cell: True
    ) -> Mapping[Key, Tally]:
        found: defaultdict[Key, Tally] = defaultdict(Tally)
        for cell, tally in self.cells.items():
            if takes(cell):
                found[key(cell)].merge(tally)
        return dict(sorted(found.items()))

    def begun(self, planned: float, late: float) -> None:
        """An exchange begins; ``late`` by so many seconds, which are ours."""
        if planned >= 0:
            self.timeline.begun(planned)
            self.late.add(late)

    def left(self, turns: int, failed: bool) -> None:
        """A conversation is over, and so many of its turns have not begun: one before them ``failed``, or the time was
        up."""
        if failed:
            self.unbegun += turns
        else:
            self.cut_off += turns

    def add(self, record: ExchangeRecord, missed: Sequence[str] = ()) -> None:
        """An exchange has ended, and ``missed`` these objectives."""
        self.timeline.came(record)
        self.refusals.add(record)
        if record.is_counted:
            self.last = max(self.last, record.ended)
            self.cells[FigureCell(record.request, record.turn, record.step)].add(record, missed)
            self.timeline.ended(record, record.end == "whole" and not missed)

    def merge(self, other: "RunFigures") -> None:
        """Add all of ``other``: the result is as if one process had seen all."""
        self.timeline.merge(other.timeline)
        self._add(other)

    def follow(self, later: "RunFigures") -> None:
        """Add what the same process has seen since."""
        self.timeline.follow(later.timeline)
        self._add(later)

    def _add(self, other: "RunFigures") -> None:
        for cell, tally in other.cells.items():
            self.cells[cell].merge(tally)
        self.late.merge(other.late)
        self.lag.merge(other.lag)
        self.last = max(self.last, other.last)
        self.unbegun += other.unbegun
        self.cut_off += other.cut_off
        self.retry_waits.merge(other.retry_waits)
        self.conversing |= other.conversing
        self.probes.merge(other.probes)
        self.refusals.merge(other.refusals)
