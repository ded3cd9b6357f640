"""The figures of a run in progress, including refusals. Figures of several processes can be merged."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import attrs

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.histogram import Histogram
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline

MANY: Final = 20  # refusals without any other answer: the load is then pointless
STATUSES: Final = (400, 401, 403, 404)
FEW: Final = 5  # requests without a connection and no others: nothing listens at the address
UNREACHED: Final = ("refused", "unreachable")
"""The kinds of failures of connections that the loader's own limits cannot cause."""


@attrs.define
class RefusedAnswers:
    """The numbers of ``refused`` and ``others`` answers, including the warm-up.

    ``unconnected`` are those of the others without a connection. ``first_text`` is the text of the first refusal,
    ``first_fault`` that of the first failed connection.
    """

    refused: int = 0
    others: int = 0
    unconnected: int = 0
    first_text: str = ""
    first_fault: str = ""

    def add(self, record: ExchangeRecord) -> None:
        if record.end == "interrupted":
            return
        if record.status not in STATUSES:
            self.others += 1
            fault = record.problem
            if fault is not None and fault.phase == "connect" and fault.kind in UNREACHED:
                self.unconnected += 1
                self.first_fault = self.first_fault or f"{fault.kind}: {fault.detail}"
            return
        self.refused += 1
        if not self.first_text and record.problem is not None:
            self.first_text = f"{record.problem.kind}: {record.problem.detail}"

    def merge(self, other: "RefusedAnswers") -> None:
        """Add the counts of another process."""
        self.refused += other.refused
        self.others += other.others
        self.unconnected += other.unconnected
        self.first_fault = self.first_fault or other.first_fault
        self.first_text = self.first_text or other.first_text

    @property
    def are_all_answers(self) -> bool:
        return self.refused >= MANY and not self.others

    @property
    def is_unreached(self) -> bool:
        """Return whether every request so far failed to connect, and there were enough of them."""
        return FEW <= self.unconnected == self.refused + self.others


Key = TypeVar("Key", str, int)


@attrs.frozen
class FigureCell:
    """The smallest part of a run with its own tally: a kind of request, a turn of its conversations, and a step."""

    request: str
    turn: int
    step: int


class RunFigures:
    """The tallies of a run, one for each cell. ``total``, ``requests``, ``turns`` and ``steps`` merge them on each
    access.

    Exchanges that began in the warm-up are not in the cells, but their tokens are in the ``timeline`` and their
    answers in ``refusals``. ``last`` is the time of the last end, ``retry_waits`` are waits for a server's
    ``retry-after``. ``unbegun`` counts turns that were skipped after a failed turn, ``cut_off`` those that were
    skipped at the end of the load. ``conversing`` are the kinds of requests with several turns. ``probes`` are in no
    other figure.
    """

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
        return Tally.sum_of(self.cells.values())

    @property
    def requests(self) -> Mapping[str, Tally]:
        return self._merge_cells_by(lambda cell: cell.request)

    @property
    def turns(self) -> Mapping[int, Tally]:
        return self._merge_cells_by(lambda cell: cell.turn)

    @property
    def conversations(self) -> Mapping[int, Tally]:
        """The tallies by turn, of conversations only."""
        return self._merge_cells_by(lambda cell: cell.turn, lambda cell: cell.request in self.conversing)

    @property
    def steps(self) -> Mapping[int, Tally]:
        return self._merge_cells_by(lambda cell: cell.step)

    def _merge_cells_by(
        self, key: Callable[[FigureCell], Key], takes: Callable[[FigureCell], bool] = lambda cell: True
    ) -> Mapping[Key, Tally]:
        found: defaultdict[Key, Tally] = defaultdict(Tally)
        for cell, tally in self.cells.items():
            if takes(cell):
                found[key(cell)].merge(tally)
        return dict(sorted(found.items()))

    def record_begin(self, planned: float, late: float) -> None:
        """Count the begin of an exchange that the loader started ``late`` seconds too late."""
        if planned >= 0:
            self.timeline.record_begin(planned)
            self.late.add(late)

    def count_skipped_turns(self, turns: int, failed: bool) -> None:
        """Count the turns that a conversation skipped because a turn ``failed``, or because the time was up."""
        if failed:
            self.unbegun += turns
        else:
            self.cut_off += turns

    def add(self, record: ExchangeRecord, missed: Sequence[str] = ()) -> None:
        """Add an exchange that ended and ``missed`` these objectives."""
        self.timeline.record_token_times(record)
        self.refusals.add(record)
        if record.is_counted:
            self.last = max(self.last, record.ended)
            self.cells[FigureCell(record.request, record.turn, record.step)].add(record, missed)
            self.timeline.record_end(record, record.end == "whole" and not missed)

    def merge(self, other: "RunFigures") -> None:
        """Add the figures of another process."""
        self.timeline.merge(other.timeline)
        self._add(other)

    def add_later(self, later: "RunFigures") -> None:
        """Add later figures of the same process."""
        self.timeline.add_later(later.timeline)
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
