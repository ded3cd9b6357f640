"""The state machine of one stream to its client: events in, actions out, without I/O, which ``body`` performs.

``TRANSITIONS`` is the whole machine as a table: by state and trigger, the reaction and the next state. A stream is held
until something is sent, open after a status and keep-alives, and streaming after content. While it is storing, the turn
is stored before the event that completes it. A lingering stream is complete; it waits briefly for the end of the
provider's body, so that the connection can be reused."""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, StrEnum, auto
from typing import Final, TypeAlias

import attrs

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.ledger.record import Record
from gateway.request.public_errors import MISTAKE
from gateway.seams.observed_stream import ObservedStream
from gateway.streaming.lane import Lane
from streams.events import ErrorInfo
from streams.framing import FramingError

log = logging.getLogger("trigate")

END_GRACE = 0.25
"""Seconds for a provider to end its body after the end of the response, so that its connection can be reused."""

SILENT_INTERVALS: Final = 2
"""The keep-alive intervals without data after the last word of an answer, until its end."""

_SILENCE: Final = ErrorInfo("upstream", "the provider did not end its stream", reason=None)

MAX_HELD = 512 * 1024
"""Bytes of events before the first content that are held. Usually there are a few hundred, or in ``response.created`` a
large request's tools. Beyond this the stream is opened, because its memory is bounded."""


class DeliveryState(StrEnum):
    """The state of a stream."""

    HELD = "held"
    OPEN = "open"
    STREAMING = "streaming"
    STORING = "storing"
    LINGERING = "lingering"
    ENDED = "ended"


class Trigger(StrEnum):
    """The events of a stream. The documentation uses these values."""

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
    """The reactions to a trigger. The documentation uses these values."""

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
    DeliveryState.STORING: {  # continue with the earlier trigger after the turn is stored
        Trigger.CONTENT: (Reaction.OPEN_WRITE, DeliveryState.STREAMING),
        Trigger.END: (Reaction.OPEN_WRITE_LAST, DeliveryState.LINGERING),
        Trigger.REFUSAL: (Reaction.REFUSE, DeliveryState.ENDED),
        Trigger.FAILURE: (Reaction.OPEN_WRITE_LAST, DeliveryState.LINGERING),
    },
    DeliveryState.LINGERING: {  # such as Chat's ``[DONE]``, or ``response.failed`` after ``error``
        Trigger.MORE: (Reaction.WRITE_BEHIND, DeliveryState.LINGERING),
        Trigger.TIME_UP: (Reaction.FINISH, DeliveryState.ENDED),
        Trigger.UPSTREAM_END: (Reaction.FINISH, DeliveryState.ENDED),
    },
    DeliveryState.ENDED: {},
}
"""Triggers that are not in the table cannot occur in that state."""


# Actions


class Signal(Enum):
    """An action without arguments."""

    OPEN = auto()
    """Start the response, unless it has started."""
    LINGER = auto()
    """Call ``Delivery.linger``, because everything was written."""
    CUT = auto()
    """Cut the body, which must not look complete."""
    PAUSE = auto()
    """Wait for a moment, so that the client reads the following bytes apart."""


@attrs.frozen(repr=False)
class Refuse:
    """The action to respond with ``error`` and its status instead of a stream."""

    error: ErrorInfo


@attrs.frozen(repr=False)
class SendWhole:
    """The action to respond with the complete body ``data`` instead of a stream."""

    data: bytes


@attrs.frozen(repr=False)
class StoreTurn:
    """The action to store the turn and call ``Delivery.turn_stored``. ``data`` are the events that wait for it."""

    data: bytes
    trigger: Trigger


@attrs.frozen(repr=False)
class Ping:
    """The action to write a keep-alive, which is not part of the response."""

    data: bytes


Action: TypeAlias = bytes | Signal | Refuse | SendWhole | StoreTurn | Ping
"""An action; bytes are whole events to write."""

Actions: TypeAlias = tuple[Action, ...]
"""Actions in order. All of them are completed before the next trigger."""


