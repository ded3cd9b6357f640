"""The seam of responses: what happens to the texts of an exchange until its client gets them.

A step of planning (see ``plan``) puts an ``ExchangeChecks`` into the exchange; at most one feature does so. The kernel
asks it before each attempt, and for a ``ResponseChecks`` once the target's request is prepared. ``None`` means that
nothing concerns the response, which then costs nothing.

**A transform** changes the bytes of one response, which arrive in pieces of any size. The kernel reads a piece, awaits
``feed``, and sends what that returns; ``end`` follows the last piece. The transform holds the texts that the client
may not have yet. It counts them by ``OpenedResponse.count_held``, which waits while the client's other responses need
the memory. The same protocol serves streams of conversations, bodies and streams of other endpoints, and lines of
files.

- **Events instead of bytes.** The transform of a conversation's stream may give the client's lane events, in the
  framing ``gateway.streaming.released``. Then it ``translates``, whatever the lane was. Otherwise it releases the
  provider's own events, and its ``reader`` reads them for the lane.
- **Refusal.** ``feed`` and ``end`` raise ``GatewayError``. The attempt has failed, but no other follows, because the
  error has no ``reason``. ``OpenedResponse.note_refusal`` comes first, so that the refused response is billed. A
  transform that ends the answer itself returns its last events, and ``is_over`` is true.
- **Cut.** A transform that ``may_cut`` works while the kernel waits for the provider. ``OpenedResponse.cut`` ends the
  wait, and the kernel calls ``feed`` without bytes, which refuses.
- **Time.** If it ``may_wait``, the limits on the provider's silence pause during ``feed`` and ``end``.
- **Cancellation** reaches ``feed`` and ``end``, as in any task of the request. ``close`` follows each outcome, and may
  not wait. Then ``verdict`` returns whether the whole response passed unchanged: only such a response is cached.

No text of a response reaches a client or an observer by another way: errors of providers pass ``check_error``,
complete conversations ``check_whole``, and bodies that the gateway writes ``check_body``. Observers get the public
view: what the client gets, but with the values that only the client may see still hidden."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import attrs

from gateway.http.request_scope import RequestScope
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from gateway.seams.observers import Observers
from providers.neutral.codec import Reader
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, TextDelta, Usage
from streams.framing import Framing

R = TypeVar("R")


async def _count_nothing(size: int) -> int:
    return size * 2


def _do_nothing() -> None:
    return


@attrs.frozen(eq=False, repr=False)
class OpenedResponse:
    """A successful response whose head has arrived.

    - ``api``: the provider's API, or the name of the endpoint
    - ``framing``: that of its events, ``None`` for a complete body
    - ``content_type``: that of the client's response
    - ``event_limit``, ``answer_limit``: the most bytes of an event, and of an answer that is held
    - ``choices``: the number of requested choices
    - ``change``: applied to each event of the provider first, such as for the client's names of tools
    - ``count_held``: counts held bytes for the client, and returns the size at which to call it again
    - ``keep_public``: gives observers the public view of a body, in pieces; ``None`` without such observers
    """

    api: str
    framing: Framing | None = None
    content_type: str = ""
    event_limit: int = 2**20
    answer_limit: int = 2**20
    choices: int = 1
    change: Callable[[Event], Event] | None = None
    cut: Callable[[], object] = _do_nothing
    note_refusal: Callable[[], Usage | None] = _do_nothing
    count_held: Callable[[int], Awaitable[int]] = _count_nothing
    keep_public: Callable[[bytes], object] | None = None


class Transform(Protocol):
    """The change of one response. ``has_changed``: the client's bytes are others than the provider's."""

    may_cut: bool
    may_wait: bool
    is_over: bool
    has_changed: bool

    async def feed(self, data: bytes) -> bytes:
        """Return the bytes that ``data`` releases. Raises ``GatewayError`` for a refusal."""

    async def end(self) -> bytes:
        """Return the last bytes. Raises ``GatewayError`` for a refusal."""

    def close(self) -> None:
        """Let ``verdict`` return: nothing follows."""

    async def verdict(self) -> bool:
        """Wait for the end, and return whether the whole response passed unchanged."""


class ReleasedEvents(Reader, Protocol):
    """Reads the provider's events that a transform has released."""

    def text_of(self, data: bytes) -> TextDelta | None:
        """Return the event in ``data``, the last released bytes, if it is the only one and has text alone."""


