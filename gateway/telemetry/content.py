"""The texts of exchanges for observers and traces that want them: after all masks, and never restored.

A running exchange stores references to its bytes and events. Its texts are read after its end, in a thread."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec

from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.parse import Incoming
from gateway.seams.observe import ExchangeObserver, HasLane
from gateway.streaming.lane import read_whole
from gateway.telemetry.stream_text import framing_of
from gateway.telemetry.tap import listen
from providers.apis import CODECS
from providers.neutral.choices import MEMBERS, check_number, join_choices, split_choices, split_other_choices
from providers.neutral.codec import Codec, Reader, Reply
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import AnswerEnd, Event
from streams.fold import Answer, Fold
from streams.framing import FramingError
from streams.surrogates import NOT_JSON, any_json

EACH: Final = 16 * 2**20
"""Bytes of one exchange, request and response together."""
HELD: Final = 64 * 2**20
"""Bytes of all running exchanges of a process."""
EVENT: Final = 200
"""Estimated bytes of an event in addition to its text."""

_JSON_STARTS: Final = (b"{", b"[")
_DONE: Final = b"[DONE]"
_CUT: Final = AnswerEnd("length")
"""The end of an answer that has none, because it was interrupted."""


class ExchangeContent:
    """The request and the response of one exchange.

    The response is a complete one, the bytes of the client's stream, or events where the client's own response has
    restored values. ``is_lost``: the texts were too large, and none are stored."""

    def __init__(self, keeper: "ContentKeeper", record: Record) -> None:
        self.size = 0
        """Bytes of the texts."""
        self.is_lost = False
        self._keeper = keeper
        self._api = record.api
        self._endpoint = record.endpoint
        self._incoming: Incoming | None = None
        self._whole: bytes | None = None
        self._unrestored: list[bytes] | None = None
        self._pieces: list[bytes] = []
        self._events: Mapping[int, Sequence[Event]] | None = None

    # While the exchange runs

    def keep_request(self, incoming: Incoming) -> None:
        """Store the request that is sent. A later attempt may send one with more masks."""
        before = 0 if self._incoming is None else self._incoming.size
        self._incoming = incoming
        self._count(incoming.size - before)

    def keep_response(self, body: bytes) -> None:
        """Store the complete response, if it is JSON."""
        if self._events is None and body[:64].lstrip()[:1] in _JSON_STARTS:
            self._whole = body
            self._count(len(body))

    def keep_unrestored(self, data: bytes) -> None:
        """Store ``data`` at the end of the response of another endpoint, in place of the client's, which has restored
        values."""
        if not self.is_lost:
            self._unrestored = [] if self._unrestored is None else self._unrestored
            self._unrestored.append(data)
            self._count(len(data))

    def keep_events(self, events: Mapping[int, Sequence[Event]]) -> None:
        """Store the events of the response by choice, to which more may be added later, in place of its bytes."""
        self._events = events

    def follow(self, stream: HasLane) -> None:
        """Store the client's bytes of ``stream``."""
        listen(stream, self)

    def observe(self, received: bytes, sent: bytes, note: str = "") -> None:
        if sent and not self.is_lost:
            self._pieces.append(sent)
            self._count(len(sent))

    def _count(self, size: int) -> None:
        self.size += size
        self._keeper.held += size
        if not self.is_lost and (self.size > EACH or self._keeper.held > HELD):
            self.is_lost = True
            self.settle()
            self._incoming = self._whole = self._unrestored = self._events = None
            self._pieces = []

    def settle(self) -> None:
        """Stop to count the texts: those of an ended exchange are limited by the queue that they are in."""
        self._keeper.held -= self.size
        if self._events is not None:
            self.size += sum(EVENT + len(getattr(one, "text", "")) for each in self._events.values() for one in each)

    # After its end

    @cached_property
    def request(self) -> bytes | None:
        """The request's JSON in the client's API."""
        incoming = self._incoming
        if incoming is None or incoming.body[:64].lstrip()[:1] not in _JSON_STARTS:
            return None
        return incoming.body

    @property
    def neutral_request(self) -> Any:
        """The request in no API's format, with its earlier turns; ``None`` for other endpoints."""
        if self._incoming is None or self._endpoint is not None:
            return None
        try:
            return self._incoming.request
        except GatewayError:
            return None

    @cached_property
    def response(self) -> bytes | None:
        """The complete response in the client's API; of a stream, the response that it adds up to."""
        if self._unrestored is not None:
            return _listed_events(b"".join(self._unrestored))
        if self._whole is not None:
            return self._whole
        if self._endpoint is not None:
            return _listed_events(b"".join(self._pieces))
        answers, request = self.answers, self.neutral_request
        if not answers or request is None:
            return None
        codec = CODECS[self._api]
        reply = Reply(request, Issuer("trigate"), int(time.time()))
        written = [codec.write_answer(answer, reply) for answer in answers]
        return written[0] if len(written) == 1 else join_choices(written, codec.api)

    @cached_property
    def answers(self) -> list[Answer]:
        """The response by choice, as far as it arrived; empty for other endpoints."""
        if self._endpoint is not None or self._api not in CODECS:
            return []
        codec = CODECS[self._api]
        try:
            if self._events is not None:
                choices: Iterable[Sequence[Event]] = self._events.values()
            elif self._whole is not None:
                others = split_other_choices(self._whole, codec.api) if codec.api in MEMBERS else ()
                choices = [read_whole(codec, one) for one in (self._whole, *others)]
            else:
                choices = _stream_events(codec, b"".join(self._pieces)).values()
        except (GatewayError, FramingError, *NOT_JSON):
            return []
        return [answer for events in choices if (answer := _answer_of(events)) is not None]


