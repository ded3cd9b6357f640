"""The course of one stream to its client, pure: what has happened comes in, what is to be done goes out.

Nothing here waits and nothing is sent: ``body`` does both. ``TRANSITIONS`` is the whole of it as a table, which
``docs/streams.md`` prints: by the state and what happens, what is done and the state after that.
"""

import logging
import math
from collections.abc import Callable, Mapping
from enum import Enum, StrEnum, auto
from typing import Final, TypeAlias

import attrs

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.ledger.record import Record
from gateway.request.public_errors import MISTAKE
from gateway.streaming.lane import Lane
from gateway.telemetry.tap import carried
from streams.events import ErrorInfo
from streams.framing import FramingError

log = logging.getLogger("trigate")

END_GRACE = 0.25
"""Seconds that an upstream may take to end its body once the answer has ended, so that its connection can be kept."""

HELD = 512 * 1024
"""Bytes of openings that wait for the first content. They are a few hundred at most, or what a large request's tools
take in ``response.created``; beyond this the stream is opened, because the memory of a stream is bounded."""


class DeliveryState(StrEnum):
    """The state of a stream. The values are the words of the documentation."""

    HELD = "held"
    OPEN = "open"
    STREAMING = "streaming"
    STORING = "storing"
    LINGERING = "lingering"
    ENDED = "ended"


class Trigger(StrEnum):
    """All that can happen to a stream. The values are the words of the documentation."""

    OPENING = "an event before the first content"
    OVERFLOW = "another such event, beyond 512 KiB"
    CONTENT = "content"
    END = "the end of the answer"
    PLAIN_END = "a complete answer that is not streamed"
    REFUSAL = "a failure before the first content"
    FAILURE = "a failure"
    MORE = "more data after the end"
    STORE_FIRST = "an event that needs the turn to be stored"
    TIME_UP = "a timeout"
    UPSTREAM_END = "the end of the provider's body"


class Reaction(StrEnum):
    """All that can be done about a trigger. The values are the words of the documentation."""

    HOLD = "holds it back"
    OPEN_WRITE = "sends the status and the event"
    OPEN_WRITE_LAST = "sends the status and the event as the last"
    OPEN_PING = "sends the status and a keep-alive"
    WRITE = "sends it"
    WRITE_LAST = "sends it as the last"
    WRITE_BEHIND = "sends it as well"
    PING = "sends a keep-alive"
    REFUSE = "returns the failure's own status"
    STORE = "stores the turn"
    FINISH = "sends the last bytes and ends the response"
    RESPOND = "returns it with its length"


