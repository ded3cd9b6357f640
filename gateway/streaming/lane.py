"""The conversion of one response from provider bytes to client bytes, without I/O: the interface of lanes, the progress
of a response, readers of complete bodies, and a lane that changes the framing of another.

The byte lane (``passthrough``) forwards the provider's events unchanged and reads them; the hub lane (``translation``)
reads them and writes the client's events. Both return whole events only, so pings and error events always fall on an
event boundary."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from providers.errors.failures import WEB_PAGE
from providers.neutral.choices import as_one_choice
from providers.neutral.codec import Codec
from providers.neutral.complete_choices import CallArguments
from providers.neutral.ends import unknown_end_failure
from streams.errors import GatewayError
from streams.events import (
    CONTENT,
    AnswerEnd,
    AnswerStart,
    ErrorInfo,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.framing import EventWriter, Framing, FramingError
from streams.structure import MAX_ELEMENTS, TOO_MANY_ELEMENTS, UNSCANNED_BYTES, has_more_elements

_TEXT_EVENTS = (TextDelta, ReasoningDelta, ToolCallDelta, RefusalDelta)
"""The most frequent events; each is content or follows content."""


def count_characters(event: Event) -> int:
    """Return the number of characters of text, reasoning and arguments in ``event``."""
    return len(event.text) if isinstance(event, _TEXT_EVENTS) else 0


ReadUsage: TypeAlias = Callable[[], Usage | None]


class StreamProgress:
    """The progress of a stream's response, for both lanes."""

    __slots__ = (
        "arguments", "characters", "committed", "empty", "end", "error", "has_finished", "is_alive", "keep_alives",
        "other_events", "over", "plain", "repaired", "start", "unsent_usage", "usage",
    )  # fmt: skip

    def __init__(
        self,
        unsent_usage: ReadUsage = lambda: None,
        has_finished: Callable[[], bool] = lambda: False,
        free_text: Collection[str] = (),
    ) -> None:
        self.unsent_usage = unsent_usage  # the usage that the provider has reported and no event has
        self.has_finished = has_finished  # the answer is complete if nothing follows
        self.start = AnswerStart()
        self.committed = False
        self.characters = 0  # characters of text, reasoning and arguments
        self.other_events = 0  # events without such text, such as the start of a call
        self.usage: Usage | None = None
        self.end: AnswerEnd | None = None
        self.empty = False  # it ended well without content
        self.error: ErrorInfo | None = None
        self.over = False  # it ended, well or not
        self.arguments = CallArguments(free_text)
        self.repaired: Collection[str] = ()  # members of the provider's answer that the client got in another form
        self.plain = False  # not an event stream: it has a content length, and a failure cuts it
        self.keep_alives = 0  # of the provider, without those that it sent between events with content
        self.is_alive = False  # one of them has to reach the client now, in the client's form

    def add(self, event: Event) -> None:
        """Update the progress with an event that goes to the client."""
        if isinstance(event, _TEXT_EVENTS):
            self.characters += len(event.text)
            self.committed = True
            if type(event) is ToolCallDelta:
                self.arguments.add(event)
            return
        self.other_events += 1
        if isinstance(event, CONTENT):
            if isinstance(event, ToolCallStart):
                self.arguments.start(event)
            if isinstance(event, AnswerEnd):
                self.end, self.over, self.empty = event, True, not self.committed
            self.committed = True
        elif isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, AnswerStart):
            self.start = event
        elif isinstance(event, ErrorInfo):
            self.error, self.over = event, True

    def add_other(self, event: Event) -> None:
        """Update the progress with an event of another choice than the first one, whose reader judges its end."""
        self.committed = True
        self.other_events += 1
        if isinstance(event, Usage):
            self.usage = event

    def note_keep_alive(self, opening: int) -> bool:
        """Note a keep-alive of the provider. Return whether it is the first.

        The first ``opening`` ones are part of every stream's beginning. They need not reach the client immediately,
        which would start the response before an early failure."""
        self.keep_alives += 1
        self.is_alive = self.is_alive or self.committed or self.keep_alives > opening
        return self.keep_alives == 1

    def take_keep_alive(self) -> bool:
        """Return whether a keep-alive of the provider has to reach the client now. A second call returns false."""
        is_alive, self.is_alive = self.is_alive, False
        return is_alive

    def end_failure(self, end: AnswerEnd) -> ErrorInfo | None:
        """Return why ``end`` does not end a complete answer, or ``None`` if it does."""
        return unknown_end_failure(end) if not (end.is_known or self.committed) else self.arguments.failure(end)

    def mark_failed(self, error: ErrorInfo) -> None:
        """Mark a complete response as failed because the client cannot receive its end."""
        self.end, self.error = None, error


NO_NAMES: Final[Mapping[str, str]] = {}
"""The client's names of tools, if none were shortened."""

