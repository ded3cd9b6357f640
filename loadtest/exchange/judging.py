"""Judges every answer against the grammar of its API, in a separate process.

Judging an event takes longer than reading it, and would delay the clocks of other streams here. The process has the
lowest priority, so that it takes no CPU time from a server on the same machine.

Readers of ``providers.endpoints`` judge the endpoints other than conversations. Without a reader, a good answer is JSON
with at least one item.
"""

import contextlib
import os
import signal
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from typing import Any, BinaryIO, Final, Literal, Protocol

import attrs
import msgspec
import trio

from loadtest.exchange.content import AnswerContent, read_answer
from loadtest.plan.load_endpoints import LOAD_ENDPOINTS, LoadApi, wire_of
from providers.endpoints.completions import CompletionReader
from providers.endpoints.embeddings.openai import read_answer as read_embeddings
from streams.errors import GatewayError
from streams.garbage import freeze_startup_objects
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON


def broken_rule(api: LoadApi, body: bytes, *, streamed: bool) -> tuple[str, str]:
    """Return the rule that a complete answer of an endpoint breaks, and the finding (two empty strings if none)."""
    if not body:
        return f"{api}.empty", "it is empty"
    try:
        _CHECKS.get(api, _check_list)(api, body, streamed)
    except (GatewayError, ValueError) as error:
        return f"{api}.answer", str(error)
    return "", ""


def _check_embeddings(api: LoadApi, body: bytes, streamed: bool) -> None:
    if not read_embeddings(body, "float", None).count:
        raise ValueError("it has no vectors")


def _check_completion(api: LoadApi, body: bytes, streamed: bool) -> None:
    if not streamed:
        _check_list(api, body, streamed)
        return
    reader, framing = CompletionReader(1), wire_of(api).framing
    for raw in framing.splitter(len(body) + 1).feed(body):
        if (found := framing.parse(raw)) is not None:
            reader.read_event(*found)
    reader.close(streamed=True)


def _check_list(api: LoadApi, body: bytes, streamed: bool) -> None:
    member = LOAD_ENDPOINTS[api].answer
    value = _parse_json(body)
    if not isinstance(value, dict) or not isinstance(value.get(member), list) or not value[member]:
        raise ValueError(f"{member} is not a list, or it is empty")


def _check_transcript(api: LoadApi, body: bytes, streamed: bool) -> None:
    """Check a transcript: JSON, or one of the text formats."""
    if body.lstrip()[:1] == b"{" and not isinstance(_parse_json(body).get("text"), str):
        raise ValueError("`text` is not a string")


def _check_sound(api: LoadApi, body: bytes, streamed: bool) -> None:
    if body.lstrip()[:1] == b"{":
        raise ValueError("it is JSON, not audio")


def _parse_json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except NOT_JSON:
        raise ValueError("it is not JSON") from None


_CHECKS: Final[Mapping[LoadApi, Callable[[LoadApi, bytes, bool], None]]] = {
    "embeddings": _check_embeddings,
    "completions": _check_completion,
    "transcriptions": _check_transcript,
    "speech": _check_sound,
}


_LENGTH = struct.Struct("<I")

HELD: Final = 64 * 2**20
"""Bytes of answers that may wait for the judge.

This process judges the answers beyond that: the load is then late, which the report shows, but memory stays bounded.
"""


MOST_ELEMENTS: Final[Mapping[LoadApi, int]] = {"embeddings": 8 * 2**20}
"""Most JSON elements of a whole answer, for APIs that may exceed the gateway's limit, such as vectors of numbers.

The limit bounds memory (a byte may expand to a hundred) and time (60 MB take 15 seconds).
"""


@attrs.frozen
class ReceivedAnswer:
    """The received body of an answer with status 200.

    ``include_usage`` is as for ``providers.grammar.judge``. An answer that is not ``complete`` is read but not judged.
    """

    api: LoadApi
    streamed: bool
    include_usage: bool | None
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


def judge_answer(answer: ReceivedAnswer, strict: bool) -> StreamVerdict:
    """Return the verdict, computed in this process."""
    from providers.grammar import judge

    most = MOST_ELEMENTS.get(answer.api, MAX_ELEMENTS)
    if not answer.streamed and has_more_elements(answer.body, most):
        return StreamVerdict("too large", found=f"the answer has more than {most:,} JSON elements")
    reading = read_answer(answer.api, answer.body, streamed=answer.streamed)
    if not answer.complete:
        return StreamVerdict("cut", reading=reading)
    if answer.api in LOAD_ENDPOINTS:
        outcome: Literal["complete", "failed"] = "failed" if reading.error else "complete"
        broken = ("", "") if reading.error else broken_rule(answer.api, answer.body, streamed=answer.streamed)
        return StreamVerdict(outcome, *broken, reading=reading)
    verdict = judge(
        answer.api,
        answer.body,
        streamed=answer.streamed,
        tolerant=not strict,
        include_usage=answer.include_usage if strict else None,
    )
    rule, found = (said.rule, said.found) if (said := verdict.broken) else ("", "")
    return StreamVerdict(verdict.outcome, rule, found, tuple(verdict.waived), reading)


class _JudgeProcess:
    """The connection to the judge process."""

    def __init__(self, process: trio.Process, strict: bool, most: int) -> None:
        self._process = process
        self._most = most
        self._held = 0
        self._strict = strict
        self._sending = trio.Lock()
        self._waiting: dict[int, trio.MemorySendChannel[StreamVerdict]] = {}
        self._number = 0
        self.gone = False
        self.ready = trio.Event()

    async def __call__(self, answer: ReceivedAnswer) -> StreamVerdict:
        if self._held + len(answer.body) > self._most:
            return judge_answer(answer, self._strict)
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
        return judge_answer(answer, self._strict)  # the process was killed: judge here instead

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
async def open_judge(strict: bool, most: int = HELD) -> AsyncIterator[AnswerJudge]:
    """Run a judge in a separate process until the end of the block. At most ``most`` bytes wait for it."""
    command = [sys.executable, "-m", "loadtest.exchange.judging", *(["--strict"] if strict else [])]
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(start)
        judge = _JudgeProcess(process, strict, most)
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
    strict = "--strict" in sys.argv[1:]
    verdict = judge_answer(ReceivedAnswer("chat", True, None, b""), strict)  # loads all modules before the first answer
    freeze_startup_objects()
    _send_verdict(0, verdict)
    while (message := _read_message(sys.stdin.buffer)) is not None:
        number, *fields = message
        _send_verdict(number, judge_answer(ReceivedAnswer(*fields), strict))


def _send_verdict(number: int, verdict: StreamVerdict) -> None:
    sys.stdout.buffer.write(_pack((number, verdict)))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