TRANSITIONS: Final[Mapping[DeliveryState, Mapping[Trigger, tuple[Reaction, DeliveryState]]]] = {
    DeliveryState.HELD: {
        Trigger.OPENING: (Reaction.HOLD, DeliveryState.HELD),
        Trigger.OVERFLOW: (Reaction.OPEN_WRITE, DeliveryState.OPEN),
        Trigger.CONTENT: (Reaction.OPEN_WRITE, DeliveryState.STREAMING),
        Trigger.END: (Reaction.OPEN_WRITE_LAST, DeliveryState.LINGERING),
        Trigger.PLAIN_END: (Reaction.RESPOND, DeliveryState.ENDED),
        Trigger.REFUSAL: (Reaction.REFUSE, DeliveryState.ENDED),
        Trigger.FAILURE: (Reaction.OPEN_WRITE_LAST, DeliveryState.LINGERING),
        Trigger.STORE_FIRST: (Reaction.STORE, DeliveryState.STORING),
        Trigger.TIME_UP: (Reaction.OPEN_PING, DeliveryState.OPEN),
    },
    DeliveryState.OPEN: {
        Trigger.OPENING: (Reaction.HOLD, DeliveryState.OPEN),
        Trigger.OVERFLOW: (Reaction.WRITE, DeliveryState.OPEN),
        Trigger.CONTENT: (Reaction.WRITE, DeliveryState.STREAMING),
        Trigger.END: (Reaction.WRITE_LAST, DeliveryState.LINGERING),
        Trigger.FAILURE: (Reaction.WRITE_LAST, DeliveryState.LINGERING),
        Trigger.STORE_FIRST: (Reaction.STORE, DeliveryState.STORING),
        Trigger.TIME_UP: (Reaction.PING, DeliveryState.OPEN),
    },
    DeliveryState.STREAMING: {
        Trigger.CONTENT: (Reaction.WRITE, DeliveryState.STREAMING),
        Trigger.END: (Reaction.WRITE_LAST, DeliveryState.LINGERING),
        Trigger.FAILURE: (Reaction.WRITE_LAST, DeliveryState.LINGERING),
        Trigger.STORE_FIRST: (Reaction.STORE, DeliveryState.STORING),
        Trigger.TIME_UP: (Reaction.PING, DeliveryState.STREAMING),
    },
    DeliveryState.STORING: {  # what had happened happens now that the turn is stored
        Trigger.CONTENT: (Reaction.OPEN_WRITE, DeliveryState.STREAMING),
        Trigger.END: (Reaction.OPEN_WRITE_LAST, DeliveryState.LINGERING),
        Trigger.REFUSAL: (Reaction.REFUSE, DeliveryState.ENDED),
        Trigger.FAILURE: (Reaction.OPEN_WRITE_LAST, DeliveryState.LINGERING),
    },
    DeliveryState.LINGERING: {  # such as Chat's ``[DONE]``, and the ``response.failed`` behind an ``error``
        Trigger.MORE: (Reaction.WRITE_BEHIND, DeliveryState.LINGERING),
        Trigger.TIME_UP: (Reaction.FINISH, DeliveryState.ENDED),
        Trigger.UPSTREAM_END: (Reaction.FINISH, DeliveryState.ENDED),
    },
    DeliveryState.ENDED: {},
}
"""What is not in the table cannot happen in that state."""


# What is to be done


class Signal(Enum):
    """An action of which there is nothing more to be said."""

    OPEN = auto()
    """Begin the response, if it has not begun."""
    LINGER = auto()
    """Call ``Delivery.linger``, for all has been written."""
    CUT = auto()
    """Break the body off, which must not look whole."""


@attrs.frozen(repr=False)
class Refuse:
    """The action to answer with ``failed`` and its status, in place of a stream."""

    failed: ErrorInfo


@attrs.frozen(repr=False)
class Whole:
    """The action to answer with all of ``data``, in place of a stream."""

    data: bytes


@attrs.frozen(repr=False)
class StoreTurn:
    """The action to store the turn, of which ``data`` are the events that wait for it, and to call
    ``Delivery.stored``."""

    data: bytes
    trigger: Trigger


@attrs.frozen(repr=False)
class Ping:
    """The action to write a keep-alive, which is no part of the answer."""

    data: bytes


Action: TypeAlias = bytes | Signal | Refuse | Whole | StoreTurn | Ping
"""A thing to do; bytes are whole events, to be written."""

Actions: TypeAlias = tuple[Action, ...]
"""Things to do in this order, each before the next, and all before anything else happens."""


