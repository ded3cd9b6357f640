"""A client's request with its plan."""

import enum
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from gateway.allowances.allowance import Consumption
from gateway.allowances.reservation import SOMETHING, CountedAs, Reservation
from gateway.balancing.affinity import Affinity
from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.http.headers import Headers
from gateway.request.parse import Incoming
from gateway.request.prepared import Preparation, Prepared
from gateway.request.routing_options import RequestBudget
from gateway.request.wire import MediaTypes
from gateway.routing.plan import Plan
from gateway.routing.target import Omissions, Target
from gateway.seams.edit_sent import RequestEdits, Write
from gateway.upstream.request import UploadedBody
from streams.errors import GatewayError
from streams.events import ErrorInfo, Event

if TYPE_CHECKING:
    from gateway.upstream.response import UpstreamResponse

R = TypeVar("R")


class Form(enum.Enum):
    """The action if the client requested a stream and the provider sent none, or the reverse."""

    TRANSLATED = "translated"
    """Translate the provider's response."""
    REJECTED = "rejected"
    """Reject it, because nothing can translate this response."""


STOPPED: Final = "gateway.exchange.stopped_answer"
"""The module that writes a ``StoppedAnswer``, imported only for one."""


class StoppedAnswer(GatewayError):
    """The answer to a request that is refused with a text: its ``body`` and ``headers``.

    The body has the ``events``, and the ``members`` at its beginning. At endpoints without a model it is an error."""

    def __init__(
        self, info: ErrorInfo, body: bytes, headers: Headers, events: Sequence[Event], members: Mapping[str, Any]
    ) -> None:
        super().__init__(info.kind, info.message)
        self.info = info
        self.body = body
        self.headers = headers
        self.events = events
        self.members = members


SMALL_TEXT: Final = 4096
"""Bytes of a request up to which its text is kept until the response ends."""


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class PlannedRequest:
    """A request with everything that it refers to, and its plan.

    ``prepare`` is called for each attempt; ``prepare_from`` does the same for any contents. ``turn`` stores what later
    requests need. ``headers`` report unsupported routing options. ``suffix`` is the end of the path, by default that
    of a conversation. ``affinity`` is its conversation if prompt caches matter. ``counted_as`` selects the limits and
    the billing, ``begins`` is the estimated work that starts with it, ``budgets`` are the client's limits for it.
    ``members`` are the configured edits of a conversation, ``original`` is the client's request if the operator's steps
    have changed it.

    ``media`` are the types of its body and its response. ``upload`` is a body that is streamed once.
    ``has_deadline`` is false if its response may have no content for hours, or if a late response would leave an object
    without a known id. ``success_statuses`` are successful statuses outside 200 to 299. ``replace_ids`` replaces the
    provider's object ids in a response with the client's. ``before_end`` is called right before the last bytes of a
    request are written. ``reservation`` is the exchange's, if there are limits."""

    incoming: Incoming
    plan: Plan
    prepare: Preparation
    turn: TurnRecorder = UNRECORDED
    headers: Headers = ()
    method: str = "POST"
    suffix: str | None = None
    form: Form = Form.TRANSLATED
    affinity: Affinity | None = None
    counted_as: CountedAs = CountedAs.ANSWER
    budgets: tuple[RequestBudget, ...] = ()
    begins: Consumption = SOMETHING
    media: MediaTypes | None = None
    upload: UploadedBody | None = None
    has_deadline: bool = True
    success_statuses: frozenset[int] = frozenset()
    replace_ids: "Callable[[Target, UpstreamResponse], None] | None" = None
    before_end: Callable[[], object] | None = None
    reservation: Reservation | None = None
    members: RequestEdits | None = None
    prepare_from: Write | None = None
    original: Incoming | None = None

    def with_incoming(self, incoming: Incoming) -> "PlannedRequest":
        """Return the request with other contents. Only for requests with ``prepare_from``."""
        assert self.prepare_from is not None, "it is a conversation"
        changed = attrs.evolve(self, incoming=incoming)
        return attrs.evolve(changed, prepare=changed.preparation(self.prepare_from))

    @property
    def reports_target_health(self) -> bool:
        """Whether its outcome counts for the target's health.

        Only a model request does: a missing path or an unknown id is not an outage (BerriAI/litellm#41223)."""
        return self.suffix is None and self.form is Form.TRANSLATED

    @property
    def is_small(self) -> bool:
        """Whether its text is so small that releasing it is not worthwhile."""
        return self.incoming.size <= SMALL_TEXT

    def preparation(self, write: Write) -> Preparation:
        """Return the ``prepare`` that writes the request with ``write``, and applies the configured members."""
        if self.members is None:
            return partial(write, self.incoming)
        return self.members.preparation(write, self.incoming)

    def preparation_of_prompt(self, write: Write) -> Preparation:
        """Return the ``prepare`` for an operation without an answer, such as a count of tokens."""
        if self.members is None:
            return partial(write, self.incoming)
        return self.members.preparation_of_prompt(write, self.incoming)

    def has_instructions(self, target: Target) -> bool:
        """Return whether the configuration adds instructions for ``target``."""
        return self.members is not None and self.members.has_instructions(target)

    def with_instructions(self, incoming: Incoming) -> Incoming:
        """Return ``incoming`` with the configured instructions for its first target."""
        return incoming if self.members is None else self.members.with_instructions(incoming, self.plan.first)

    def without_text(self) -> "PlannedRequest":
        """Return the request without its text, which is not needed after an attempt committed.

        The text may have megabytes. A small text is kept, because copying the request costs more."""
        if self.is_small:
            return self
        return attrs.evolve(self, incoming=without_text(self.incoming), prepare=_refuse_preparation, original=None)


def as_prepared(prepared: Prepared) -> Preparation:
    """Return a ``Preparation`` that returns ``prepared`` for every target."""
    return lambda target, omissions: prepared


def without_text(incoming: Incoming) -> Incoming:
    """Return ``incoming`` without its text and its earlier turns."""
    return attrs.evolve(incoming, body=b"", members={}, earlier=(), earlier_size=0)


def _refuse_preparation(target: Target, omissions: Omissions) -> Prepared:
    raise AssertionError("an attempt has committed: there is no other")