class StreamTransform(Transform, Protocol):
    """The change of a conversation's stream.

    ``reader`` reads the released events for a lane of the provider's API. ``usage`` and ``characters`` are those that
    the provider sent, whatever was released. ``has_ended`` is true once its answer has ended and ``usage`` is final."""

    usage: Usage | None
    characters: int

    @property
    def has_ended(self) -> bool: ...

    @property
    def reader(self) -> ReleasedEvents: ...

    def unsent_usage(self) -> Usage | None:
        """Return the usage that the provider has reported so far, although its events may not be released."""

    def has_finished(self) -> bool:
        """Return whether the response is complete if nothing follows."""


class ResponseChecks(Protocol):
    """The checks of the response of one attempt.

    ``translates``: the client's lane gets events. ``masked``: a text was hidden."""

    translates: bool
    masked: bool

    def open_stream(self, opened: OpenedResponse) -> StreamTransform:
        """Return the transform of a conversation's response to a request for a stream."""

    def open_body(self, opened: OpenedResponse) -> Transform | None:
        """Return the transform of another endpoint's response, ``None`` if it passes unchanged."""

    async def check_whole(
        self, choices: Sequence[Sequence[Event]], size: int, own: tuple[Api, bytes] | None = None
    ) -> Sequence[Sequence[Event]]:
        """Return the events of each choice of a complete conversation, of ``size`` bytes; ``choices`` itself if nothing
        is changed. ``own`` are the provider's API and bytes if the client may get these.

        Raises ``GatewayError`` for a refusal."""

    async def check_body(self, api: str, body: bytes, public: Observers) -> bytes:
        """Return ``body``, JSON of the client's ``api`` that the gateway has made of a response.

        Raises ``GatewayError`` for a refusal."""

    async def check_error(self, error: GatewayError, body: bytes = b"") -> GatewayError:
        """Return the ``error`` of an attempt, without the provider's texts if these may not pass. ``body`` are the
        bytes of a failed response that the client would get, if its error has none."""

    async def await_verdict(self) -> None:
        """Wait for the checks of the request that run during the provider's work. Raises ``GatewayError``."""

    def restored_members(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``members`` of a request, which a response repeats, as the client sent them."""

    def keep_public_events(self, public: Observers) -> None:
        """Give observers the public view of the response if its client gets hidden values in their place."""


class ExchangeChecks(Protocol):
    """The checks of the texts of one exchange.

    ``may_hide_later``: a text of the request may be hidden or refused after its plan is made."""

    @property
    def may_hide_later(self) -> bool: ...

    def is_refusal(self, error: ErrorInfo) -> bool:
        """Return whether ``error`` is a refusal of the request or its response, or of a text that could not be
        checked."""

    @property
    def refusal(self) -> GatewayError | None:
        """The refusal that has ended the provider's work."""

    async def until_refused(self, origin: Any, work: Callable[[], Awaitable[R]]) -> R:
        """Return the result of ``work()``, a part of the walk of ``origin``, an ``AnswerOrigin``. A refusal of the
        request during the provider's work cancels it, and is raised (``GatewayError``)."""

    def outliving_client(self) -> AbstractContextManager[None]:
        """Return a context in which the checks continue if the client disconnects, because its response does."""

    async def await_verdict(self) -> None:
        """Wait for the checks of the request that run during the provider's work. Raises ``GatewayError`` for a
        refusal, and at the end of the drain."""

    async def check_more(self, incoming: Incoming, target: Target) -> Incoming:
        """Return ``incoming``, the request of the exchange with more turns after those of ``target``, as it may be
        sent. Raises ``GatewayError``, or ``StoppedAnswer`` for the rest of the answer."""

    def hidden_again(self, text: str) -> str:
        """Return ``text`` of a response for the client without the hidden values that it has got back, for others."""

    async def check_for_target(self, request: Any, target: Target) -> Any:
        """Return ``request`` (``PlannedRequest``) as ``target`` may receive it. Raises ``GatewayError``."""

    async def check_copy(self, request: Any, target: Target) -> Any:
        """Return what ``check_for_target`` does, for a copy whose checks the exchange does not report."""

    def response_checks(self, target: Target) -> ResponseChecks | None:
        """Return what happens to a response of ``target``."""

    def move_to(self, scope: RequestScope) -> None:
        """Run the tasks in ``scope``, because the response outlives its request."""
