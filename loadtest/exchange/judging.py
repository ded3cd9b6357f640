"""Judges every answer against the grammar of its API, in a separate process.

Judging an event takes longer than reading it, and would delay the clocks of other streams here. The process has the
lowest priority, so that it takes no CPU time from a server on the same machine.
"""

import contextlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, BinaryIO, Final, Literal, Protocol

import attrs
import msgspec
import trio

from loadtest.exchange.content import AnswerContent, read_answer
from streams.events import Api
from streams.garbage import freeze_startup_objects
from streams.structure import MAX_ELEMENTS, has_more_elements

_LENGTH = struct.Struct("<I")

HELD: Final = 64 * 2**20
"""Bytes of answers that may wait for the judge.

This process judges the answers beyond that: the load is then late, which the report shows, but memory stays bounded.
"""


@attrs.frozen
class ReceivedAnswer:
    """The received body of an answer with status 200. An answer that is not ``complete`` is read but not judged."""

    api: Api
    streamed: bool
    body: bytes
    complete: bool = True


@attrs.frozen
class StreamVerdict:
    """The verdict on an answer.

    The ``rule`` that it breaks is "" if there is none, and ``found`` describes the violation. ``waived`` are rules that
    many servers break. ``reading`` is the content; an answer ``too large`` is not read.
    """

    outcome: Literal["complete", "failed", "cut", "too large"]
    rule: str = ""
    found: str = ""
    waived: tuple[str, ...] = ()
    reading: AnswerContent = attrs.field(factory=AnswerContent)


_verdicts = msgspec.msgpack.Decoder(tuple[int, StreamVerdict])


class AnswerJudge(Protocol):
    async def __call__(self, answer: ReceivedAnswer) -> StreamVerdict: ...


def judge_answer(answer: ReceivedAnswer) -> StreamVerdict:
    """Return the verdict, computed in this process."""
    from providers.grammar import judge

    if not answer.streamed and has_more_elements(answer.body, MAX_ELEMENTS):
        return StreamVerdict("too large", found=f"the answer has more than {MAX_ELEMENTS:,} JSON elements")
    reading = read_answer(answer.api, answer.body, streamed=answer.streamed)
    if not answer.complete:
        return StreamVerdict("cut", reading=reading)
    verdict = judge(answer.api, answer.body, streamed=answer.streamed, tolerant=True)
    rule, found = (broken.rule, broken.found) if (broken := verdict.broken) else ("", "")
    return StreamVerdict(verdict.outcome, rule, found, tuple(verdict.waived), reading)


class _JudgeProcess:
    """The connection to the judge process."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._held = 0
        self._sending = trio.Lock()
        self._waiting: dict[int, trio.MemorySendChannel[StreamVerdict]] = {}
        self._number = 0
        self.gone = False
        self.ready = trio.Event()

    async def __call__(self, answer: ReceivedAnswer) -> StreamVerdict:
        if self._held + len(answer.body) > HELD:
            return judge_answer(answer)
        self._held += len(answer.body)
        try:
            return await self._request_verdict(answer)
        finally:
            self._held -= len(answer.body)

    async def _request_verdict(self, answer: ReceivedAnswer) -> StreamVerdict:
        assert self._process.stdin is not None
        self._number += 1
        number = self._number
        send, receive = trio.open_memory_channel[StreamVerdict](1)
        self._waiting[number] = send
        try:
            async with self._sending:
                await self._process.stdin.send_all(_pack((number, *attrs.astuple(answer))))
            if not self.gone:
                return await receive.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            pass
        finally:
            self._waiting.pop(number, None)
        return judge_answer(answer)  # the process was killed: judge here instead

    async def listen(self) -> None:
        """Deliver the verdicts until the process ends."""
        assert self._process.stdout is not None
        held = b""
        async for data in self._process.stdout:
            held += data
            while len(held) >= _LENGTH.size and len(held) >= (end := _LENGTH.size + _LENGTH.unpack_from(held)[0]):
                number, verdict = _verdicts.decode(held[_LENGTH.size : end])
                held = held[end:]
                self.ready.set()
                if number in self._waiting:
                    self._waiting[number].send_nowait(verdict)
                    await trio.lowlevel.checkpoint()  # count one at a time, so that reads can run in between
        self.gone = True
        self.ready.set()
        for waiting in self._waiting.values():
            waiting.close()


@contextlib.asynccontextmanager
async def open_judge() -> AsyncIterator[AnswerJudge]:
    """Run a judge in a separate process until the end of the block."""
    command = [sys.executable, "-m", "loadtest.exchange.judging"]
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(start)
        judge = _JudgeProcess(process)
        nursery.start_soon(judge.listen)
        await judge.ready.wait()  # its start uses CPU, so it must be over before the measurement
        try:
            yield judge
        finally:
            nursery.cancel_scope.cancel()


def _pack(value: Any) -> bytes:
    data = msgspec.msgpack.encode(value)
    return _LENGTH.pack(len(data)) + data


def _read_message(source: BinaryIO) -> Any:
    """Return the next message, or ``None`` at the end."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    return msgspec.msgpack.decode(source.read(_LENGTH.unpack(head)[0]))


def main() -> None:
    """Run the process: read answers from standard input, write verdicts to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the load tester, which ends this process
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    verdict = judge_answer(ReceivedAnswer("chat", True, b""))  # loads all modules before the first answer
    freeze_startup_objects()
    _send_verdict(0, verdict)
    while (message := _read_message(sys.stdin.buffer)) is not None:
        number, *fields = message
        _send_verdict(number, judge_answer(ReceivedAnswer(*fields)))


def _send_verdict(number: int, verdict: StreamVerdict) -> None:
    sys.stdout.buffer.write(_pack((number, verdict)))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
