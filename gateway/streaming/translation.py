"""The hub lane: reads the provider's response as events and writes them in the client's API."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

from gateway.streaming.keep_alive import keep_alive
from gateway.streaming.lane import NO_NAMES, OPENING_COMMENTS, MapError, StreamProgress, read_whole, too_large
from providers.neutral.bounds import ANSWER, BLOCKS, CITATIONS, ID, PLACE, AnswerTooLarge, Budget, memory_of
from providers.neutral.codec import Codec, Reader, Writer
from providers.neutral.tool_names import restore_name
from providers.neutral.wire_api import StreamWords, WireApi
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
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

_VALUES: Final = (Citation, NativeItem, ReasoningState, ToolCallStart)
"""Events with more than text, which some writers hold until the end."""


class EventSource(Protocol):
    """The source of the events that a translation reads: a provider's API, or steps that have released them."""

    @property
    def wire(self) -> "SourceWire": ...

    def reader(self, keeps: int = ANSWER) -> Reader:
        """Return a reader that holds ``keeps`` bytes of content at most."""


class SourceWire(Protocol):
    """The framing of a source's bytes, and the words of its events."""

    @property
    def framing(self) -> Framing: ...

    @property
    def words(self) -> StreamWords: ...


class Translation:
    """Translates between two APIs, or two forms of one API."""

    def __init__(
        self,
        source: "EventSource",
        writer: Writer,
        client: WireApi,
        map_error: MapError,
        event_limit: int,
        names: Mapping[str, str] = NO_NAMES,
        max_characters: int | None = None,
        content_limit: int = ANSWER,
        framing: Framing | None = None,
        free_text: Collection[str] = (),
    ) -> None:
        """Prepare the lane.

        ``framing`` is the provider's framing if it differs from its API's, ``client`` the API of the client.
        ``max_characters`` limits the response, ``None`` if no writer holds it. ``content_limit`` limits the bytes
        of content that arrives out of order, or that the end of the response repeats. ``free_text`` has the names of
        tools whose input is a text."""
        self.source = framing or source.wire.framing
        self._max_characters = math.inf if max_characters is None else max_characters
        self._names = names
        self._splitter = self.source.splitter(event_limit)
        self._parse, self._parse_usual = self.source.parse, self.source.parse_usual
        self._words = source.wire.words
        self._reader = source.reader(content_limit)
        self.progress = StreamProgress(self._reader.unsent_usage, self._reader.has_finished, free_text)
        self._held = Budget(content_limit)
        self._blocks = Budget(BLOCKS)
        self._citations = Budget(CITATIONS)
        self._client = client
        self._writer = writer
        self._map_error = map_error

    def feed(self, data: bytes) -> bytes:
        if (parsed := self._splitter.parse_lone(data)) is not None:
            return self._translate(data, *parsed)
        return b"".join([self._take(raw) for raw in self._splitter.feed(data)])

    def end(self, error: ErrorInfo | None = None) -> bytes:
        rest = self.source.complete(self._splitter.close())
        out = [self._take(rest)] if rest else []
        events = self._reader.close()
        if error is not None:  # more specific than the reader, which only knows that the end is missing
            events = [*(event for event in events if not isinstance(event, ErrorInfo)), error]
        return b"".join([*out, *map(self._write, events)])

    def trailing_bytes(self) -> bytes:
        return b""

    def ping(self) -> bytes:
        return keep_alive(self._client, self.progress)

    def _take(self, raw: bytes) -> bytes:
        if (parsed := self._parse_usual(raw) or self._parse(raw)) is not None:
            name, data = parsed
            return self._translate(raw, name, data)
        if raw.startswith(b":"):
            self.progress.note_keep_alive(OPENING_COMMENTS)
        return b""

    def _translate(self, raw: bytes, name: str, data: bytes) -> bytes:
        """Return the client's bytes for the event ``raw``, parsed as ``name`` and ``data``."""
        events = self._reader.read_event(name, data)
        if len(events) == 1:
            event = events[0]
            if type(event) is TextDelta and event.logprobs is None:  # by far the most frequent event
                return self._write(event)
        elif not events:
            if self._words.is_keep_alive(name, data):
                self.progress.note_keep_alive(self._words.opening_keep_alives)
            return b""
        try:
            self._hold(events, raw)
        except AnswerTooLarge as error:
            return self._write(error.info)
        return b"".join(map(self._write, events))

    def _hold(self, events: Sequence[Event], raw: bytes) -> None:
        """Count the part of ``events`` from ``raw`` that a writer may hold. Raises ``AnswerTooLarge``."""
        if any(isinstance(event, _VALUES) or (type(event) is TextDelta and event.logprobs) for event in events):
            self._held.spend(memory_of(raw), "citations, log probabilities and items")
        for event in events:
            if isinstance(event, ToolCallDelta):  # interleaved calls wait for each other
                self._held.spend(len(event.text) + ID, "tool calls")
            elif isinstance(event, Citation):  # some writers list all citations at the end
                self._citations.spend(1, "citations")
            elif isinstance(event, BlockEnd):  # and all blocks
                self._held.spend(PLACE, "blocks")
                self._blocks.spend(1, "blocks")

    def _write(self, event: Event) -> bytes:
        if self.progress.over:
            return b""
        if type(event) is not TextDelta:  # by far the most frequent event
            if isinstance(event, AnswerEnd):
                event = self.progress.end_failure(event) or event
            if isinstance(event, ErrorInfo):
                event = self._map_error(event)
            event = restore_name(event, self._names) if self._names else event
        try:
            data = self._writer.send(event)
        except GatewayError as error:
            return self._write(error.info)
        self.progress.add(event)
        if self.progress.characters > self._max_characters and not self.progress.over:
            return data + self._write(too_large(int(self._max_characters)))
        return data


class WholeAnswerTranslation(Translation):
    """Makes a stream from a complete response, for a client that requested one."""

    def __init__(
        self,
        source: Codec,
        writer: Writer,
        client: WireApi,
        map_error: MapError,
        answer_limit: int,
        names: Mapping[str, str] = NO_NAMES,
        free_text: Collection[str] = (),
    ) -> None:
        super().__init__(source, writer, client, map_error, answer_limit, names, free_text=free_text)
        self._codec = source
        self._limit = answer_limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._parts.append(data)
        self._size += len(data)
        if not data.isspace():  # white space only shows that the provider works
            self.progress.other_events += 1
        if self._size > self._limit:
            self._parts.clear()
            return self._write(too_large(self._limit))
        return b""

    def end(self, error: ErrorInfo | None = None) -> bytes:
        if error is not None:
            return self._write(error)
        try:
            events = read_whole(self._codec, b"".join(self._parts), one_choice=True)
        except GatewayError as exception:
            return self._write(exception.info)
        return b"".join(map(self._write, events))
