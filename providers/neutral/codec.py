"""The interface of a wire API: one module per API implements ``Codec`` in both roles.

Clients use ``read_request``, ``writer``, ``write_answer`` and ``write_error``; providers use ``write_request``,
``reader`` and ``read_answer``. Pairs of APIs have no modules. Codecs are pure: no I/O, and no clock but
``Reply.created``.
"""

import enum
import hashlib
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import Any, Final, Protocol

import attrs
import msgspec

from providers.neutral.bounds import ANSWER
from providers.neutral.draft import Draft, Edit, adapted_paths, dropped_paths
from providers.neutral.quirks import Quirks
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from providers.neutral.wire_api import WireApi
from streams.events import AnswerStart, Api, ErrorInfo, Event, Reason, Usage
from streams.fold import Answer


class AnswerStage(enum.Enum):
    """The stages of an answer, in order. After ``ENDED`` nothing is read or written."""

    WAITING = "waiting"  # no content so far
    ANSWERING = "answering"
    ENDED = "ended"  # whole or failed


WAITING, ANSWERING, ENDED = AnswerStage

_CHARACTERS_PER_TOKEN: Final = 4  # for estimates only


@attrs.frozen(repr=False, slots=False)  # faster to create, once for each request
class Outgoing:
    """A request to a provider, with the ``edits`` of the client's request."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    edits: tuple[Edit, ...] = ()
    asks_usage: bool = False
    """True if the gateway, not the client, requests the token counts of the stream."""

    @cached_property
    def dropped(self) -> tuple[str, ...]:
        """The client's paths that were lost, each once."""
        return dropped_paths(self.edits) if self.edits else ()

    @property
    def client_losses(self) -> tuple[str, ...]:
        """The lost paths except those that only the operator has lost."""
        return dropped_paths(edit for edit in self.edits if edit.why != "operator")

    @property
    def by_operator(self) -> tuple[str, ...]:
        """The entries of ``dropped`` and ``adapted`` that come from the configuration."""
        own = tuple(edit for edit in self.edits if edit.why == "operator")
        return (*dropped_paths(own), *adapted_paths(own))

    @cached_property
    def adapted(self) -> tuple[str, ...]:
        """The client's paths that were sent in another form, with the form."""
        return adapted_paths(self.edits) if self.edits else ()


@attrs.frozen(repr=False)
class Recipient:
    """The properties of a provider that a codec needs."""

    model: str  # the provider's own name for the model
    issuer: Issuer
    quirks: Quirks = attrs.field(factory=Quirks)
    known: Quirks = attrs.field(factory=Quirks)
    """``quirks`` without guesses, for edits of a client's own request."""
    counts_usage: bool = False
    """True if token counts of streams are requested without the client's request for them."""


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class Reply:
    """The properties of a request that a writer needs.

    A writer does not keep ``request`` itself, which may have megabytes.
    """

    request: Request
    issuer: Issuer  # the answer's maker, for seals
    created: int  # Unix seconds
    input_estimate: int = 1  # tokens, > 0: for APIs that report the input before the provider's count
    id: str = ""  # of the answer; with "" the codec creates one
    state: Mapping[str, Any] = attrs.field(factory=dict)
    """Members of the answer's object that only the gateway knows.

    Responses: ``store``, ``previous_response_id``, ``conversation`` (``{"id": …}`` or None), ``background``.
    """
    unsent: Collection[str] = ()
    """Paths of the request that were not sent; an answer that repeats its request omits them."""

    @property
    def shows_thoughts(self) -> bool:
        """True if the client requested the text of thoughts; others would read it as the answer."""
        return self.request.reasoning is not None and self.request.reasoning.summary is not None


class Reader(Protocol):
    """A reader of a provider's stream, event by event.

    It keeps the order in ``streams/events.py``. It ignores unknown events and members, accepts ``null`` and missing
    ids, never raises for an upstream's data, and returns ``AnswerEnd`` only for complete answers.
    """

    def read_event(self, event: str, data: bytes) -> Sequence[Event]:
        """Read one server-sent event, with its ``event:`` name ("" if none) and its data."""

    def close(self) -> Sequence[Event]:
        """End the stream, with ``ErrorInfo`` unless the answer is complete."""

    def unsent_usage(self) -> Usage | None:
        """Return the usage so far if no event has it. The client may leave before the end, which would have it."""

    def has_finished(self) -> bool:
        """Return whether the answer is complete if nothing follows, although its API does not end it here."""