class Delivery:
    """The course of one stream to its client: what is held back, sent, refused, stored first or kept alive. It sends
    nothing itself: each method that takes in what has happened returns what is to be done about it.

    Nothing reaches the client before the answer's first content: until then the openings are held and a failure is
    refused with its own status. After one keep-alive interval without content, whether the upstream has answered or
    not, the response is opened for comments only; a failure is an error event from then on. ``record`` always says how
    far the answer has come."""

    def __init__(
        self,
        lane: Lane,
        record: Record,
        keep_alive: float,
        clock: Callable[[], float],
        *,
        turn: TurnRecorder = UNRECORDED,
        check: Callable[[bytes], None] | None = None,
        may_open: bool = True,
    ) -> None:
        """``keep_alive`` is the longest silence towards the client, in seconds of ``clock``; ``check`` is given all
        events that go to the client. ``may_open``: the client expects a stream, which may be opened for keep-alives."""
        self.state = DeliveryState.HELD
        self.lane = lane
        self.deadline = clock() + keep_alive if may_open else math.inf
        """When ``time_up`` is to be called."""
        self._record = record
        self._id = record.id
        self._has_failed = False
        self._keep_alive = keep_alive
        self._clock = clock
        self._turn = turn
        self._check = check
        self._held: list[bytes] = []
        self._held_size = 0
        self._first = b""
        self.on_failure: Callable[[ErrorInfo], object] | None = None
        """Is called once with how an answer fails that has begun."""

    def carry(self, lane: Lane) -> None:
        """Deliver the answer of ``lane`` in place of the one before, of which the client has nothing. Whoever listens
        to the stream listens on."""
        assert self.state in (DeliveryState.HELD, DeliveryState.OPEN), "the client has some of the answer before"
        self._held.clear()
        self._held_size = 0
        self.lane = carried(self.lane, lane)

    def begin(self, data: bytes) -> None:
        """``data`` are the first events for the client, which the lane has given already: they go out with what is
        received next, which may be nothing."""
        self._first = data

    @property
    def is_beginning(self) -> bool:
        """True while the first events wait to be sent."""
        return bool(self._first)

    # What has happened

    def receive(self, data: bytes, failed: ErrorInfo | None = None) -> Actions:
        """Take ``data`` from the upstream, and behind it how it has ``failed``, if it has."""
        try:
            out = self._take_first() + (self.lane.feed(data) if data else b"")
        except Exception as error:  # the border where our own mistake becomes the client's error event
            out = self._broken(error)
        return self._advance(out if failed is None else out + self._ended(failed))

    def upstream_ended(self) -> Actions:
        """Take the end of the upstream's body."""
        if self.state is DeliveryState.LINGERING:
            return self._do(Trigger.UPSTREAM_END)
        return self._advance(self._take_first() + self._ended())

    def time_up(self, *, more: bool = False) -> Actions:
        """Look whether the ``deadline`` has passed. ``more``: the client is given something next, anyhow."""
        now = self._clock()
        if now < self.deadline:
            return ()
        if more and self.state is not DeliveryState.LINGERING:  # where an upstream would never come to its end
            self.deadline = now + self._keep_alive
            return ()
        return self._do(Trigger.TIME_UP)

    def stored(self, store: StoreTurn, data: bytes) -> Actions:
        """Go on with a turn that is stored, or could not be: ``data`` goes to the client in place of ``store.data``."""
        self._note()
        ended, failed = store.trigger is Trigger.END, self.lane.seen.failed is not None
        return self._do(Trigger.FAILURE if ended and failed else store.trigger, data)

    def linger(self) -> None:
        """Begin to wait for the end of the upstream's body: the client has been given the whole answer."""
        self.deadline = self._clock() + END_GRACE

    # What that is

    def _take_first(self) -> bytes:
        first, self._first = self._first, b""
        return first

    def _ended(self, failed: ErrorInfo | None = None) -> bytes:
        """The last events for the client."""
        try:
            return self.lane.end(failed)
        except Exception as error:  # the same border
            return self._broken(error)

    def _broken(self, error: Exception) -> bytes:
        if isinstance(error, FramingError):
            return self.lane.end(ErrorInfo("upstream", str(error), reason=None))  # our own bounds
        log.error("request %s: translation failed", self._id, exc_info=error)
        return self.lane.end(MISTAKE)

    def _advance(self, data: bytes) -> Actions:
        """Go on with ``data``, the events that the lane has given."""
        if self.state is DeliveryState.LINGERING:
            return self._do(Trigger.MORE, data)
        self._note()
        trigger, seen = self._trigger(data), self.lane.seen
        if self._turn.records and not self._turn.may_pass(data, seen):
            _, self.state = TRANSITIONS[self.state][Trigger.STORE_FIRST]
            return (StoreTurn(data, trigger),)
        return self._do(trigger, data)

    def _trigger(self, data: bytes) -> Trigger:
        seen = self.lane.seen
        if seen.failed is not None:
            return Trigger.FAILURE if seen.committed or self.state is not DeliveryState.HELD else Trigger.REFUSAL
        if seen.over:
            return Trigger.PLAIN_END if seen.plain and self.state is DeliveryState.HELD else Trigger.END
        if seen.committed:
            return Trigger.CONTENT
        return Trigger.OPENING if self._held_size + len(data) <= HELD else Trigger.OVERFLOW

    def _note(self) -> None:
        seen, record = self.lane.seen, self._record
        record.opening, record.bill.usage, record.bill.said = seen.start, seen.usage, seen.said
        if seen.failed is not None and not self._has_failed and self.on_failure is not None:
            self._has_failed = True
            self.on_failure(seen.failed)
        record.failed = seen.failed
        if seen.end is not None:
            record.reason, record.bill.whole = seen.end.reason, True

    # What is done

    def _do(self, trigger: Trigger, data: bytes = b"") -> Actions:
        reaction, self.state = TRANSITIONS[self.state][trigger]
        return _REACTIONS[reaction](self, data)

    def _hold(self, data: bytes) -> Actions:
        self._held.append(data)
        self._held_size += len(data)
        return ()

    def _write(self, data: bytes) -> Actions:
        if self._held:
            data = b"".join([*self._held, data])
            self._held.clear()
            self._held_size = 0
        if not data:
            return ()
        self.deadline = self._clock() + self._keep_alive
        self._record.writes()
        if self._check is not None:
            self._check(data)
        return (data,)

    def _write_behind(self, data: bytes) -> Actions:
        """Without putting off the end."""
        until, actions = self.deadline, self._write(data)
        self.deadline = until
        return actions

    def _write_last(self, data: bytes) -> Actions:
        return (*self._write(data), Signal.LINGER)

    def _open_write(self, data: bytes) -> Actions:
        return (Signal.OPEN, *self._write(data))

    def _open_write_last(self, data: bytes) -> Actions:
        return (Signal.OPEN, *self._write_last(data))

    def _ping(self, _: bytes) -> Actions:
        self.deadline = self._clock() + self._keep_alive
        ping = self.lane.ping()
        return (Ping(ping),) if ping else ()

    def _open_ping(self, data: bytes) -> Actions:
        return (Signal.OPEN, *self._ping(data))

    def _refuse(self, _: bytes) -> Actions:
        failed = self.lane.seen.failed
        assert failed is not None, "that is what has happened"
        return (Refuse(failed),)

    def _finish(self, _: bytes) -> Actions:
        """Such as the LF of a CRLF whose CR was the end of the last event. A failure that no event can tell of is told
        by a body without an end."""
        seen = self.lane.seen
        return (*self._write_behind(self.lane.rest()), *((Signal.CUT,) if seen.plain and seen.failed else ()))

    def _respond(self, data: bytes) -> Actions:
        return (Whole(data),)


_REACTIONS: Final[Mapping[Reaction, Callable[[Delivery, bytes], Actions]]] = {
    Reaction.HOLD: Delivery._hold,
    Reaction.OPEN_WRITE: Delivery._open_write,
    Reaction.OPEN_WRITE_LAST: Delivery._open_write_last,
    Reaction.OPEN_PING: Delivery._open_ping,
    Reaction.WRITE: Delivery._write,
    Reaction.WRITE_LAST: Delivery._write_last,
    Reaction.WRITE_BEHIND: Delivery._write_behind,
    Reaction.PING: Delivery._ping,
    Reaction.REFUSE: Delivery._refuse,
    Reaction.FINISH: Delivery._finish,
    Reaction.RESPOND: Delivery._respond,
}