def _answer_of(events: Iterable[Event]) -> Answer | None:
    """Return the answer that ``events`` make up, also if it was interrupted; ``None`` if it has not begun."""
    folded, end = Fold(), _CUT
    for event in events:
        folded.add(event)
        if isinstance(event, AnswerEnd):
            end = event
    blocks = folded.blocks()
    return Answer(folded.start, blocks, folded.usage, end) if blocks or end is not _CUT else None


def _stream_events(codec: Codec, data: bytes) -> dict[int, list[Event]]:
    """Return the events of a client's stream by choice."""
    readers: dict[int, Reader] = {}
    found: dict[int, list[Event]] = {}
    for name, value in framing_of(data).parse_all(data):
        parts = split_choices(codec.api, value)
        if len(readers) > 1 and not value.startswith(b"{"):  # the mark of the end, for all choices
            parts = dict.fromkeys(readers, value)
        for choice, part in parts.items():
            if choice not in readers:
                check_number(readers)
            reader = readers.setdefault(choice, codec.reader())
            found.setdefault(choice, []).extend(reader.read_event(name, part))
    return {choice: [*events, *readers[choice].close()] for choice, events in sorted(found.items())}


def _listed_events(data: bytes) -> bytes | None:
    """Return the JSON values of a stream as a JSON list, or ``data`` itself if it is JSON."""
    if data[:64].lstrip()[:1] in _JSON_STARTS:
        return data
    try:
        parsed = (value for _, value in framing_of(data).parse_all(data))
        values = [any_json(one) for one in parsed if one[:1] in _JSON_STARTS and one != _DONE]
    except (FramingError, *NOT_JSON):
        return None
    return msgspec.json.encode(values) if values else None


class ContentKeeper(ExchangeObserver):
    """Stores the texts of running exchanges whose observers want them.

    ``held`` is the size of the texts in bytes."""

    def __init__(self) -> None:
        self.held = 0
        self._wants: list[Callable[[str | None], bool]] = []

    def add(self, wants: Callable[[str | None], bool]) -> None:
        """Store the texts of clients for which ``wants`` returns true."""
        self._wants.append(wants)

    def observe(self, record: Record, arrival: ArrivedRequest | None) -> "ContentKeeper":
        """Observe the exchange of ``record``."""
        return self

    def begin(self, record: Record) -> ExchangeContent | None:
        """Return an empty content of the exchange of ``record``, ``None`` if no observer wants it."""
        if not any(wants(record.client) for wants in self._wants):
            return None
        content = record.content = ExchangeContent(self, record)
        return content

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        if isinstance(record.content, ExchangeContent) and not record.content.is_lost:
            record.content.settle()
