"""The seam of members that clients send for another router, which no provider accepts.

At most one feature has it (``Hooks.request_forms``). Without it, only headers have routing options, and such members
pass to the provider unchanged.

- **Conversations.** The kernel calls ``label``, then awaits ``read_options``, before it finds targets. The options name
  the members that the kernel then removes, or passes to a provider that is such a router.
- **Other requests.** The kernel awaits ``without_own_members`` once it has read the body, then calls ``label``. The
  checks of requests await ``take_steps``.
- **Errors.** All raise ``GatewayError``: 400 with the path of an invalid member, 403 for a blocked end user.
- **Cancellation.** A client that leaves cancels what waits. Nothing is left behind.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.request.routing_options import RoutingOptions, Word


class RequestForms(Protocol):
    """The forms of requests for other routers."""

    def label(self, client_request: ClientRequest, incoming: Incoming) -> Mapping[str, Any]:
        """Return the fields of the log with which the client labels the request. Raises for a blocked end user."""

    async def read_options(self, client_request: ClientRequest, incoming: Incoming) -> RoutingOptions:
        """Return the routing options in the headers and in the body."""

    async def without_own_members(self, incoming: Incoming) -> Incoming:
        """Return ``incoming``, which is no conversation, without the members for the router itself."""

    async def take_steps(self, incoming: Incoming) -> tuple[Incoming, tuple[Word, ...]]:
        """Return ``incoming``, which is no conversation, without the steps that it requests, and these."""
