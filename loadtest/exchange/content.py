"""Reads content, token counts and errors from an answer with the codec of its API.

The reading is tolerant: the grammar, which shares no code with the codecs, judges later whether an answer is well
formed.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs
import msgspec

from loadtest.exchange.record import AnswerTokens
from providers.apis import CODECS
from providers.neutral.token_usage import MOST_TOKENS
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    Api,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.framing import FramingError
from streams.surrogates import decode_or

LONGEST: Final = 16 * 2**20  # bytes of an event
PIECE: Final = 64 * 1024

_CONTENT: Final = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallStart, ToolCallDelta, NativeItem)
_MOST_SHOWN: Final = 200  # characters of a message


@attrs.frozen
class AnswerContent:
    """The content of an answer. Events are numbered in the order of their arrival.

    ``first`` is the first event that is not empty, ``contents`` are the events with generated content, and ``end`` is
    the end event of the API. ``has_content`` is True if the answer has more than an end. ``fault`` is the kind of the
    answer's fault, and ``detail`` its text, "" if there is none. ``waived`` are broken rules that many servers break.
    """

    first: int | None = None
    contents: tuple[int, ...] = ()
    end: int | None = None
    has_content: bool = False
    tokens: AnswerTokens = attrs.field(factory=AnswerTokens)
    finish: str = ""
    fault: str = ""
    detail: str = ""
    waived: tuple[str, ...] = ()


class EventReader:
    """A reader of the events of one stream."""

    def __init__(self, api: Api) -> None:
        self._codec = CODECS[api]
        self._reader = self._codec.reader()

    def read(self, raw: bytes) -> tuple[Sequence[Event], bool]:
        """Return the neutral events in a raw one, and whether it is the end event of the API."""
        parsed = self._codec.wire.framing.parse(raw)
        if parsed is None:
            return (), False
        return self._reader.read_event(*parsed), self._codec.wire.words.is_good_end(*parsed)

    def unsent_usage(self) -> Usage | None:
        """Return the usage of a stream that was cut."""
        return self._reader.unsent_usage()


def has_content(events: Iterable[Event]) -> bool:
    """Return whether one of the events has generated content: text, reasoning, a refusal, or a tool call."""
    return any(isinstance(one, _CONTENT) for one in events)


def read_answer(api: Api, body: bytes, *, streamed: bool) -> AnswerContent:
    """Read the received part of an answer. Raises nothing."""
    if streamed:
        reader = EventReader(api)
        return _combine([reader.read(raw) for raw in _split_events(api, body)], reader.unsent_usage())
    try:
        return _combine([(CODECS[api].read_answer(body, checked=False), False)])
    except GatewayError as error:
        if not isinstance(decode_or(msgspec.json.decode, body, None), dict):
            return AnswerContent()
        return AnswerContent(fault=f"error event: {error.info.kind}", detail=_in_one_line(error.info.message))


def _split_events(api: Api, body: bytes) -> Iterator[bytes]:
    splitter = CODECS[api].wire.framing.splitter(LONGEST)
    with contextlib.suppress(FramingError):
        for start in range(0, len(body), PIECE):  # an event that is refused takes only its own piece along
            yield from splitter.feed(body[start : start + PIECE])


def _combine(read: Sequence[tuple[Sequence[Event], bool]], unsent: Usage | None = None) -> AnswerContent:
    events = [event for found, _ in read for event in found]
    usage = [event for event in events if isinstance(event, Usage)]
    error = next((event for event in events if isinstance(event, ErrorInfo)), None)
    ends = [event for event in events if isinstance(event, AnswerEnd)]
    return AnswerContent(
        first=next((number for number, (found, is_end) in enumerate(read) if found or is_end), None),
        contents=tuple(number for number, (found, _) in enumerate(read) if has_content(found)),
        end=next((number for number, (_, is_end) in enumerate(read) if is_end), None),
        has_content=any(not isinstance(event, ErrorInfo) for event in events),
        tokens=_tokens(usage[-1] if usage else unsent),
        finish=(ends[-1].raw or "") if ends else "",
        fault="" if error is None else f"error event: {error.code or error.kind}",
        detail="" if error is None else _in_one_line(error.message),
    )


def _tokens(usage: Usage | None) -> AnswerTokens:
    if usage is None or usage.estimated:
        return AnswerTokens()
    cached = usage.cache_read if usage.cache_read or usage.reports_cache_read else None
    counts = (usage.prompt or None, usage.output or None, usage.reasoning, cached)
    return AnswerTokens(*(None if count is not None and count >= MOST_TOKENS else count for count in counts))


def error_message(data: bytes) -> str:
    """Return the message of an error body in one line, or the first words of the body if it is not JSON."""
    value = decode_or(msgspec.json.decode, data, None)
    error = _member(value, "error")
    message = error if isinstance(error, str) else _member(error or value, "message")
    return _in_one_line(message if isinstance(message, str) else data[:300].decode("utf-8", "replace"))


def _in_one_line(text: str) -> str:
    return " ".join(text.split())[:_MOST_SHOWN]


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
