"""Every answer is held against its API's grammar, in a process of its own.

Judging an event costs more than reading it, and done here it would hold up the clock that times the next. That process
has the lowest priority: it must not take from a server on the same machine what it needs to answer.

Endpoints that are no conversation are judged by the readers of ``providers.endpoints`` where there is one; else a good
answer is JSON with something in it.
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
    """The rule that a complete answer of an endpoint breaks, with what was found; empty where it is good."""
    if not body:
        return f"{api}.empty", "there is nothing in it"
    try:
        _JUDGES.get(api, _listed)(api, body, streamed)
    except (GatewayError, ValueError) as error:
        return f"{api}.answer", str(error)
    return "", ""


def _embeddings(api: LoadApi, body: bytes, streamed: bool) -> None:
    if not read_embeddings(body, "float", None).count:
        raise ValueError("it has no vectors")


def _completions(api: LoadApi, body: bytes, streamed: bool) -> None:
    if not streamed:
        _listed(api, body, streamed)
        return
    reader, framing = CompletionReader(1), wire_of(api).framing
    for raw in framing.splitter(len(body) + 1).feed(body):
        if (found := framing.parse(raw)) is not None:
            reader.event(*found)
    reader.close(streamed=True)


def _listed(api: LoadApi, body: bytes, streamed: bool) -> None:
    member = LOAD_ENDPOINTS[api].answer
    value = _json(body)
    if not isinstance(value, dict) or not isinstance(value.get(member), list) or not value[member]:
        raise ValueError(f"{member} is no list with anything in it")


def _transcript(api: LoadApi, body: bytes, streamed: bool) -> None:
    """As JSON, or in one of the forms of text that can be asked for."""
    if body.lstrip()[:1] == b"{" and not isinstance(_json(body).get("text"), str):
        raise ValueError("text is no text")


def _sound(api: LoadApi, body: bytes, streamed: bool) -> None:
    if body.lstrip()[:1] == b"{":
        raise ValueError("it is JSON, not sound")


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except NOT_JSON:
        raise ValueError("it is no JSON") from None


_JUDGES: Final[Mapping[LoadApi, Callable[[LoadApi, bytes, bool], None]]] = {
    "embeddings": _embeddings,
    "completions": _completions,
    "transcriptions": _transcript,
    "speech": _sound,
}


_LENGTH = struct.Struct("<I")

HELD: Final = 64 * 2**20
"""Bytes of answers that may wait for the judge. Where a machine is so full that more would, this process judges them:
then the load is late, which the report says, and the memory that it takes has an end."""


MOST_ELEMENTS: Final[Mapping[LoadApi, int]] = {"embeddings": 8 * 2**20}
"""Arrays, objects and commas of a whole answer, where it may have more than those of a gateway: a vector is numbers. A
few bytes may become a hundred of memory, and 60 MB a quarter of a minute."""


@attrs.frozen
class ReceivedAnswer:
    """The body of an answer with status 200, as far as it came. ``include_usage`` as for ``providers.grammar.judge``.
    One that is not ``complete`` is only read."""

    api: LoadApi
    streamed: bool
    include_usage: bool | None
    body: bytes
    complete: bool = True


@attrs.frozen
class StreamVerdict:
    """The end of the answer (what is ``too large`` nobody has read), the rule that it breaks with what was found (""
    if none), and those that it breaks as many servers do, which were waived. ``reading`` is what the answer says."""

    outcome: Literal["complete", "failed", "cut", "too large"]
    rule: str = ""
    found: str = ""
    waived: tuple[str, ...] = ()
    reading: AnswerContent = attrs.field(factory=AnswerContent)


_verdicts = msgspec.msgpack.Decoder(tuple[int, StreamVerdict])


class Judging(Protocol):
    async def __call__(self, answer: ReceivedAnswer) -> StreamVerdict: ...


def judged(answer: ReceivedAnswer, strict: bool) -> StreamVerdict:
    """The verdict, in this process."""
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
    """The near end of the process."""

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
            return judged(answer, self._strict)
        self._held += len(answer.body)
        try:
            return await self._asked(answer)
        finally:
            self._held -= len(answer.body)

    async def _asked(self, answer: ReceivedAnswer) -> StreamVerdict:
        assert self._process.stdin is not None
        self._number += 1
        number = self._number
        send, receive = trio.open_memory_channel[StreamVerdict](1)
        self._waiting[number] = send
        try:
            async with self._sending:
                await self._process.stdin.send_all(_packed((number, *attrs.astuple(answer))))
            if not self.gone:
                return await receive.receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.EndOfChannel):
            pass
        finally:
            self._waiting.pop(number, None)
        return judged(answer, self._strict)  # it was killed: better late than not

    async def listen(self) -> None:
        """Hand out the verdicts until the process ends."""
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
                    await trio.lowlevel.checkpoint()  # one is counted at a time, and what comes read between
        self.gone = True
        self.ready.set()
        for waiting in self._waiting.values():
            waiting.close()


@contextlib.asynccontextmanager
async def judging(strict: bool, most: int = HELD) -> AsyncIterator[Judging]:
    """A judge in a process of its own, until the end of the block. At most so many bytes wait for it."""
    command = [sys.executable, "-m", "loadtest.exchange.judging", *(["--strict"] if strict else [])]
    async with trio.open_nursery() as nursery:
        start = partial(trio.run_process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False)
        process: trio.Process = await nursery.start(start)
        judge = _JudgeProcess(process, strict, most)
        nursery.start_soon(judge.listen)
        await judge.ready.wait()  # its start takes a core for a moment, which is to be over before anything is timed
        try:
            yield judge
        finally:
            nursery.cancel_scope.cancel()


def _packed(value: Any) -> bytes:
    data = msgspec.msgpack.encode(value)
    return _LENGTH.pack(len(data)) + data


def _unpacked(source: BinaryIO) -> Any:
    """The next message; ``None`` at the end."""
    head = source.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    return msgspec.msgpack.decode(source.read(_LENGTH.unpack(head)[0]))


def main() -> None:
    """The process: answers on standard input, verdicts on standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the load tester, which ends this
    with contextlib.suppress(OSError, AttributeError):
        os.nice(19)
    strict = "--strict" in sys.argv[1:]
    verdict = judged(ReceivedAnswer("chat", True, None, b""), strict)  # all that is needed is loaded then
    freeze_startup_objects()
    _say(0, verdict)
    while (message := _unpacked(sys.stdin.buffer)) is not None:
        number, *fields = message
        _say(number, judged(ReceivedAnswer(*fields), strict))


def _say(number: int, verdict: StreamVerdict) -> None:
    sys.stdout.buffer.write(_packed((number, verdict)))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