OPENING_COMMENTS: Final = 1
"""Comments with which a provider may begin every stream, as OpenRouter does."""

MapError: TypeAlias = Callable[[ErrorInfo], ErrorInfo]
"""Converts a failure for the client: removes credentials and maps the status."""


def too_large(limit: int) -> ErrorInfo:
    """Return the error for a complete response larger than ``limit`` bytes."""
    message = f"the provider's answer is larger than limits.answer ({limit} bytes)"
    return ErrorInfo("upstream", message, reason=None)


class Lane(Protocol):
    """The conversion of one provider's stream: bytes in, whole events out. ``feed`` raises ``FramingError``."""

    progress: StreamProgress

    @property
    def source(self) -> Framing:
        """The framing of the provider's bytes."""

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for ``data`` from the provider."""

    def end(self, error: ErrorInfo | None = None) -> bytes:
        """Return the last bytes for the client after the body ended, or failed with ``error``.

        An incomplete response ends with an error event. A response that its API marks as complete stays complete,
        however the connection ended, and has the API's last event also if ``error`` prevented the provider's."""

    def trailing_bytes(self) -> bytes:
        """Return the client's bytes after the last event, such as the rest of a line end."""

    def ping(self) -> bytes:
        """Return a keep-alive, or nothing where a keep-alive would cause an error."""


def read_whole(
    codec: Codec, body: bytes, texts: bool = True, checked: bool = True, *, one_choice: bool = False
) -> Sequence[Event]:
    """Return ``Codec.read_answer`` of a body that has no more elements than an event may have. Raises the same
    errors.

    ``one_choice``: one choice was requested, so that all others are parts of it."""
    if len(body) > UNSCANNED_BYTES and has_more_elements(body, MAX_ELEMENTS):
        raise GatewayError("upstream", f"the provider sent an answer {TOO_MANY_ELEMENTS}", reason=None)
    if one_choice:
        body = as_one_choice(body, codec.api)
    try:
        return codec.read_answer(body, texts, checked)
    except GatewayError as error:
        if error.info.reason == "bad_answer" and body.lstrip()[:1] == b"<":
            raise GatewayError.of(WEB_PAGE) from None
        raise


def read_events(
    codec: Codec,
    body: bytes,
    framing: Framing | None,
    texts: bool = True,
    *,
    checked: bool = True,
    one_choice: bool = False,
) -> list[Event]:
    """Return the events of a complete body, as ``read_whole`` does, or of a whole stream of ``framing``."""
    if framing is None:
        return list(read_whole(codec, body, texts, checked, one_choice=one_choice))
    reader = codec.reader()
    try:
        events = [event for name, data in framing.parse_all(body) for event in reader.read_event(name, data)]
    except FramingError as error:
        raise GatewayError("upstream", str(error), reason="bad_answer") from None
    return [*events, *reader.close()]


# Other framings than an API's own, such as Gemini's JSON array


class Reframed:
    """A lane that writes the stream of another ``lane`` in the framing of ``writer``.

    ``lane_framing`` is the framing of that lane's API. ``comment`` is the keep-alive, if the framing has one."""

    def __init__(self, lane: Lane, lane_framing: Framing, writer: EventWriter, comment: bytes) -> None:
        self.progress = lane.progress
        self.source = lane.source
        self._lane = lane
        self._parse = lane_framing.parse
        self._splitter = lane_framing.splitter(2**62)  # the inner lane enforces its own limits
        self._writer = writer
        self._comment = comment
        self._is_closed = False

    def feed(self, data: bytes) -> bytes:
        return self._reframe(self._lane.feed(data))

    def end(self, error: ErrorInfo | None = None) -> bytes:
        return self._reframe(self._lane.end(error)) + self._close()

    def trailing_bytes(self) -> bytes:
        return b""

    def ping(self) -> bytes:
        """Return the API's keep-alive as another event, otherwise the framing's comment."""
        if self.progress.over:
            return b""
        return self._comment or self._reframe(self._lane.ping())

    def _reframe(self, out: bytes) -> bytes:
        if self._is_closed:
            return b""
        parsed = map(self._parse, self._splitter.feed(out))
        again = b"".join([self._writer.event(*event) for event in parsed if event is not None])
        return again + self._close() if self.progress.over else again

    def _close(self) -> bytes:
        """Return the end of the stream, the first time."""
        if self._is_closed:
            return b""
        self._is_closed = True
        return self._writer.close()


def reframe_for_client(lane: Lane, lane_framing: Framing, client: Framing) -> Lane:
    """Return ``lane``, reframed if the client's framing differs from ``lane_framing``."""
    if client is lane_framing or client.writer is None:
        return lane
    return Reframed(lane, lane_framing, client.writer(), client.comment)
