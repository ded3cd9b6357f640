"""One run in several processes: each makes its share, and this module combines their reports."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

import attrs
import trio

from loadtest.crew.channel import (
    Begin,
    BeginNoMore,
    CrewFailed,
    CrewFinished,
    CrewMember,
    Halt,
    Order,
    Prepare,
    Progress,
    Records,
    Report,
    ShareBegun,
    ShareFailed,
    ShareReady,
    Wanted,
)
from loadtest.figures.measures import format_duration
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.plan.scenario import Scenario, planned_counts
from loadtest.plan.shares import PlanShare
from loadtest.requests.sources import new_mark
from loadtest.run.overhead import Overhead, SelfTest
from loadtest.run.under_way import LoadUnderWay, RecordSink, UnfinishedAnswers, start_time

SOON: Final = 0.1
"""Seconds from the order to begin until the begin, to allow for the pipes."""

READY_WITHIN: Final = 60.0  # seconds for a process to get ready

APART: Final = 0.05
"""Seconds between the first and the last process to begin that the report mentions."""

ShareState: TypeAlias = Literal["preparing", "making", "finished", "lost"]


@attrs.define(eq=False)
class MemberShare:
    """The progress of one process with its share."""

    member: CrewMember
    share: PlanShare
    state: ShareState = "preparing"
    figures: RunFigures = attrs.field(factory=RunFigures)
    in_flight: int = 0
    in_judging: int = 0
    unfinished: UnfinishedAnswers = attrs.field(factory=UnfinishedAnswers)
    begun: float | None = None
    cpu: float = 0.0
    self_test: SelfTest | None = None
    lost_at: float = 0.0
    loss_reason: str = ""

    @property
    def overhead(self) -> Overhead:
        return Overhead(self.figures.lag, self.figures.late, self.cpu, self.self_test)

    @property
    def loss(self) -> str:
        after = format_duration(max(0.0, self.lost_at))
        return f"{self.loss_reason}, {after} after the start; its unreported results are lost"

    def lost_requests(self, plan: Scenario, seconds: float) -> int:
        """Return the number of requests with an unknown end: those planned until ``seconds`` that have not ended.

        In a closed loop, only the requests under way are known.
        """
        if self.state != "lost":
            return 0
        if not plan.is_open_loop and plan.count is None:
            return self.in_flight
        ended = sum(tally.counts["started"] for cell, tally in self.figures.cells.items() if cell.turn == 1)
        planned = planned_counts(plan, self.share.of, seconds)
        return max(0, planned[self.share.index] - ended) if planned else 0


class SharedRun(LoadUnderWay):
    """A run in several processes that can be observed while it runs.

    ``key`` is the key of the target. The combined ``figures`` are at most a second old.
    """

    def __init__(
        self,
        crew: Sequence[CrewMember],
        scenario: Scenario,
        target: str,
        key: str | None,
        sinks: Sequence[RecordSink] = (),
        *,
        self_test: bool = False,
    ) -> None:
        # All processes need the same prefixes.
        super().__init__(attrs.evolve(scenario, mark=scenario.mark or new_mark()), target)
        self._key = key
        self._sinks = sinks
        self._self_test = self_test
        divided = (scenario.part.divide(index, len(crew)) for index in range(len(crew)))
        self._shares = [MemberShare(member, share) for member, share in zip(crew, divided, strict=True)]
        self._ending: Halt | BeginNoMore | None = None
        self._began = False
        self._nursery: trio.Nursery
        self._unable: CrewFailed | None = None
        self._dropped = 0

    # Observation

    @property
    def figures(self) -> RunFigures:
        found = RunFigures()
        for share in self._shares:
            found.merge(share.figures)
        return found

    @property
    def in_flight(self) -> int:
        return sum(share.in_flight for share in self._active_shares)

    @property
    def in_judging(self) -> int:
        return sum(share.in_judging for share in self._active_shares)

    @property
    def _active_shares(self) -> list[MemberShare]:
        return [share for share in self._shares if share.state == "making"]

    @property
    def begun_share(self) -> float:
        return self.figures.total.counts["started"] / self.scenario.count if self.scenario.count else 0.0

    @property
    def progress(self) -> float:
        return super().progress if self._began else 0.0

    @property
    def warming_up(self) -> bool:
        """True also while the processes prepare."""
        return not self._began or super().warming_up

    def unfinished(self) -> UnfinishedAnswers:
        """Return the answers under way, as of the last report."""
        parts = [share.unfinished for share in self._active_shares]
        return UnfinishedAnswers(
            [first for part in parts for first in part.ttfb],
            [first for part in parts for first in part.ttft],
            sum(part.events for part in parts),
        )

    def stop(self, reason: str = "") -> None:
        self.interrupted = self.interrupted or not reason
        self._end_all(Halt(reason))

    def finish(self, reason: str) -> None:
        self._end_all(BeginNoMore(reason))

    def _end_all(self, order: Halt | BeginNoMore) -> None:
        """Send ``order`` to all processes, or remember it until the run has begun."""
        self.stopped = self.stopped or order.reason
        self.end = min(self.end, max(self.begin, trio.current_time()))
        self._ending = order
        if self._began:
            self._send_order_to_all(order)

    def _send_order_to_all(self, order: Halt | BeginNoMore) -> None:
        for share in self._active_shares:
            self._nursery.start_soon(self._send_order, share, order)

    # The run

    async def run(self) -> RunResult:
        """Run the whole load. Raises ``CrewFailed`` if a process cannot prepare."""
        async with trio.open_nursery() as nursery:
            for share in self._shares:
                nursery.start_soon(self._prepare, share)
        if self._unable is not None:
            raise self._unable
        at = trio.current_time() + SOON if self.scenario.start_at is None else start_time(self.scenario.start_at)
        started = datetime.fromtimestamp(time.time() + at - trio.current_time(), UTC)
        self.begin = at + self.scenario.warmup
        self.end = self.begin + self.scenario.seconds
        await self._make_shares(at)
        return self._with_losses(self.result(started, self._overhead()))

    async def _make_shares(self, at: float) -> None:
        """Start all shares at ``at``, and follow them to their ends."""
        begin = Begin(at - trio.current_time() + time.monotonic())
        async with trio.open_nursery() as self._nursery:
            for share in self._shares:
                share.state = "making"
                await self._send_order(share, begin)
                self._nursery.start_soon(self._follow, share)
            self._began = True
            if self._ending is not None:
                self._send_order_to_all(self._ending)

    async def _prepare(self, share: MemberShare) -> None:
        try:
            await self._prepare_share(share)
        except CrewFailed as error:
            self._unable = self._unable or CrewFailed(f"{error}, before the start of the load")

    async def _prepare_share(self, share: MemberShare) -> None:
        member = share.member
        await member.order(
            Prepare(self.scenario, self.target, self._key, share.share, self._record_detail, self_test=self._self_test)
        )
        while not isinstance(report := await member.report(READY_WITHIN), ShareReady):
            if isinstance(report, ShareFailed):
                member.fail(report.reason)
        share.self_test = report.self_test

    @property
    def _record_detail(self) -> Wanted:
        if not self._sinks:
            return "figures"
        return "bodies" if any(sink.reads_bodies for sink in self._sinks) else "records"

    async def _send_order(self, share: MemberShare, order: Order) -> None:
        try:
            await share.member.order(order)
        except CrewFailed as error:
            self._mark_lost(share, error)

    async def _follow(self, share: MemberShare) -> None:
        """Process the reports of one share until it has finished or is lost."""
        while share.state == "making":
            try:
                self._apply_report(share, await share.member.report())
            except CrewFailed as error:
                self._mark_lost(share, error)

    def _mark_lost(self, share: MemberShare, error: CrewFailed) -> None:
        if share.state == "making":
            share.state, share.lost_at, share.loss_reason = "lost", trio.current_time() - self.begin, str(error)

    def _apply_report(self, share: MemberShare, report: Report) -> None:
        match report:
            case ShareBegun(at):
                share.begun = at
            case Progress(figures, in_flight, in_judging, unfinished):
                share.figures.add_later(figures)
                share.in_flight, share.in_judging, share.unfinished = in_flight, in_judging, unfinished
            case Records(rows, dropped):
                self._dropped += dropped
                for row in rows:
                    for sink in self._sinks:
                        sink.add(row.record, row.missed, row.body)
            case CrewFinished(figures, cpu):
                share.figures.add_later(figures)
                share.cpu, share.state, share.in_flight, share.in_judging = cpu, "finished", 0, 0
            case ShareFailed(reason):
                share.member.fail(reason)

    @property
    def _start_spread(self) -> float:
        """Seconds between the first and the last process to begin."""
        begun = [share.begun for share in self._shares if share.begun is not None]
        return max(begun) - min(begun) if begun else 0.0

    # The result

    def _with_losses(self, result: RunResult) -> RunResult:
        """Return the result with the lost requests and the remarks."""
        seconds = self.end - self.begin
        lost = sum(share.lost_requests(self.scenario, seconds) for share in self._shares)
        result.tally.counts["lost"] += lost
        return attrs.evolve(result, remarks=(*result.remarks, *self._remarks(lost)))

    def _overhead(self) -> Overhead:
        figures, parts = self.figures, {share.member.name: share.overhead for share in self._shares}
        lost = [share.loss for share in self._shares if share.state == "lost"]
        return Overhead.of_parts(parts, figures.lag, figures.late, self._start_spread, lost)

    def _remarks(self, lost: int) -> Sequence[str]:
        found = [f"{share.loss}." for share in self._shares if share.state == "lost"]
        if found:
            found.append(f"{lost} requests are lost, so the figures do not cover the whole load.")
        if self._dropped:
            found.append(f"{self._dropped} records arrived too fast, so the log lacks their lines.")
        if self._start_spread >= APART:
            spread = format_duration(self._start_spread)
            found.append(f"The processes started {spread} apart, so the load was incomplete at first.")
        return found
