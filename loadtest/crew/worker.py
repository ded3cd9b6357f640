"""A process that makes its share of a load. It reads orders from standard input and reports to standard output."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeAlias

import attrs
import trio

from configfile.document import ConfigError
from loadtest.crew.channel import (
    Begin,
    BeginNoMore,
    CrewFinished,
    Halt,
    MessageChannel,
    Order,
    PeerGone,
    Prepare,
    Progress,
    RecordRow,
    Records,
    Report,
    ShareBegun,
    ShareFailed,
    ShareReady,
)
from loadtest.exchange.judging import AnswerJudge, open_judge
from loadtest.exchange.record import ExchangeRecord
from loadtest.run.overhead import SelfTest, self_test
from loadtest.run.running import ActiveRun, Unreachable, address_of
from loadtest.wire.connections import raise_file_limit
from streams.garbage import freeze_startup_objects

PROGRESS: Final = 1.0  # seconds between two reports of the figures
RECORDS: Final = 0.2  # seconds for which records are collected
MOST_ROWS: Final = 50_000
MOST_BODIES: Final = 64 * 2**20  # bytes
"""Limits of the records that wait to be sent. More are dropped and counted, so that memory and the load stay safe."""


JudgeContext: TypeAlias = AbstractAsyncContextManager[AnswerJudge]


class OutgoingRecords:
    """Records to send to the leading process."""

    def __init__(self, *, reads_bodies: bool) -> None:
        self.reads_bodies = reads_bodies
        self._rows: list[RecordRow] = []
        self._bytes = 0
        self._dropped = 0

    def add(self, record: ExchangeRecord, missed: Sequence[str], body: bytes) -> None:
        if len(self._rows) >= MOST_ROWS or self._bytes > MOST_BODIES:
            self._dropped += 1
            return
        self._rows.append(RecordRow(record, list(missed), body if self.reads_bodies else b""))
        self._bytes += len(self._rows[-1].body)

    def take_all(self) -> Records | None:
        """Remove and return all records."""
        if not self._rows and not self._dropped:
            return None
        found = Records(self._rows, self._dropped)
        self._rows, self._bytes, self._dropped = [], 0, 0
        return found


@attrs.define(eq=False)
class PreparedShare:
    """A share of a load from its preparation to its end: its orders, and its run after the begin."""

    order: Prepare
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    ordered: trio.Event = attrs.field(factory=trio.Event)
    at: float = 0.0
    ending: Halt | BeginNoMore | None = None
    running: ActiveRun | None = None

    def begin(self, at: float) -> None:
        self.at = at
        self.ordered.set()

    def end(self, order: Halt | BeginNoMore) -> None:
        """End the run, or remember to end it when it starts."""
        self.ending = order
        if self.running is None:
            return
        match order:
            case Halt(reason):
                self.running.stop(reason)
            case BeginNoMore(reason):
                self.running.finish(reason)


class LoadWorker:
    """A worker that follows orders from ``channel`` until the other side is gone.

    ``judge`` opens a judge of answers.
    """

    def __init__(self, channel: MessageChannel, judge: Callable[[bool], JudgeContext] = open_judge) -> None:
        self._channel = channel
        self._open_judge = judge
        self._nursery: trio.Nursery
        self._judges: dict[bool, AnswerJudge] = {}
        self._test: SelfTest | None = None
        self._share: PreparedShare | None = None

    async def serve(self) -> None:
        async with trio.open_nursery() as self._nursery:
            with contextlib.suppress(PeerGone):
                while True:
                    await self._follow_order(await self._channel.receive())
            self._nursery.cancel_scope.cancel()

    async def _follow_order(self, order: Order) -> None:
        match order:
            case Prepare():
                if self._share is not None:
                    self._share.scope.cancel()
                self._share = PreparedShare(order)
                self._nursery.start_soon(self._make_share, self._share)
            case Begin(at) if self._share is not None:
                self._share.begin(at)
            case Halt() | BeginNoMore() if self._share is not None:
                self._share.end(order)

    async def _report(self, report: Report) -> None:
        """Send a report completely, even if the load ends meanwhile: half a message would corrupt all later ones."""
        with contextlib.suppress(PeerGone), trio.CancelScope(shield=True):  # ``serve`` notices it
            await self._channel.send(report)

    # One share

    async def _make_share(self, share: PreparedShare) -> None:
        with share.scope:
            try:
                await self._prepare_and_run(share)
            except (Unreachable, OSError, ConfigError) as error:
                await self._report(ShareFailed(str(error)))
            except Exception as error:  # the leading process reports it; this one has no terminal
                await self._report(ShareFailed(f"{type(error).__name__}: {error}"))

    async def _prepare_and_run(self, share: PreparedShare) -> None:
        order, plan = share.order, share.order.plan
        address = await address_of(plan, order.target)
        judge = await self._judge(plan.strict)
        if order.self_test and self._test is None:
            self._test = await self_test()
        await self._report(ShareReady(self._test))
        await share.ordered.wait()
        begin = trio.current_time() + share.at - time.monotonic()
        sinks = [OutgoingRecords(reads_bodies=order.wanted == "bodies")] if order.wanted != "figures" else []
        running = ActiveRun(
            plan,
            order.target,
            address,
            order.key,
            judge,
            share=order.share,
            sinks=sinks,
            begin=begin + plan.warmup,
            self_test=self._test,
        )
        await self._run(share, running, sinks, begin)

    async def _run(
        self, share: PreparedShare, running: ActiveRun, sinks: Sequence[OutgoingRecords], begin: float
    ) -> None:
        share.running = running
        if share.ending is not None:
            share.end(share.ending)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._report_begin, begin)
            nursery.start_soon(self._report_progress, running)
            for sink in sinks:
                nursery.start_soon(self._send_records, sink)
            result = await running.run()
            nursery.cancel_scope.cancel()
        for sink in sinks:
            if (last := sink.take_all()) is not None:
                await self._report(last)
        await self._report(CrewFinished(running.take_figures(), result.overhead.cpu))

    async def _report_begin(self, begin: float) -> None:
        await trio.sleep_until(begin)
        await self._report(ShareBegun(time.monotonic()))

    async def _report_progress(self, running: ActiveRun) -> None:
        while True:
            await trio.sleep(PROGRESS)
            progress = Progress(running.take_figures(), running.in_flight, running.in_judging, running.unfinished())
            await self._report(progress)

    async def _send_records(self, sink: OutgoingRecords) -> None:
        while True:
            await trio.sleep(RECORDS)
            if (found := sink.take_all()) is not None:
                await self._report(found)

    async def _judge(self, strict: bool) -> AnswerJudge:
        if strict not in self._judges:
            self._judges[strict] = await self._nursery.start(_keep_judge, self._open_judge(strict))
        return self._judges[strict]


async def _keep_judge(opening: JudgeContext, *, task_status: trio.TaskStatus[AnswerJudge]) -> None:
    """Keep one judge open for all loads of this process."""
    async with opening as judge:
        task_status.started(judge)
        await trio.sleep_forever()


async def _serve_orders() -> None:
    orders, reports = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # printed text must not mix with the reports
    reader, writer = trio.lowlevel.FdStream(orders), trio.lowlevel.FdStream(reports)
    await LoadWorker(MessageChannel(reader, writer)).serve()


def main() -> None:
    """Run the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the leading process, which decides
    raise_file_limit()
    freeze_startup_objects()
    trio.run(_serve_orders)


if __name__ == "__main__":
    main()
