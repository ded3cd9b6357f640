"""The seam of objects that providers store for clients: files, vector stores, containers and background answers.

At most one feature has it (``Hooks.kept``). Without it, the providers' ids pass unchanged in both directions.

- **Requests.** The kernel awaits ``locate`` before it plans a conversation or another request. The result has the
  request with the provider's ids, and restricts the plan to the provider that stores the objects. It raises
  ``GatewayError``: 404 for an id of another owner, 400 for objects of two providers.
- **Responses.** ``response_ids`` returns the function that the kernel calls with the target and the head of each
  successful response, before any byte of the body. It replaces the ids by ``UpstreamResponse.change``.
- **Background answers** are billed when they end. ``record_run`` returns the recorder of the turn that starts one,
  ``send_about_run`` sends a client's request about one, and ``query_runs`` queries the providers until the
  configuration is replaced. They raise only ``GatewayError``.

All may wait, and a client that leaves cancels them, except for bills, which the feature completes.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from gateway.conversations.recorder import TurnRecorder
from gateway.http.response import Response
from gateway.request.parse import Incoming
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.upstream.response import UpstreamResponse
from streams.events import Api

ReplaceIds: TypeAlias = Callable[[Target, UpstreamResponse], None]


class Located(Protocol):
    """A request with the provider's ids."""

    @property
    def incoming(self) -> Incoming: ...

    def restrict(self, plan: Plan) -> Plan:
        """Return ``plan`` with only the targets that store the objects. Raises ``GatewayError`` without any."""


class KeptObjects(Protocol):
    """The objects of the clients of one configuration. ``context`` is an ``ExchangeContext``, ``service`` a
    ``Service`` and ``planned`` a ``PlannedRequest``: these belong to rooms above this one."""

    @property
    def bills_runs(self) -> bool:
        """Whether background answers are billed when they end."""

    def refuses_native_ids(self, client: str | None) -> bool:
        """Return whether ``client`` may not use the providers' ids."""

    async def locate(self, owner: str, client: str | None, incoming: Incoming) -> Located | None:
        """Return ``incoming`` with the provider's ids, ``None`` if it refers to no objects."""

    async def response_ids(self, owner: str, client: str | None, incoming: Incoming) -> ReplaceIds | None:
        """Return the function for responses to ``incoming``, ``None`` if they need none."""

    def all_ids(self, owner: str, client: str | None) -> ReplaceIds | None:
        """Return the function for responses about stored objects, ``None`` if they need none."""

    async def record_run(self, inner: TurnRecorder, context: Any, owner: str) -> TurnRecorder:
        """Return the recorder of a turn that the provider continues in the background; ``inner`` records the turn."""

    async def send_about_run(
        self, service: Any, api: Api, run: tuple[str, str], planned: Any, send: Callable[[Any], Awaitable[Response]]
    ) -> Response:
        """Send ``planned``, a request about a ``run`` (its owner and id), and bill the run if it has ended."""

    async def query_runs(self, service: Any) -> None:
        """Query the runs whose clients do not fetch their ends, until another configuration replaces this one."""