class Delivery:
    """The state machine of one stream to its client. It decides when to hold, send, refuse, store or keep alive.

    It sends nothing itself: each method takes a trigger and returns the actions. The client receives nothing before the
    first content: earlier events are held, and a failure is refused with its own status. After one keep-alive interval
    without content the response is opened for comments, and a later failure becomes an error event. ``record`` is
    always up to date."""

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
        observed: ObservedStream | None = None,
        join: Callable[[bytes, bool], bytes] | None = None,
        error_parts: Callable[[bytes], Sequence[bytes]] | None = None,
    ) -> None:
        """Start the state machine.

        ``keep_alive`` is the longest silence towards the client, in seconds of ``clock``. ``check`` receives all events
        for the client. ``may_open``: the client expects a stream, which may be opened for keep-alives. ``observed`` has
        the listeners of the stream, ``join`` is that of the client's framing, ``error_parts`` that of its API."""
        self.state = DeliveryState.HELD
        self.lane = lane
        self.deadline = clock() + keep_alive if may_open else math.inf
        """The time at which to call ``time_up``."""
        self._record = record
        self._id = record.id
        self._has_failed = False
        self._keep_alive = keep_alive
        self._clock = clock
        self._turn = turn
        self._check = check
        self._observed = ObservedStream(lane) if observed is None else observed
        self._listeners = self._observed.listeners
        self._join, self._error_parts = join, error_parts
        self._is_first = True
        self._silences = 0  # the keep-alives since the last data
        self._held: list[bytes] = []
        self._held_size = 0
        self._queued_events = b""
        self._is_keep_alive_queued = False
        self.on_failure: Callable[[ErrorInfo], object] | None = None
        """Called once with the failure of a response that has begun."""

    def use_lane(self, lane: Lane) -> None:
        """Use ``lane`` for the response from now on.

        The client must not have received any content yet."""
        assert self.state in (DeliveryState.HELD, DeliveryState.OPEN), "the client has content of the earlier response"
        self._held.clear()
        self._held_size = 0
        self.lane = lane
        self._observed.use_lane(lane)

    def queue_first_events(self, data: bytes) -> None:
        """Queue ``data``, the client's first events, until ``receive`` is called, which sends them first."""
        self._queued_events = data

    def queue_keep_alive(self) -> None:
        """Send a keep-alive when ``receive`` is called, because a provider has sent one that does not pass itself."""
        self._is_keep_alive_queued = True

    @property
    def has_queued_events(self) -> bool:
        """Whether the client's first events, or a keep-alive, are still to be sent."""
        return bool(self._queued_events) or self._is_keep_alive_queued

    # Triggers

    def receive(self, data: bytes, error: ErrorInfo | None = None) -> Actions:
        """Return the actions for ``data`` from the provider, and for its ``error`` if it failed after ``data``."""
        if self._is_keep_alive_queued:
            self._is_keep_alive_queued = False
            if not (data or self._queued_events or error):
                return () if self.lane.progress.over else self._react(Trigger.TIME_UP)
        first, self._queued_events = self._queued_events, b""
        try:
            if not data:
                out = first
            else:
                out = first + (self._observed.feed(data) if self._listeners else self.lane.feed(data))
        except Exception as exception:  # the boundary where the gateway's own error becomes the client's error event
            out = first + self._end_after_error(exception)
        return self._advance(out if error is None else out + self._end_lane(error))

    def upstream_ended(self) -> Actions:
        """Return the actions for the end of the provider's body."""
        if self.state is DeliveryState.LINGERING:
            return self._react(Trigger.UPSTREAM_END)
        first, self._queued_events = self._queued_events, b""
        return self._advance(first + self._end_lane())

    def time_up(self, *, has_more_data: bool = False) -> Actions:
        """Send a keep-alive or end the stream if the ``deadline`` has passed.

        ``has_more_data`` means that data for the client is already waiting, so that it needs no keep-alive."""
        now = self._clock()
        if now < self.deadline:
            return ()
        if has_more_data and self.state is not DeliveryState.LINGERING:  # a provider might never end its body
            self.deadline = now + self._keep_alive
            return ()
        has_begun = self.state in (DeliveryState.OPEN, DeliveryState.STREAMING)
        if has_begun and self._silences + 1 >= SILENT_INTERVALS and self.lane.progress.has_finished():
            return self._advance(self._end_lane(_SILENCE))
        return self._react(Trigger.TIME_UP)

    def turn_stored(self, store: StoreTurn, data: bytes) -> Actions:
        """Continue after an attempt to store the turn: ``data`` goes to the client instead of ``store.data``."""
        self._update_record()
        has_ended, has_failed = store.trigger is Trigger.END, self.lane.progress.error is not None
        return self._react(Trigger.FAILURE if has_ended and has_failed else store.trigger, data)

    def linger(self) -> None:
        """Start to wait for the end of the provider's body, because the client has the whole response."""
        self.deadline = self._clock() + END_GRACE

    # Classification

    def _end_lane(self, error: ErrorInfo | None = None) -> bytes:
        """Return the client's last events after the provider's body ended, or failed with ``error``."""
        try:
            return self._end_observed(error)
        except Exception as exception:  # the same boundary
            return self._end_after_error(exception)

    def _end_after_error(self, exception: Exception) -> bytes:
        if isinstance(exception, FramingError):
            return self._end_observed(ErrorInfo("upstream", str(exception), reason=None))  # the gateway's own limits
        log.error("request %s: translation failed", self._id, exc_info=exception)
        return self._end_observed(MISTAKE)

    def _end_observed(self, error: ErrorInfo | None) -> bytes:
        out = self.lane.end(error)
        if self._listeners:
            self._observed.note_end(out, "" if error is None else error.message)
        return out

    def _advance(self, data: bytes) -> Actions:
        """Return the actions for ``data``, the client's next events."""
        if self.state is DeliveryState.STREAMING and not self.lane.progress.over and not self._turn.records:
            self._update_answer()  # content, as in nearly all calls: the rest would change nothing
            return self._write(data)
        if self.state is DeliveryState.LINGERING:
            return self._react(Trigger.MORE, data)
        self._update_record()
        trigger, progress = self._classify(data), self.lane.progress
        if self._turn.records and not self._turn.may_pass(data, progress):
            _, self.state = TRANSITIONS[self.state][Trigger.STORE_FIRST]
            return (StoreTurn(data, trigger),)
        return self._react(trigger, data)

    def _classify(self, data: bytes) -> Trigger:
        progress = self.lane.progress
        if progress.error is not None:
            return Trigger.FAILURE if progress.committed or self.state is not DeliveryState.HELD else Trigger.REFUSAL
        if progress.over:
            return Trigger.PLAIN_END if progress.plain and self.state is DeliveryState.HELD else Trigger.END
        if progress.committed:
            return Trigger.CONTENT
        return Trigger.OPENING if self._held_size + len(data) <= MAX_HELD else Trigger.OVERFLOW

    def _update_answer(self) -> None:
        """Update the parts of the record that may change in the middle of an answer."""
        progress, record = self.lane.progress, self._record
        record.answer_start = progress.start
        record.bill.usage, record.bill.characters = progress.usage, progress.characters
        record.bill.unsent_usage = progress.unsent_usage

    def _update_record(self) -> None:
        self._update_answer()
        progress, record = self.lane.progress, self._record
        if progress.error is not None and not self._has_failed and self.on_failure is not None:
            self._has_failed = True
            self.on_failure(progress.error)
        record.error = progress.error
        record.repaired = tuple(progress.repaired)
        if progress.end is not None:
            record.reason, record.provider_reason = progress.end.reason, progress.end.raw
            record.bill.is_complete = True

    # Reactions

    def _react(self, trigger: Trigger, data: bytes = b"") -> Actions:
        reaction, self.state = TRANSITIONS[self.state][trigger]
        return _REACTIONS[reaction](self, data)

    def _hold(self, data: bytes) -> Actions:
        if data:
            self._held.append(data)
            self._held_size += len(data)
        return self._react(Trigger.TIME_UP) if self.lane.progress.take_keep_alive() else ()

    def _write(self, data: bytes) -> Actions:
        if self._held:
            data = b"".join([*self._held, data])
            self._held.clear()
            self._held_size = 0
        if not data:  # in the byte lane, the provider's own keep-alive is among the events
            return self._ping(b"") if self.lane.progress.take_keep_alive() else ()
        self.deadline = self._clock() + self._keep_alive
        self._silences = 0
        self._record.mark_write_started()
        if self._join is not None:
            data, self._is_first = self._join(data, self._is_first), False
        if self._check is not None:
            self._check(data)
        return (data,)

    def _write_behind(self, data: bytes) -> Actions:
        """Write without postponing the end."""
        until, actions = self.deadline, self._write(data)
        self.deadline = until
        return actions

    def _write_last(self, data: bytes) -> Actions:
        match self._write(data):
            case (bytes(events),) if self._error_parts is not None and self.lane.progress.error is not None:
                return (*(one for part in self._error_parts(events) for one in (Signal.PAUSE, part)), Signal.LINGER)
            case actions:
                return (*actions, Signal.LINGER)

    def _open_write(self, data: bytes) -> Actions:
        return (Signal.OPEN, *self._write(data))

    def _open_write_last(self, data: bytes) -> Actions:
        return (Signal.OPEN, *self._write_last(data))

    def _ping(self, _: bytes) -> Actions:
        self.deadline = self._clock() + self._keep_alive
        self._silences += 1
        ping = self.lane.ping()
        if self._listeners:
            self._observed.note_keep_alive(ping)
        if ping and self._join is not None:
            ping, self._is_first = self._join(ping, self._is_first), False
        return (Ping(ping),) if ping else ()

    def _open_ping(self, data: bytes) -> Actions:
        return (Signal.OPEN, *self._ping(data))

    def _refuse(self, _: bytes) -> Actions:
        error = self.lane.progress.error
        assert error is not None, "only a failure is refused"
        return (Refuse(error),)

    def _finish(self, _: bytes) -> Actions:
        """Write the last bytes, such as the LF of a CRLF whose CR ended the last event.

        A failure that no event can express cuts the body."""
        progress = self.lane.progress
        return (
            *self._write_behind(self.lane.trailing_bytes()),
            *((Signal.CUT,) if progress.plain and progress.error else ()),
        )

    def _respond(self, data: bytes) -> Actions:
        return (SendWhole(data),)


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
