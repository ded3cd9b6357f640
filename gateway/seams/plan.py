"""The seam of requests: what features do with them before they are sent.

**Steps of planning** (``PlanStep``) take part in the plan of each conversation. The kernel awaits them with its
``Planning`` (``gateway.exchange.planning``), in the order of the features: those of ``Hooks.before_turns`` once the
targets of the request are known and its configured edits are made, those of ``Hooks.after_turns`` once its earlier
turns are loaded. They run before the suitable targets are selected, before the response cache and before any attempt.
A step may replace the request, its plan and its context, and may reserve the client's allowances (``reserve_first``),
so that an exceeded limit fails before expensive work. It puts the checks of the response (``open_response``) into the
context.

**Checks of other requests** (``RequestChecks``), of at most one feature: without a feature that can read a request, its
text would pass unseen. The kernel awaits ``admit_endpoint`` before it reads any request that is no conversation, then
the method for the request's form, once its targets are known and before its edits. ``BatchChecks`` belong to one
request about a batch.

**Readable prompts** (``FindReadable``), of at most one feature. The kernel awaits it for a conversation of a route with
a choice of targets, before it orders them. It returns how many tokens of the request the cache of each target's place
can serve, without those that can serve none; the order prefers targets that read more. It catches its own errors.

- **Errors.** A step that rejects the request raises ``GatewayError``, or ``StoppedAnswer`` for an answer of its own.
- **Cancellation.** A client that leaves cancels the step. It leaves no task behind: what continues while the provider
  works runs in the nursery of the request's scope.
- **Observers** see the client's body when it arrives. If a feature has ``RequestChecks``, they see the body only
  after the last step, and ``ExchangeChecks.may_hide_later`` may delay that.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.routing.plan import Plan
from gateway.seams.open_response import Transform

PlanStep: TypeAlias = Callable[[Any], Awaitable[None]]
"""Adds to a ``Planning``, which belongs to a room above this one. Raises ``GatewayError`` to reject the request."""

FindReadable: TypeAlias = Callable[[Any, Incoming, Plan], Awaitable[Mapping[bytes, int]]]
"""Returns the readable tokens by ``Target.identity.place``, for an ``ExchangeContext``."""


class BatchChecks(Protocol):
    """The checks of a request about a batch: of the requests in its file or body, and of its results."""

    names: frozenset[str]
    """The names of the checks that a file passes."""

    @property
    def required_names(self) -> Sequence[str]:
        """The names of the checks that the file of a new batch must have passed."""

    def request_lines(self) -> Transform:
        """Return the transform of a file with requests."""

    def result_lines(self) -> Transform:
        """Return the transform of a response with results."""

    async def check_new(self, body: bytes, endpoint: str) -> bytes:
        """Return ``body``, a new batch for ``endpoint`` or the body of a request about one, as it may be sent. Raises
        ``GatewayError``."""

    def note_file(self, owner: str, file: str) -> None:
        """Note that ``file`` has passed the checks."""

    def names_of(self, owner: str, file: str) -> frozenset[str]:
        """Return the names of the checks that ``file`` has passed in this process."""

    def require_checked(self, names: frozenset[str]) -> None:
        """Raise ``GatewayError`` (403) unless a batch's file, which passed ``names``, lacks no required check."""

    def refuse_file(self) -> None:
        """Raise ``GatewayError`` (403) if a check must read files that are for no batch."""

    def use_for_response(self) -> None:
        """Check the response as one text, and not line by line."""


class BodySpool(Protocol):
    """Room for a body of ``size`` bytes: all pieces are added, then it is rewound, then they are read."""

    size: int

    async def add(self, piece: bytes) -> None:
        """Add a piece. Raises ``GatewayError`` (413, 429, 503) without room."""

    async def rewind(self) -> None:
        """Switch from adding to reading."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def __anext__(self) -> bytes: ...


class RequestChecks(Protocol):
    """The checks of requests that are no conversations. All methods raise ``GatewayError`` for a refusal.

    ``context`` is an ``ExchangeContext``, ``exchange`` an ``Exchange`` and ``inbound`` an ``InboundRequest``: these
    belong to rooms above this one."""

    async def admit_endpoint(self, context: Any, endpoint: str, route: tuple[str, str] = ("", "")) -> None:
        """Raise (403) if no check can read the requests to ``endpoint`` that it must, and (400) for a check that the
        client requests and cannot have. ``route`` is the request's method and path."""

    async def admit_kept(self, service: Any, client_request: ClientRequest, endpoint: str) -> None:
        """Raise as ``admit_endpoint`` for the objects that a provider stores for ``endpoint``."""

    async def check_json(self, inbound: Any, incoming: Incoming, plan: Plan) -> Incoming:
        """Return ``incoming``, for one of the targets of ``plan``, as it may be sent."""

    async def check_form(
        self, inbound: Any, arriving: AsyncIterator[bytes], length: int | None, boundary: bytes, spool: BodySpool
    ) -> tuple[AsyncIterator[bytes], int | None]:
        """Return the form in ``arriving`` as it may be sent, and its length if it is known. ``spool`` has room for
        it."""

    async def check_items(self, exchange: Any, body: bytes) -> bytes:
        """Return ``body``, items of a conversation, as the gateway may store them."""

    async def batch_checks(self, exchange: Any) -> BatchChecks:
        """Return the checks of a request about a batch."""
