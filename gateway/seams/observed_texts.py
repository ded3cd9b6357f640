"""The texts of exchanges for observers that read them after the end: after all masks, and never restored.

A running exchange has references to its bytes and events. Its texts are read after its end, in a thread."""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

import msgspec

from gateway.http.headers import Headers
from gateway.ledger.record import Record
from gateway.request.parse import Incoming, read_incoming
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observed_stream import PublicStream
from gateway.shared.owned_entries import OwnedEntries
from gateway.streaming.lane import read_whole
from providers.apis import CODECS
from providers.framings import framing_of
from providers.neutral.choices import MEMBERS, ChoiceReaders, join_choices, split_other_choices
from providers.neutral.codec import Codec, Reply
from providers.neutral.request import Request
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
_JSON: Final = re.compile(rb"[ \t\r\n]*[{\[]")
_DONE: Final = b"[DONE]"
_CUT: Final = AnswerEnd("length")
"""The end of an answer that has none, because it was interrupted."""


class TextRoom(OwnedEntries[str | None, "ObservedTexts", "ObservedTexts"]):
    """The room of the texts of one feature's running exchanges. Without room, the client with the most loses some."""

    def __init__(self) -> None:
        super().__init__(HELD, on_drop=lambda texts: texts.lose())


class ObservedTexts(ExchangeObserver):
    """An observer that keeps the request and the response of its exchange if it ``wants`` those of the client.

    The response is a complete one, the bytes of the client's stream, or events where the client's own response has
    other values. ``is_lost``: the texts were too large, and none are kept. The texts are read after ``settle``."""

    def __init__(self, record: Record, room: TextRoom, wants: Callable[[str | None], bool]) -> None:
        self.size = 0
        """Bytes of the texts."""
        self.is_lost = False
        self.is_wanted = False
        self._record = record
        self._room = room
        self._wants = wants
        self._api = record.api
        self._endpoint = record.endpoint
        self._incoming: Incoming | None = None
        self._is_refused = False
        self._whole: bytes | None = None
        self._unrestored: list[bytes] | None = None
        self._pieces: list[bytes] = []
        self._events: Mapping[int, Sequence[Event]] | None = None

    # While the exchange runs

    @property
    def reads_events(self) -> bool:  # type: ignore[override]
        return self.is_wanted

    def note_resolved(self, incoming: Incoming) -> None:
        if self._incoming is None:  # only now is the client certain
            self.is_wanted = self._wants(self._record.client)
        if not self.is_wanted or self.is_lost or self._is_refused:
            return
        before = 0 if self._incoming is None else self._incoming.size
        self._incoming = incoming
        self._count(incoming.size - before)

    def note_refused(self, body: bytes | None) -> None:
        self._is_refused, self._incoming = True, None
        if body is not None and self.keeps_refused and not self.is_lost:
            self.is_wanted = True
            self._incoming = Incoming(self._api, body, {}, None, False)
            self._count(len(body))

    def note_response(self, status: int, headers: Headers, body: bytes | None, *, is_answer: bool) -> None:
        """Keep a complete response if it is JSON."""
        if self.is_wanted and not self.is_lost and is_answer and body is not None and _JSON.match(body):
            self._whole = body
            self._count(len(body))

    def note_public_bytes(self, data: bytes) -> None:
        if self.is_wanted and not self.is_lost:
            self._unrestored = [] if self._unrestored is None else self._unrestored
            self._unrestored.append(data)
            self._count(len(data))

    def note_public_events(self, events: Mapping[int, Sequence[Event]]) -> None:
        if self.is_wanted and not self.is_lost:
            self._events = events

    def note_stream(self, stream: PublicStream) -> None:
        if self.is_wanted:
            stream.listen(self)

    def observe(self, received: bytes, public: bytes, note: str = "") -> None:
        if public and not self.is_lost:
            self._pieces.append(public)
            self._count(len(public))

    def _count(self, size: int) -> None:
        self.size += size
        if self.size > EACH:
            self.settle()
            self.lose()
        elif not self.is_lost:
            self._room.put(self._record.client, self, self, self.size)

    def lose(self) -> None:
        """Keep none of the texts."""
        self.is_lost = True
        self._incoming = self._whole = self._unrestored = self._events = None
        self._pieces = []

    def settle(self) -> None:
        """Stop to count the texts of the ended exchange: what reads them later has its own limit."""
        self._room.remove(self._record.client, self)
        if self._events is not None:
            self.size += sum(EVENT + len(getattr(one, "text", "")) for each in self._events.values() for one in each)

    # After its end

    @cached_property
    def request(self) -> bytes | None:
        """The request's JSON in the client's API."""
        incoming = self._incoming
        if incoming is None or _JSON.match(incoming.body) is None:
            return None
        return incoming.body

    @property
    def neutral_request(self) -> Request | None:
        """The request in no API's format, with its earlier turns; ``None`` for other endpoints."""
        incoming = self._incoming
        if incoming is None or self._endpoint is not None:
            return None
        try:
            return (read_incoming(self._api, incoming.body) if self._is_refused else incoming).request
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
    readers = ChoiceReaders(codec.api, codec.reader)
    found: dict[int, list[Event]] = {}
    for name, value in framing_of(data).parse_all(data):
        for choice, events in readers.read_event(name, value).items():
            found.setdefault(choice, []).extend(events)
    return {choice: [*events, *readers[choice].close()] for choice, events in sorted(found.items())}


def _listed_events(data: bytes) -> bytes | None:
    """Return the JSON values of a stream as a JSON list, or ``data`` itself if it is JSON."""
    if _JSON.match(data):
        return data
    try:
        parsed = (value for _, value in framing_of(data).parse_all(data))
        values = [any_json(one) for one in parsed if one[:1] in _JSON_STARTS and one != _DONE]
    except (FramingError, *NOT_JSON):
        return None
    return msgspec.json.encode(values) if values else None
