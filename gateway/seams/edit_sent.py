"""The seam of what providers receive: edits of requests that the configuration wants, besides translations.

**Edits of a request** (``BeginEdits``): of at most one feature. The kernel calls it once the targets of a request are
known: for a conversation before its earlier turns are loaded, at another endpoint after the operator's steps. It is
sync, and cheap without edits. ``RequestEdits.apply`` follows, in a thread for a large body, and then ``preparation``
for each attempt, before the provider's own quirks. An edit that rejects raises ``GatewayError`` (400).

**Edits of an attempt** (``EditSent``). The kernel awaits each in the order of the features, for each attempt of a model
request, hedges included, after its translation and before its size is estimated and reserved. A hook returns the
request as the target receives it, unchanged where it has nothing to do, and reports what it adds
(``Prepared.with_addition``). It may wait, and is cancelled with the attempt. It catches its own errors: what escapes
fails the request. ``Prepared.on_usage`` calls it back once, when the attempt has ended and its usage is known; that
call may not wait or raise.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from gateway.request.parse import Incoming
from gateway.request.prepared import Preparation, Prepared
from gateway.routing.plan import Plan
from gateway.routing.target import Omissions, Target

Write: TypeAlias = Callable[[Incoming, Target, Omissions], Prepared]
"""Writes a client's request for a target. Raises ``GatewayError`` (400) for what the target cannot do."""


class RequestEdits(Protocol):
    """The edits of one request. ``apply`` is called once, before the others, or else ``edit_line``."""

    def apply(self, incoming: Incoming) -> Incoming:
        """Return ``incoming`` with the edits for all targets. Raises ``GatewayError`` (400) for invalid JSON text."""

    def with_lanes(self, plan: Plan) -> Plan:
        """Return ``plan`` with translated responses where a provider's would repeat what the client must not see."""

    def preparation(self, write: Write, incoming: Incoming) -> Preparation:
        """Return a function that prepares the conversation ``incoming`` for a target."""

    def preparation_of_prompt(self, write: Write, incoming: Incoming) -> Preparation:
        """Return a function that prepares ``incoming`` for an operation without an answer, such as a count of tokens,
        where providers reject settings of answers."""

    def with_entry_members(self, prepare: Preparation) -> Preparation:
        """Return ``prepare``, for an endpoint other than conversations, with the edits for the target's entry."""

    def has_instructions(self, target: Target) -> bool:
        """Return whether requests to ``target`` get instructions."""

    def with_instructions(self, incoming: Incoming, target: Target) -> Incoming:
        """Return ``incoming`` with the instructions for ``target``."""

    def edit_line(self, incoming: Incoming, target: Target) -> bytes:
        """Return the body of a batch's request ``incoming`` with all edits for ``target``.

        Raises ``GatewayError`` (400) for invalid JSON text."""


class BeginEdits(Protocol):
    """Begins the edits of a request."""

    def __call__(self, client: str | None, plan: Plan, wire: str) -> RequestEdits:
        """Return the edits of a request of ``client`` with ``plan``.

        ``wire`` is the client's API, or the endpoint of a request that is no conversation."""


EditSent: TypeAlias = Callable[[Prepared, Target, Any, Any], Awaitable[Prepared]]
"""Edits a request in the form for a target, of an ``ExchangeContext`` and its ``PlannedRequest``: these belong to rooms
above this one."""
