"""Faults of responses and requests: a ``Fault`` changes a response's events or bytes, or rejects the request.

``FAULTS`` are those of ``docs/streams.md``."""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.http.headers import Headers
from providers.apis import CODECS
from streams.events import (
    AnswerEnd,
    Api,
    BlockEnd,
    ErrorInfo,
    Event,
    ReasoningDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streams.framing import Framing

DEFAULT_WORDS: Final = 3  # pieces of content before a fault within a response
MAX_EVENT: Final = 2**34  # bytes of one of the stand-in's events
_USAGE: Final = ("usage", "usageMetadata")
_COUNT_ALONE: Final = b'"choices":[]'  # marks a Chat event that only has usage

Ending: TypeAlias = Literal["well", "cut", "reset", "silence"]
"""``cut`` closes the connection before the end of the body, ``reset`` with an RST; ``silence`` keeps it open until the
client leaves."""


@attrs.frozen
class Piece:
    """Bytes that are sent in one write; ``content`` marks part of the model's answer."""

    data: bytes
    content: bool = False


@attrs.frozen
class ScriptedAnswer:
    """A response to send: the head after ``wait`` seconds, the pieces, the end.

    ``framing`` is that of a stream; a whole response has none and consists of one piece."""

    framing: Framing | None
    pieces: tuple[Piece, ...]
    headers: Headers
    wait: float = 0
    end: Ending = "well"

    @property
    def stream(self) -> bool:
        """Whether the response is streamed."""
        return self.framing is not None


Events: TypeAlias = Callable[[Sequence[Event], int], Sequence[Event]]
Change: TypeAlias = Callable[[ScriptedAnswer, int], ScriptedAnswer]


@attrs.frozen
class Fault:
    """A way to change a response or reject a request.

    ``number`` is the default of ``-N`` at the end of the model's name. If it is 0, ``N`` is how many requests fail
    before one succeeds, and without ``N`` all fail; with ``fails_once``, one fails. ``error_events`` has errors that
    replace the events, ``refusals`` those that replace the response, with bodies changed by ``body``."""

    description: str
    number: int | None = None
    events: Events = lambda events, _: events
    answer: Change = lambda answer, _: answer
    error_events: Mapping[Api, ErrorInfo] = attrs.field(factory=dict)
    refusals: Mapping[Api, ErrorInfo] = attrs.field(factory=dict)
    body: Callable[[bytes], bytes] = lambda body: body
    fails_once: bool = False


# Changed events


def _fail_after(events: Sequence[Event], words: int) -> list[Event]:
    """Return the first ``words`` pieces of content, followed by an error event."""
    contents = [i for i, event in enumerate(events) if isinstance(event, TextDelta | ReasoningDelta | ToolCallDelta)][
        :words
    ]
    return [
        *events[: contents[-1] + 1 if contents else 0],
        ErrorInfo("upstream", "the stand-in provider fails, as the model name requires"),
    ]


def _with_large_event(events: Sequence[Event], mebibytes: int) -> list[Event]:
    first = next(iter(events))
    return [first, TextDelta(0, "x" * (mebibytes * 2**20)), BlockEnd(0), Usage(input=1, output=1), AnswerEnd("stop")]


# Changed bytes


def _piece_count(answer: ScriptedAnswer, words: int) -> int:
    """Return how many pieces contain the first ``words`` pieces of content."""
    contents = [i for i, piece in enumerate(answer.pieces) if piece.content][:words]
    return contents[-1] + 1 if contents else 0


def end_with(end: Ending) -> Change:
    """Return a change that ends a response with ``end``, after some words or after half of a whole response."""

    def stop(answer: ScriptedAnswer, words: int) -> ScriptedAnswer:
        if answer.stream:
            return attrs.evolve(answer, pieces=answer.pieces[: _piece_count(answer, words)], end=end)
        return attrs.evolve(answer, pieces=(_first_half(answer.pieces[0]),), end=end)

    return stop


def _first_half(piece: Piece) -> Piece:
    return Piece(piece.data[: len(piece.data) // 2])


def _index_after_words(answer: ScriptedAnswer) -> int:
    """Return the index of the piece after ``DEFAULT_WORDS`` pieces of content, 0 in a response that ends with them."""
    at = _piece_count(answer, DEFAULT_WORDS)
    return next((i for i, piece in enumerate(answer.pieces) if i >= at and piece.data), 0)


def _cut_within_event(answer: ScriptedAnswer, _: int) -> ScriptedAnswer:
    at = _index_after_words(answer)
    return attrs.evolve(answer, pieces=(*answer.pieces[:at], _first_half(answer.pieces[at])))


def _break_event(answer: ScriptedAnswer, _: int) -> ScriptedAnswer:
    at = _index_after_words(answer)
    broken = b"".join(_changed_events(answer, answer.pieces[at], _drop_brace))
    return attrs.evolve(answer, pieces=(*answer.pieces[:at], Piece(broken), *answer.pieces[at + 1 :]))


def _without_usage(answer: ScriptedAnswer, _: int) -> ScriptedAnswer:
    pieces = (
        attrs.evolve(piece, data=b"".join(_changed_events(answer, piece, _drop_usage))) for piece in answer.pieces
    )
    return attrs.evolve(answer, pieces=tuple(pieces))


def _drop_brace(data: bytes) -> bytes:
    return data.rstrip()[:-1] + b"\n\n"


def _changed_events(answer: ScriptedAnswer, piece: Piece, change: Callable[[bytes], bytes]) -> Iterator[bytes]:
    """Yield the events of ``piece`` with changed payloads, without empty ones."""
    if answer.framing is None:
        yield change(piece.data)
        return
    for raw in answer.framing.splitter(MAX_EVENT).feed(piece.data):
        if _COUNT_ALONE not in raw or change is not _drop_usage:
            yield answer.framing.change_payload(raw, change)


def _drop_end(answer: ScriptedAnswer, _: int) -> ScriptedAnswer:
    """Remove everything after the last word of a stream."""
    pieces = answer.pieces[: _piece_count(answer, len(answer.pieces))] if answer.stream else answer.pieces
    return attrs.evolve(answer, pieces=pieces)


def _with(**changes: Any) -> Change:
    """Return a change that sets attributes of a response."""
    return lambda answer, _: attrs.evolve(answer, **changes)


_PAGE: Final = b"<!doctype html><title>Sign in</title><p>Please sign in to the network."


def _compress(answer: ScriptedAnswer, _: int) -> ScriptedAnswer:
    packer = zlib.compressobj(wbits=31)
    pieces = [
        attrs.evolve(piece, data=packer.compress(piece.data) + packer.flush(zlib.Z_SYNC_FLUSH))
        for piece in answer.pieces
    ]
    headers = (*answer.headers, ("content-encoding", "gzip"))
    return attrs.evolve(answer, pieces=(*pieces, Piece(packer.flush())), headers=headers)


def _for_each_piece(change: Callable[[bytes], bytes]) -> Change:
    """Return a change that applies ``change`` to every piece of a text stream, and to nothing else."""

    def apply(answer: ScriptedAnswer, _: int) -> ScriptedAnswer:
        if answer.framing is None or not answer.framing.media_type.startswith("text/"):
            return answer
        pieces = tuple(attrs.evolve(piece, data=change(piece.data)) for piece in answer.pieces)
        return attrs.evolve(answer, pieces=pieces)

    return apply


def _add_comment(data: bytes) -> bytes:
    return b": one moment\n\n" + data if data else data


def _use_crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _drop_usage(data: bytes) -> bytes:
    """Remove the usage from the JSON of an event."""
    text = data.rstrip()
    begin = text.find(b"{")
    if begin < 0 or not text.endswith(b"}"):
        return data
    value: dict[str, Any] = msgspec.json.decode(text[begin:])
    for place in (value, *map(value.get, ("message", "response", "interaction"))):
        for name in _USAGE:
            if isinstance(place, dict):
                place.pop(name, None)
    return text[:begin] + msgspec.json.encode(value) + data[len(text) :]


# Rejections


def in_all_apis(error: ErrorInfo, **other: ErrorInfo) -> Mapping[Api, ErrorInfo]:
    """Return ``error`` for all APIs except those in ``other``."""
    return {api: other.get(api, error) for api in CODECS}


_OVERLOADED = in_all_apis(ErrorInfo("overloaded", "Overloaded", status=529))
_TOO_LONG = ErrorInfo(
    "invalid_request",
    "This model's maximum context length is 128000 tokens. However, your messages resulted in 150000 tokens.",
    code="context_length_exceeded",
)

FAULTS: Final[Mapping[str, Fault]] = {
    "cut-after": Fault(
        "the connection closes (FIN) after N words, in the middle of the body", DEFAULT_WORDS, answer=end_with("cut")
    ),
    "reset-after": Fault("the connection is reset (RST) after N words", DEFAULT_WORDS, answer=end_with("reset")),
    "half-an-event": Fault("the body ends in the middle of an event; as HTTP it is complete", answer=_cut_within_event),
    "stall": Fault(
        "silence after 3 words, until you disconnect",
        answer=lambda answer, _: end_with("silence")(answer, DEFAULT_WORDS),
    ),
    "slow-first-byte": Fault(
        "N seconds of silence, then a normal answer",
        20,
        answer=lambda answer, seconds: attrs.evolve(answer, wait=seconds),
    ),
    "silent": Fault("no response, until you disconnect", answer=_with(wait=math.inf)),
    "garbage": Fault("after 3 words, an event that is not JSON; then the rest", answer=_break_event),
    "html": Fault(
        "status 200 and an HTML page",
        answer=_with(framing=None, pieces=(Piece(_PAGE),), headers=(("content-type", "text/html"),)),
    ),
    "empty-stream": Fault("status 200 and an empty body", answer=_with(pieces=())),
    "wrong-content-type": Fault(
        "a normal answer with the content-type text/plain",
        answer=_with(headers=(("content-type", "text/plain; charset=utf-8"),)),
    ),
    "error-event": Fault(
        "an error event after 3 words; without streaming, status 200 with an error",
        events=lambda e, _: _fail_after(e, 3),
    ),
    "error-first": Fault("status 200, and an error instead of the first event", events=lambda e, _: _fail_after(e, 0)),
    "no-finish": Fault(
        "a stream that stops after its last word; as HTTP it is complete; without streaming, a normal answer",
        answer=_drop_end,
    ),
    "429": Fault(
        "status 429 with retry-after: 2",
        refusals=in_all_apis(ErrorInfo("rate_limited", "Rate limit reached", headers=(("retry-after", "2"),))),
    ),
    "500": Fault("status 500", refusals=in_all_apis(ErrorInfo("upstream", "Internal server error", status=500))),
    "503": Fault("status 503", refusals=in_all_apis(ErrorInfo("overloaded", "Service unavailable"))),
    "529": Fault("status 529", refusals=_OVERLOADED),
    "529-then-ok": Fault(
        "status 529 for every first of two requests, then a normal answer", refusals=_OVERLOADED, fails_once=True
    ),
    "401": Fault(
        "status 401", refusals=in_all_apis(ErrorInfo("authentication", "Invalid API key", code="invalid_api_key"))
    ),
    "context-overflow": Fault(
        "status 400 with the provider's message for a prompt that is too long",
        refusals=in_all_apis(
            _TOO_LONG, messages=ErrorInfo("invalid_request", "prompt is too long: 210000 tokens > 200000 maximum")
        ),
    ),
    "gzip": Fault("a normal answer, compressed although the request does not accept that", answer=_compress),
    "big-event": Fault("a normal answer with one event of N MiB", 8, events=_with_large_event),
    "crlf": Fault("a normal stream whose lines end in CR LF", answer=_for_each_piece(_use_crlf)),
    "comments": Fault("a normal stream with a comment before each event", answer=_for_each_piece(_add_comment)),
    "no-usage": Fault("a normal answer without token counts", answer=_without_usage),
}
