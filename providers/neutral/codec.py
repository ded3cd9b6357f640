"""What a wire API must be able to do. One module per API implements ``Codec`` and plays both roles: with clients
(``read_request``, ``writer``, ``write_answer``, ``write_error``) and with providers (``write_request``, ``reader``,
``read_answer``). There is no module for a pair of APIs.

All of it is pure: bytes and values in, bytes and values out, no I/O and no clock but ``Reply.created``.
"""

import enum
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Final, Protocol

import attrs

from providers.neutral.bounds import ANSWER
from providers.neutral.draft import Draft
from providers.neutral.edits import Edit, adapted, dropped
from providers.neutral.quirks import Quirks
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from providers.neutral.wire_api import WireApi
from streams.events import AnswerStart, Api, ErrorInfo, Event, Reason
from streams.fold import Answer


class AnswerStage(enum.Enum):
    """The stages of an answer. Each stage leads to those below it, and ``ENDED`` to none: nothing is read from or
    written to an answer that has ended."""

    WAITING = "waiting"  # nothing of it has been said
    ANSWERING = "answering"
    ENDED = "ended"  # whole or failed


WAITING, ANSWERING, ENDED = AnswerStage


@attrs.frozen(repr=False, slots=False)  # one for each request, and made with fewer calls
class Outgoing:
    """A request as it goes to a provider. ``edits`` are what is not as the client said it."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    edits: tuple[Edit, ...] = ()
    asks_usage: bool = False
    """The provider is asked for token counts of a stream that the client has not asked for."""

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """The client's paths that were lost, each once."""
        return dropped(self.edits)

    @cached_property
    def adapted(self) -> tuple[str, ...]:
        """What of a client's own request goes out in another form, and in which."""
        return adapted(self.edits)


@attrs.frozen(repr=False)
class Recipient:
    """What a codec needs to know of the provider it writes for."""

    model: str  # the provider's own name for the model
    issuer: Issuer
    quirks: Quirks = attrs.field(factory=Quirks)
    known: Quirks = attrs.field(factory=Quirks)
    """``quirks`` without what is only guessed: nobody's own request is edited by that."""
    counts_usage: bool = False
    """Whether the token counts of streams are asked for where the client does not."""


@attrs.frozen(eq=False, repr=False)
class Reply:
    """What a writer needs to know to answer ``request``. It keeps of it what it needs and not the request, which may be
    megabytes and is of no more use once the answer has begun."""

    request: Request
    issuer: Issuer  # who makes the answer: seals name it
    created: int  # Unix seconds
    input_estimate: int = 1  # tokens, > 0: for APIs that state the input before the provider has counted it
    id: str = ""  # that the answer must have, "" where the codec makes one
    state: Mapping[str, Any] = attrs.field(factory=dict)
    """Members of the answer's object that only the gateway knows, in place of what stands there where nothing is kept.
    Responses: ``store``, ``previous_response_id``, ``conversation`` (``{"id": …}`` or None), ``background``."""
    unsent: Collection[str] = ()
    """Paths of the request that the provider did not get: an answer that repeats its request leaves these out."""


class Reader(Protocol):
    """The provider's stream, event by event.

    Keeps the order that ``streams/events.py`` promises: tolerant of whatever real providers send (unknown events and
    members are ignored, ``null`` where a string should be, missing ids), never raises for what an upstream sent, and
    never says ``AnswerEnd`` for an answer that did not end well.
    """

    def take(self, event: str, data: bytes) -> Sequence[Event]:
        """One server-sent event: its ``event:`` name ("" if none) and its data."""
        ...

    def close(self) -> Sequence[Event]:
        """End the stream, as the upstream has: ``ErrorInfo`` unless the answer is already whole."""
        ...


class Writer(Protocol):
    """The client's stream. Whatever valid sequence of events comes in, what goes out obeys the API's grammar."""

    def send(self, event: Event) -> bytes:
        """Return the bytes that tell the client of ``event``: zero or more whole server-sent events."""
        ...

    def ping(self) -> bytes:
        """Return a keep-alive in the API's own form, allowed at any time."""
        ...


