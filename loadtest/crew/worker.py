"""A process that makes its share of a load: orders on its standard input, reports on its standard output."""

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
    Begun,
    Finished,
    Halt,
    MessageChannel,
    Order,
    PeerGone,
    Prepare,
    Progress,
    RecordRow,
    Records,
    Report,
    ShareReady,
    Unable,
)
from loadtest.exchange.judging import Judging, judging
from loadtest.exchange.record import ExchangeRecord
from loadtest.run.overhead import SelfTest, self_test
from loadtest.run.running import ActiveRun, Unreachable, address_of
from loadtest.wire.connections import raise_file_limit
from streams.garbage import freeze_startup_objects

PROGRESS: Final = 1.0  # seconds between two looks at the figures
RECORDS: Final = 0.2  # seconds for which records are collected
MOST_ROWS: Final = 50_000
MOST_BODIES: Final = 64 * 2**20  # bytes
"""What waits to be sent: it is dropped, and counted, sooner than that memory runs out or the load is held up."""


JudgeAtWork: TypeAlias = AbstractAsyncContextManager[Judging]


class OutgoingRecords:
    """Records on their way to the commanding process."""

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

    def take(self) -> Records | None:
        """All that is there."""
        if not self._rows and not self._dropped:
            return None
        found = Records(self._rows, self._dropped)
        self._rows, self._bytes, self._dropped = [], 0, 0
        return found


@attrs.define(eq=False)
class PreparedShare:
    """A share of a load from its preparation to its end: what has been ordered, and its run once that has begun."""

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
        """As soon as it runs."""
        self.ending = order
        if self.running is None:
            return
        match order:
            case Halt(reason):
                self.running.stop(reason)
            case BeginNoMore(reason):
                self.running.finish(reason)


class LoadWorker:
    """Takes orders over ``channel`` until the other side is gone. ``judge`` opens a judge of answers."""

    def __init__(self, channel: MessageChannel, judge: Callable[[bool], JudgeAtWork] = judging) -> None:
        self._channel = channel
        self._open_judge = judge
        self._nursery: trio.Nursery
        self._judges: dict[bool, Judging] = {}
        self._test: SelfTest | None = None
        self._share: PreparedShare | None = None

    async def serve(self) -> None:
        async with trio.open_nursery() as self._nursery:
            with contextlib.suppress(PeerGone):
                while True:
                    await self._take(await self._channel.receive())
            self._nursery.cancel_scope.cancel()

    async def _take(self, order: Order) -> None:
        match order:
            case Prepare():
                if self._share is not None:
                    self._share.scope.cancel()
                self._share = PreparedShare(order)
                self._nursery.start_soon(self._make, self._share)
            case Begin(at) if self._share is not None:
                self._share.begin(at)
            case Halt() | BeginNoMore() if self._share is not None:
                self._share.end(order)

    async def _say(self, report: Report) -> None:
        """To the end, also where the load ends meanwhile: half a message would spoil all that come behind it."""
        with contextlib.suppress(PeerGone), trio.CancelScope(shield=True):  # whoever takes orders notices it
            await self._channel.send(report)

    # One share

    async def _make(self, share: PreparedShare) -> None:
        with share.scope:
            try:
                await self._load(share)
            except (Unreachable, OSError, ConfigError) as error:
                await self._say(Unable(str(error)))
            except Exception as error:  # whoever commands is told, and not a terminal that nobody looks at
                await self._say(Unable(f"{type(error).__name__}: {error}"))

    async def _load(self, share: PreparedShare) -> None:
        order, plan = share.order, share.order.plan
        place = await address_of(plan, order.target)
        judge = await self._judge(plan.strict)
        if order.self_test and self._test is None:
            self._test = await self_test()
        await self._say(ShareReady(self._test))
        await share.ordered.wait()
        begin = trio.current_time() + share.at - time.monotonic()
        sinks = [OutgoingRecords(reads_bodies=order.wanted == "bodies")] if order.wanted != "figures" else []
        running = ActiveRun(
            plan,
            order.target,
            place,
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
            nursery.start_soon(self._watch, running)
            for sink in sinks:
                nursery.start_soon(self._hand_on, sink)
            result = await running.run()
            nursery.cancel_scope.cancel()
        for sink in sinks:
            if (last := sink.take()) is not None:
                await self._say(last)
        await self._say(Finished(running.take(), result.overhead.cpu))

    async def _report_begin(self, begin: float) -> None:
        await trio.sleep_until(begin)
        await self._say(Begun(time.monotonic()))

    async def _watch(self, running: ActiveRun) -> None:
        while True:
            await trio.sleep(PROGRESS)
            progress = Progress(running.take(), running.in_flight, running.judging, running.unfinished())
            await self._say(progress)

    async def _hand_on(self, sink: OutgoingRecords) -> None:
        while True:
            await trio.sleep(RECORDS)
            if (found := sink.take()) is not None:
                await self._say(found)

    async def _judge(self, strict: bool) -> Judging:
        if strict not in self._judges:
            self._judges[strict] = await self._nursery.start(_keep_judge, self._open_judge(strict))
        return self._judges[strict]


async def _keep_judge(opening: JudgeAtWork, *, task_status: trio.TaskStatus[Judging]) -> None:
    """One judge for all loads of this process, as long as that lives."""
    async with opening as judge:
        task_status.started(judge)
        await trio.sleep_forever()


async def _serve() -> None:
    orders, reports = os.dup(0), os.dup(1)
    os.dup2(2, 1)  # what anything prints is no report
    reader, writer = trio.lowlevel.FdStream(orders), trio.lowlevel.FdStream(reports)
    await LoadWorker(MessageChannel(reader, writer)).serve()


def main() -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the commanding process, which says what to do
    raise_file_limit()
    freeze_startup_objects()
    trio.run(_serve)


if __name__ == "__main__":
    main()
