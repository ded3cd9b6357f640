"""The byte lane: forwards the provider's stream unchanged to a client of the same API."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from gateway.streaming.keep_alive import keep_alive
from gateway.streaming.lane import NO_NAMES, OPENING_COMMENTS, MapError, StreamProgress
from providers.neutral.codec import AnswerRepair, Codec, Reader
from providers.neutral.tool_names import restore_in_json
from streams.events import AnswerEnd, ErrorInfo, TextDelta
from streams.framing import Framing

_LARGE: Final = 64 * 1024  # bytes of an event that is read only once

MOST_COMMENTS: Final = 100
"""Comments that wait for a keep-alive or the first content."""

Redact: TypeAlias = Callable[[bytes], bytes]
"""Removes credentials from a provider's bytes."""


class Passthrough:
    """Forwards the events unchanged. The provider's reader also reads them, for the ledger and to find the end."""

    def __init__(
        self,
        codec: Codec,
        map_error: MapError,
        redact: Redact,
        event_limit: int,
        *,
        hides_usage: bool = False,
        source: Framing | None = None,
        repair: AnswerRepair | None = None,
        names: Mapping[str, str] = NO_NAMES,
    ) -> None:
        """Prepare the lane.

        ``hides_usage``: the client did not request the event that only holds usage. ``source`` is the provider's
        framing if it differs from its API's; the events' data is then rewritten in the API's framing. ``repair``
        changes the data of events that have more than text. ``names`` are the client's names of tools by shorter ones,
        and restored there."""
        self._hides_usage = hides_usage
        self._codec = codec
        self._map_error = map_error
        self._redact = redact
        self._framing = codec.wire.framing
        self.source = framing = source or self._framing
        self._splitter = framing.splitter(event_limit)
        self._parse = framing.parse
        self._parse_usual = framing.parse_usual
        self._is_plain = framing.is_plain
        own = self._framing.writer
        self._reframe_event = own().event if own is not None and framing is not self._framing else None
        self._reader: Reader = codec.reader(content_limit=0)
        self.progress = StreamProgress(self._reader.unsent_usage, self._reader.has_finished)
        self._repair = repair
        self._names = names
        self._has_edits = repair is not None or bool(names)
        if repair is not None:
            self.progress.repaired = repair.faults
        self._comments: list[bytes] = []  # comments before the first content, which a keep-alive passes on
        self._events = 0
        self._plain = True  # a comment is still harmless
        self._has_ended = False
        self._hid_last_event = False
        self._reported = b""  # the forwarded error, until the API's second event about it
        self._has_repeat = False  # the second event has arrived: Azure sends it first
        self._text_of: Callable[[bytes], TextDelta | None] | None = None

    def use_reader(self, reader: Reader, text_of: Callable[[bytes], TextDelta | None]) -> None:
        """Let ``reader`` read the events. ``text_of`` returns the only event in some bytes if it is known already and
        has text alone."""
        self._reader = reader
        self.progress.unsent_usage, self.progress.has_finished = reader.unsent_usage, reader.has_finished
        self._text_of = text_of if self._reframe_event is None else None

    def feed(self, data: bytes) -> bytes:
        if self._text_of is not None and len(data) <= _LARGE and (event := self._text_of(data)) is not None:
            self._events += 1
            self._hid_last_event = False
            self.progress.add(event)
            return data
        if (parsed := self._splitter.parse_lone(data)) is not None:
            out = self._forward_event(data, *parsed)
            return self._take_comments() + out if self._comments and out else out
        return b"".join(self._forward_all(self._splitter.feed(data)))

    def end(self, error: ErrorInfo | None = None) -> bytes:
        rest = self.source.complete(self._splitter.close())
        out = b"".join(self._forward_all([rest] if rest else []))
        passed: ErrorInfo | None = None  # reported by forwarded events; other errors set ``error`` only
        for event in self._reader.close():
            if isinstance(event, ErrorInfo):
                passed = event
            elif isinstance(event, AnswerEnd) and (failure := self.progress.end_failure(event)) is not None:
                error = error or failure
            else:
                self.progress.add(event)
                if error is not None and isinstance(event, AnswerEnd):  # some clients wait for the end of the stream
                    out += self._codec.wire.words.bare_end
        self._has_ended = True
        error = error or passed
        if error is None or self.progress.over:
            return out
        return out + (
            self._note_forwarded_error(error) if error is passed and error.native else self._error_event(error)
        )

    def trailing_bytes(self) -> bytes:
        """Return line ends after the last event, such as the LF of a CRLF whose CR ended the event.

        After an error, they are the second event about it if the provider has sent only one of two."""
        if self._reported and (error := self.progress.error) is not None:
            reported, self._reported = self._reported, b""
            return self._codec.repeated_error(reported, error, self.progress.start)
        rest = self._splitter.close()
        return b"" if rest.strip() or self.progress.error is not None or self._reframe_event is not None else rest

    def ping(self) -> bytes:
        if self._comments and not self.progress.over:
            return self._take_comments()
        wire = self._codec.wire  # a client that skips events skips comments, too
        return keep_alive(wire, self.progress, may_comment=self._plain or bool(wire.ping))

    def _take_comments(self) -> bytes:
        comments = b"".join(self._comments)
        self._comments.clear()
        return comments

    def _forward_all(self, events: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the client's bytes for events in any form, after the comments that no keep-alive has passed on."""
        for raw in events:
            if (parsed := self._parse_usual(raw)) is None:
                out = self._forward_unusual(raw)
            else:
                name, data = parsed
                out = self._forward_event(raw, name, data)
            yield self._take_comments() + out if self._comments and out else out

    def _forward_unusual(self, raw: bytes) -> bytes:
        """Read an event of the provider that is not a short one of one line, and return the client's bytes for it."""
        parsed = self._parse(raw)
        if parsed is not None:
            self._plain = self._plain and self._is_plain(raw, *parsed)
            return self._forward_event(raw, *parsed)
        if self._has_ended or self.progress.error is not None:
            return b""
        self._plain = self._plain and self._is_plain(raw, "", b"")
        if not self.progress.committed and raw.startswith(b":") and not self.progress.note_keep_alive(OPENING_COMMENTS):
            if self._reframe_event is None and len(self._comments) < MOST_COMMENTS:
                self._comments.append(raw)
            return b""
        return b"" if self._reframe_event is not None or (self._hid_last_event and raw == b"\n") else raw

    def _forward_event(self, raw: bytes, name: str, data: bytes) -> bytes:
        """Read the event ``raw``, parsed as ``name`` and ``data``, and return the client's bytes for it."""
        progress = self.progress
        if self._has_ended or progress.error is not None:
            return self._after_error(raw, name, data)
        if self._reframe_event is not None:
            raw = self._reframe_event(name, data)
        self._events += 1
        events = self._reader.read_event(name, data)
        for event in events:
            if type(event) is TextDelta:  # by far the most frequent event
                progress.characters += len(event.text)
                progress.committed = True
            elif isinstance(event, ErrorInfo):
                return self._forward_error(event, raw, name, data)
            elif isinstance(event, AnswerEnd) and (failure := progress.end_failure(event)) is not None:
                return self._error_event(failure)
            else:
                progress.add(event)
        if not events and self._codec.wire.words.repeats_error(name, data):
            self._has_repeat = True
        if not progress.committed and (words := self._codec.wire.words).is_keep_alive(name, data):
            # The client gets one of its own form now, not all of them with the first content.
            return raw if progress.note_keep_alive(words.opening_keep_alives) else b""
        if self._has_edits and not (events and type(events[-1]) is TextDelta and data.find(b"_call") < 0):
            raw = self._edit_event(raw, name, data)
        if self._hides_usage:
            self._hid_last_event = self._codec.is_usage_alone(data)
            return b"" if self._hid_last_event else raw
        return raw

    def _edit_event(self, raw: bytes, name: str, data: bytes) -> bytes:
        """Return the event ``raw``, parsed as ``name`` and ``data``, with repaired data and the client's names."""
        writer = self._framing.writer
        if self._repair is not None and writer is not None and (repaired := self._repair(data)) is not data:
            raw = writer().event(name, repaired)
        if self._names:
            raw = self._framing.change_payload(raw, lambda payload: restore_in_json(payload, self._names))
        return raw

    def _forward_error(self, error: ErrorInfo, raw: bytes, name: str, data: bytes) -> bytes:
        """Return the client's bytes for an event that reports a failure."""
        words = self._codec.wire.words
        if error.is_end or len(data) > _LARGE or not words.may_forward_error(name, data):
            return self._error_event(error)
        if self._framing.is_seen(raw) and words.is_error(name, data):
            public = self._map_error(error)
            self.progress.add(public)
            raw = self._codec.report_failure(raw, data, public, self._events - 1)
            self._reported = b"" if self._has_repeat or words.repeats_error(name, data) else raw
            return self._framing.change_payload(raw, self._redact)
        return self._framing.change_payload(raw, self._redact) + self._error_event(error)

    def _after_error(self, raw: bytes, name: str, data: bytes) -> bytes:
        """Return the client's bytes for an event after the error."""
        if self._has_ended:
            return b""
        self._reader.read_event(name, data)  # it may have the usage
        if not self._codec.wire.words.repeats_error(name, data):
            return b""
        self._reported = b""
        raw = raw if self._reframe_event is None else self._reframe_event(name, data)
        return self._framing.change_payload(raw, self._redact)

    def _note_forwarded_error(self, error: ErrorInfo) -> bytes:
        """Record a failure that the forwarded events already report, and return another if SDKs need it to raise."""
        public = self._map_error(error)
        self.progress.committed = True
        self.progress.add(public)
        return self._codec.report_failure(b"", b"", public, self._events)

    def _error_event(self, error: ErrorInfo) -> bytes:
        public = self._map_error(error)
        self.progress.add(public)
        return self._codec.last_event(public, self.progress.start, self._events)