class Codec(Protocol):
    """One wire API, both roles. Codecs inherit the bodies that are here: most APIs do the same there."""

    wire: WireApi
    """The API as data."""

    parts: tuple[str, ...] = ()
    """Modules that methods import with their first use. Where requests are served they are imported before that."""

    @property
    def api(self) -> Api:
        """The name of the API."""
        return self.wire.name

    def read_request(self, body: Mapping[str, Any]) -> Request:
        """Read a client's request. Raises ``GatewayError`` (400, with ``param``) for what the API does not allow."""
        ...

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        """Write ``request`` for a provider, whichever API the client speaks. Raises ``GatewayError`` (400) for what the
        provider cannot honour and must not be left out (see ``docs/translation.md``)."""
        ...

    def adapt(self, draft: Draft, to: Recipient) -> None:
        """Edit the byte lane's request: what the provider or the model is known to refuse. Where nothing is known,
        nothing is touched. Raises ``GatewayError`` (400) for a member that is no JSON of text."""
        ...

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """Return the byte lane's request with every seal resolved: ours become the native item again, all others are
        removed. Returns the members that changed (only those) and the paths that were dropped."""
        ...

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """Return the byte lane's request without the reasoning of earlier turns, for a provider that has refused it.
        Returns as ``restore`` does."""
        return {}, ()

    def reader(self, keeps: int = ANSWER) -> Reader:
        """Return a reader that holds ``keeps`` bytes at most of what is said until more has come. With 0 it holds
        nothing, and what is put together at the end of a block is left out: for whoever only follows an answer."""
        ...

    def is_usage_alone(self, data: bytes) -> bool:
        """Return whether a stream's event is there for ``Outgoing.asks_usage`` alone: token counts, and nothing
        else."""
        return False

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        """Read a whole answer as the events that a stream of it would have been, ``ErrorInfo`` last if it is an error.
        Without ``texts`` nobody asks what was said, and it may be left out. Raises ``GatewayError`` (502) if it is not
        JSON or no answer of this API, or if it is ``checked`` and a member is of a wrong type, which reads as nothing
        otherwise: an answer that goes on as it came is not."""
        ...

    def writer(self, reply: Reply) -> Writer: ...

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        """Write a whole answer as the client's API says it."""
        ...

    def write_error(self, failed: ErrorInfo, request_id: str) -> bytes:
        """Write the JSON body of an error response."""
        ...

    def read_error(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
        """Return what a provider's error response says; ``headers`` have lower-case names. Raises nothing, since what
        answers is not always the API that was asked."""
        ...

    def read_count(self, body: Mapping[str, Any]) -> Request:
        """Read a client's request for the number of its tokens. Raises as ``read_request`` does."""
        return self.read_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        """Write ``request`` as a provider counts it; ``None`` where providers of this API do not count it. Raises as
        ``write_request`` does."""
        return None

    def write_count_answer(self, tokens: int) -> bytes:
        """Write the answer to a client that has asked for the number of tokens."""
        ...

    def last_event(self, failed: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        """Return the error event that ends a stream which someone else wrote (the byte lane). ``events`` have passed of
        it, and ``begin`` is what they have said of the answer. Nothing may follow, least of all a success
        terminator."""
        ...

    def phrase_error(self, failed: ErrorInfo) -> ErrorInfo:
        """Return ``failed`` in the words on which the API's clients act. Phrased twice it is the same."""
        return failed

    def is_own_error(self, body: Mapping[str, Any]) -> bool:
        """Return whether a provider's error response has the API's shape, and the words that its clients act on."""
        ...


ID_SOURCE: Final = ContextVar[Callable[[], str] | None]("id source", default=None)
"""Gives the ids of an answer that has been written before, in place of new ones."""


def new_id(prefix: str) -> str:
    """Return an id that the gateway makes: ``prefix`` + 24 random characters."""
    given = ID_SOURCE.get()
    return prefix + (secrets.token_hex(12) if given is None else given())


def settled_reason(reason: Reason, called: bool) -> Reason:
    """Return ``reason`` in accord with what was said: whoever called a tool ended because of it, and nobody else did
    (agent loops stop silently otherwise; vercel/ai#12218, strands-agents/harness-sdk#1827)."""
    if called and reason in ("stop", "stop_sequence"):
        return "tool_calls"
    return "stop" if reason == "tool_calls" and not called else reason