class StagedReader:
    """The stage of a ``Reader``'s answer."""

    _stage: AnswerStage = WAITING

    def start_with(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return ``events``, preceded by an ``AnswerStart`` if the provider has sent no start."""
        if not events or self._stage is not WAITING:
            return events
        self._stage = ANSWERING
        return (AnswerStart(), *events)

    def fail(self, error: ErrorInfo) -> Sequence[Event]:
        """Return the failure of an answer, after the usage that the provider bills nevertheless."""
        usage = self.unsent_usage() if self._stage is ANSWERING else None
        self._stage = ENDED
        return (error,) if usage is None else (usage, error)

    def unsent_usage(self) -> Usage | None:
        """Return the usage so far if no event has it, by default ``None``."""
        return None

    def has_finished(self) -> bool:
        """Return whether the last word has arrived and its API's end has not, by default ``False``."""
        return False


class Writer(Protocol):
    """A writer of a client's stream: every valid sequence of events becomes a stream in the API's grammar."""

    def send(self, event: Event) -> bytes:
        """Return zero or more whole server-sent events for ``event``.

        Raises ``GatewayError`` if a client of the API must not receive the answer. The writer then takes the error.
        """


class AnswerRepair(Protocol):
    """A repair of faults in a provider's answer that mislead SDKs; ``faults`` are the repaired members."""

    faults: dict[str, None]

    def __call__(self, data: bytes) -> bytes:
        """Return the JSON ``data`` of a stream's next event, or of a whole answer, without faults; the same object if
        there are none."""


class Codec(Protocol):
    """One wire API in both roles. Codecs inherit the bodies here, which most APIs share."""

    wire: WireApi
    """The API as data."""

    api: Api

    parts: tuple[str, ...] = ()
    """Modules that methods import with their first use. Where requests are served they are imported before that."""

    def read_request(self, body: Mapping[str, Any]) -> Request:
        """Read a client's request. Raises ``GatewayError`` (400, with ``param``) for an invalid one."""

    def write_request(self, request: Request, to: Recipient) -> Outgoing:
        """Write ``request`` for a provider.

        Raises ``GatewayError`` (400) for unsupported parts that must not be dropped (see ``docs/translation.md``).
        """

    def in_own_form(self, members: Mapping[str, msgspec.Raw]) -> bytes | None:
        """Return a client's body with another API's parts as one of this API alone, ``None`` for all others."""
        return None

    def adapt(self, draft: Draft, to: Recipient) -> None:
        """Remove or change the parts of a byte lane's request that the provider or the model refuses.

        Raises ``GatewayError`` (400) for a member with invalid JSON or text.
        """

    def restore(self, body: Mapping[str, Any], issuer: Issuer) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """Replace this issuer's seals in a byte lane's request by their native items, and remove all others.

        Returns the changed members only, and the dropped paths.
        """

    def without_reasoning(self, body: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """Remove the reasoning of earlier turns from a byte lane's request, after its provider refused it.

        Returns as ``restore`` does.
        """
        return {}, ()

    def reader(self, content_limit: int = ANSWER) -> Reader:
        """Return a reader of a stream. It holds at most ``content_limit`` bytes of content.

        With 0, events omit the content that is assembled at the end of a block, for callers that only follow an answer.
        """

    def answer_repair(self) -> AnswerRepair | None:
        """Return a new repair for one answer, or ``None`` if no faults are known."""
        return None

    def is_usage_alone(self, data: bytes) -> bool:
        """Return whether a stream's event has only the token counts that ``Outgoing.asks_usage`` requests."""
        return False

    def read_answer(self, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
        """Read a whole answer as the events of a stream, with ``ErrorInfo`` last for an error.

        Without ``texts``, events may omit the text. Raises ``GatewayError`` (502) for an invalid answer. Mistyped
        members are invalid if ``checked``, else absent; answers that pass unchanged are not checked.
        """

    def writer(self, reply: Reply) -> Writer: ...

    def write_answer(self, answer: Answer, reply: Reply) -> bytes:
        """Write a whole answer in the client's API. Raises ``GatewayError`` as ``Writer.send`` does."""

    def write_error(self, error: ErrorInfo, request_id: str) -> bytes:
        """Write the JSON body of an error response."""

    def read_error(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...]) -> ErrorInfo:
        """Read a provider's error response; ``headers`` have lower-case names.

        Never raises, because other servers may respond instead of the API.
        """

    def read_count(self, body: Mapping[str, Any]) -> Request:
        """Read a client's request for a number of tokens. Raises as ``read_request`` does."""
        return self.read_request(body)

    def write_count(self, request: Request, to: Recipient) -> Outgoing | None:
        """Write ``request`` as a provider's token count, or return ``None`` if the API has none.

        Raises as ``write_request`` does.
        """
        return None

    def write_count_answer(self, tokens: int) -> bytes:
        """Write the response to a client's token count."""
        return msgspec.json.encode({self.wire.count_member: tokens})

    def last_event(self, error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
        """Return the error event that ends a byte lane's stream.

        ``events`` events have passed, and began the answer with ``begin``. Nothing may follow, especially no mark of
        success.
        """

    def report_failure(self, raw: bytes, data: bytes, error: ErrorInfo, events: int) -> bytes:
        """Return ``raw``, a provider's event with ``data`` that reports ``error`` after ``events`` events.

        If the API's SDKs do not raise for it, an event for which they raise precedes or replaces it. ``raw`` may be
        empty.
        """
        return raw

    def repeated_error(self, reported: bytes, error: ErrorInfo, begin: AnswerStart) -> bytes:
        """Return the second event about ``error``, after the event ``reported``. Most APIs have only one."""
        return b""

    def phrase_error(self, error: ErrorInfo) -> ErrorInfo:
        """Rephrase an error with the words that the API's clients react to; a second time changes nothing."""
        return error

    def is_own_error(self, body: Mapping[str, Any]) -> bool:
        """Return whether a provider's error response has the API's shape and its clients' words."""


ID_SOURCE: Final = ContextVar[Callable[[], str] | None]("id source", default=None)
"""The source of an earlier answer's ids, instead of new ones."""


def new_id(prefix: str) -> str:
    """Return a new id: ``prefix`` and 24 random characters."""
    given = ID_SOURCE.get()
    return prefix + (os.urandom(12).hex() if given is None else given())


def derived_call_id(at: str) -> str:
    """Return an id for the call at that path. It is the same in every request, for the sake of prompt caches."""
    return "call_" + hashlib.sha256(at.encode()).hexdigest()[:24]


def complete_usage(usage: Usage | None, input: int, characters: int, *, trusts_zeros: bool = True) -> Usage:
    """Return ``usage`` with estimates of the counts that its provider did not report.

    Clients require integers (cline/cline#4346). ``input`` are estimated tokens, ``characters`` the number that the
    model wrote. If it wrote any, a count of 0 is no count: some servers report it (envoyproxy/ai-gateway#1631). With
    ``trusts_zeros``, a provider's report of 0 for both counts stays.
    """
    written = -(-characters // _CHARACTERS_PER_TOKEN)
    if usage is None:
        return Usage(input=input, output=written, estimated=True)
    output = usage.output or written
    counts_input = usage.prompt or usage.estimated
    is_complete = counts_input if usage.output else trusts_zeros and not counts_input
    if is_complete or not output:
        return usage
    return attrs.evolve(usage, input=usage.input if usage.prompt else input, output=output, estimated=True)


def corrected_reason(reason: Reason, called: bool) -> Reason:
    """Return ``reason`` corrected by whether a tool was called.

    Otherwise agent loops stop silently (vercel/ai#12218, strands-agents/harness-sdk#1827).
    """
    if called and reason in ("stop", "stop_sequence"):
        return "tool_calls"
    return "stop" if reason == "tool_calls" and not called else reason
