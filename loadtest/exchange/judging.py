"""Judges every answer against the grammar of its API, in a separate process.

Judging an event takes longer than reading it, and would delay the clocks of other streams here. The process has the
lowest priority, so that it takes no CPU time from a server on the same machine. It reads answers and writes verdicts,
one per line of JSON, in the same order.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator
from functools import partial
from typing import Final, Literal, Protocol

import attrs
import msgspec
import trio

from loadtest.exchange.content import AnswerContent, read_answer
from streams.events import Api
from streams.garbage import freeze_startup_objects
from streams.structure import MAX_ELEMENTS, has_more_elements

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
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout
        self._held = 0
        self._sending = trio.Lock()
        self._waiting: deque[trio.MemorySendChannel[StreamVerdict]] = deque()
        self._gone = False

    async def __call__(self, answer: ReceivedAnswer) -> StreamVerdict:
        if self._gone or self._held + len(answer.body) > HELD:
            return judge_answer(answer)
        self._held += len(answer.body)
        send, receive = trio.open_memory_channel[StreamVerdict](1)
        try:
            async with self._sending:
                self._waiting.append(send)
                await self._input.send_all(msgspec.json.encode(answer) + b"\n")
            return await receive.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            return judge_answer(answer)  # the process was killed: judge here instead
        finally:
            self._held -= len(answer.body)

    async def listen(self) -> None:
        """Deliver the verdicts until the process ends."""
        decoder, held = msgspec.json.Decoder(StreamVerdict), b""
        async for data in self._output:
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                self._waiting.popleft().send_nowait(decoder.decode(line))
                await trio.lowlevel.checkpoint()  # count one at a time, so that reads can run in between
        self._gone = True
        for waiting in self._waiting:
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
        # Its start uses CPU, so it must be over before the measurement. The first verdict loads all modules.
        await judge(ReceivedAnswer("chat", True, b""))
        try:
            yield judge
        finally:
            nursery.cancel_scope.cancel()


def main() -> None:
    """Run the process: read answers from standard input, write verdicts to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the load tester, which ends this process
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    judge_answer(ReceivedAnswer("chat", True, b""))
    freeze_startup_objects()
    decoder = msgspec.json.Decoder(ReceivedAnswer)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(msgspec.json.encode(judge_answer(decoder.decode(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
