"""A client's request with its plan, ready to be walked."""

import enum
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import attrs

from gateway.allowances.allowance import Consumption
from gateway.allowances.expected import RequestedOutput
from gateway.allowances.reservation import SOMETHING, CountedAs, Reservation
from gateway.balancing.affinity import Affinity
from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.http.headers import Headers
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.wire import MediaTypes
from gateway.request.wishes import RequestBudget
from gateway.routing.omissions import Omissions
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.upstream.request import UploadedBody

if TYPE_CHECKING:
    from gateway.upstream.response import UpstreamResponse

Preparation: TypeAlias = Callable[[Target, Omissions], Prepared]
"""Writes a request for a target, less the omissions. Raises ``GatewayError`` (400) for what it cannot honour."""


class Form(enum.Enum):
    """The client's answer where it is to be streamed and the provider's is whole, or the other way round."""

    TRANSLATED = "translated"
    """It is made from the provider's, whichever that is."""
    AS_ASKED = "as asked"
    """Only an answer in the form that was asked for will do: nobody can read this one."""


SMALL_TEXT: Final = 4096
"""Bytes of a request up to which its text is kept until the response has ended."""


@attrs.frozen(eq=False, repr=False, slots=False)  # made with fewer calls, and there is one of it for a request
class PlannedRequest:
    """``incoming`` with all that it refers to, and the plan by which it goes to providers.

    ``prepare`` is called for each attempt. ``turn`` stores what later requests refer to; ``headers`` tell the
    client what could not be done as it wished. ``suffix`` is the end of the path, by default that of an answer.
    ``affinity`` is its conversation, where it matters which of several targets has that in its cache;
    ``counted_as`` says what of it is limited and billed, ``begins`` how much work begins with it, about,
    ``budgets`` what its client lets it cost; ``asks`` is what it says of its output, where that is not in its
    members. ``media`` are the types of its body and of its answer; an ``upload`` is its body where that is sent as
    it comes, once; ``answers`` are statuses of answers beside those from 200 to 299. ``shows`` replaces
    the provider's object ids in a response with the client's; ``before_end`` is called right before the last bytes
    of a request are written. ``reservation`` is that of the exchange, where anything limits it."""

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
    asks: RequestedOutput | None = None
    media: MediaTypes | None = None
    upload: UploadedBody | None = None
    answers: frozenset[int] = frozenset()
    shows: "Callable[[Target, UpstreamResponse], None] | None" = None
    before_end: Callable[[], object] | None = None
    reservation: Reservation | None = None

    @property
    def tells_of_target(self) -> bool:
        """Whether what becomes of it says how its target is. What is no request for an answer says nothing: a path that
        a provider does not have, or an id that it has forgotten, is no outage (BerriAI/litellm#41223)."""
        return self.suffix is None and self.form is Form.TRANSLATED

    @property
    def is_small(self) -> bool:
        """True if the text is not worth releasing."""
        return self.incoming.size <= SMALL_TEXT

    def released(self) -> "PlannedRequest":
        """Return the request without its text once an attempt has committed: nothing reads it then, and it may take
        megabytes. A small text is kept, because the copies cost more than it holds."""
        if self.is_small:
            return self
        return attrs.evolve(self, incoming=without_text(self.incoming), prepare=_nothing_left)


def as_prepared(prepared: Prepared) -> Preparation:
    """The ``prepare`` of a request that goes out in one form, or not at all."""
    return lambda target, omissions: prepared


def without_text(incoming: Incoming) -> Incoming:
    return attrs.evolve(incoming, body=b"", members={}, earlier=(), earlier_size=0)


def _nothing_left(target: Target, omissions: Omissions) -> Prepared:
    raise AssertionError("an attempt has committed: there is no other")
