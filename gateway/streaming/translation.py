"""The hub lane: the provider's answer read as events, and written in the client's API."""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.streaming.lane import MapError, too_large
from gateway.streaming.progress import StreamProgress
from gateway.streaming.whole import read_whole
from providers.neutral.bounds import ANSWER, ID, PLACE, Budget, TooMuch, memory_of
from providers.neutral.codec import Codec, Writer
from providers.neutral.tool_names import restored
from streams.errors import GatewayError
from streams.events import (
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from streams.framing import Framing

NO_NAMES: Mapping[str, str] = {}

_VALUES: Final = (Citation, NativeItem, ReasoningState, ToolCallStart)
"""Events with more than a piece of text, which some writers hold to the end."""


class Translation:
    """The APIs differ, or the form does: read, then written anew."""

    def __init__(
        self,
        source: Codec,
        writer: Writer,
        client: Framing,
        map_error: MapError,
        event_limit: int,
        names: Mapping[str, str] = NO_NAMES,
        most: int | None = None,
        keeps: int = ANSWER,
        framing: Framing | None = None,
    ) -> None:
        """``source`` is the provider's API, ``framing`` its framing where that is not the API's own, ``client`` that of
        what ``writer`` writes. ``most``: characters that
        the answer may have, ``None`` where nobody holds it. ``keeps``: bytes of what is said that are held in any case,
        because it comes again at the end, or out of its turn."""
        self.source = framing or source.wire.framing
        self.seen = StreamProgress()
        self._most = math.inf if most is None else most
        self._names = names
        self._splitter = self.source.splitter(event_limit)
        self._parse = self.source.parse
        self._reader = source.reader(keeps)
        self._held = Budget(keeps)
        self._client = client
        self._writer = writer
        self._map_error = map_error

    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._take, self._splitter.feed(data)))

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        rest = self.source.complete(self._splitter.close())
        out = [self._take(rest)] if rest else []
        events = self._reader.close()
        if failed is not None:  # says more than the reader, which knows only that something is missing
            events = [*(event for event in events if not isinstance(event, ErrorInfo)), failed]
        return b"".join([*out, *map(self._write, events)])

    def rest(self) -> bytes:
        return b""

    def ping(self) -> bytes:
        """Before the answer's first content, which the openings wait for, only what is no event."""
        if self.seen.over:
            return b""
        return self._writer.ping() if self.seen.committed else self._client.comment

    def _take(self, raw: bytes) -> bytes:
        if (parsed := self._parse(raw)) is None:
            return b""
        events = self._reader.take(*parsed)
        if len(events) == 1:
            event = events[0]
            if type(event) is TextDelta and event.logprobs is None:  # by far the most frequent
                return self._write(event)
        try:
            self._hold(events, raw)
        except TooMuch as error:
            return self._write(error.failed)
        return b"".join(map(self._write, events))

    def _hold(self, events: Sequence[Event], raw: bytes) -> None:
        """Account for what of ``events``, which came in ``raw``, a writer may hold. Raises ``TooMuch``."""
        if any(isinstance(event, _VALUES) or (type(event) is TextDelta and event.logprobs) for event in events):
            self._held.spend(memory_of(raw), "citations, log probabilities and items")
        for event in events:
            if isinstance(event, ToolCallDelta):  # calls that interleave wait for each other
                self._held.spend(len(event.text) + ID, "tool calls")
            elif isinstance(event, BlockEnd):  # some writers list all of them at the end
                self._held.spend(PLACE, "blocks")

    def _write(self, event: Event) -> bytes:
        if self.seen.over:
            return b""
        if isinstance(event, ErrorInfo):
            event = self._map_error(event)
        data = self._writer.send(restored(event, self._names) if self._names else event)
        self.seen.see(event)
        if self.seen.said > self._most and not self.seen.over:
            return data + self._write(too_large(int(self._most)))
        return data


class WholeAnswerTranslation(Translation):
    """The client asked for a stream and the provider answers whole: a stream is made of the finished answer."""

    def __init__(
        self,
        source: Codec,
        writer: Writer,
        client: Framing,
        map_error: MapError,
        answer_limit: int,
        names: Mapping[str, str] = NO_NAMES,
    ) -> None:
        super().__init__(source, writer, client, map_error, answer_limit, names)
        self._codec = source
        self._limit = answer_limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit:
            self._parts.clear()
            return self._write(too_large(self._limit))
        return b""

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        if failed is not None:
            return self._write(failed)
        try:
            events = read_whole(self._codec, b"".join(self._parts))
        except GatewayError as error:
            return self._write(error.failed)
        return b"".join(map(self._write, events))
