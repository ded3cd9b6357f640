"""Ids of kept objects in conversations: a file that its client has uploaded through here, a store of vectors, a
container.

Ids that the gateway has given out become the provider's again, and the request goes where the objects are; what an
answer says of the provider's is shown by ids of the client's own. A text that
is none of them passes as it is: what was made elsewhere, such as a store in a provider's console, may be named by the
provider's own id.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final
from urllib.parse import urlsplit

import attrs

from gateway.config.limits import Limits
from gateway.exchange.context import ExchangeContext
from gateway.exchange.service import Service
from gateway.http.offload import offload
from gateway.kept_objects.accounts import Account
from gateway.kept_objects.id_texts import IdPlaces
from gateway.kept_objects.owned_ids import OwnIds
from gateway.request.parse import Incoming, read_incoming
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo
from streams.framing import FramingError
from streams.sse import SSE

PLACES: Final = IdPlaces(
    frozenset(("file_id", "file_ids", "vector_store_id", "vector_store_ids", "container", "container_id", "batch_id")),
    ends=frozenset((("container", "id"),)),
    addresses=frozenset(("fileuri", "file_uri")),
)
"""Where conversations hold such ids, in the words of all APIs."""


@attrs.frozen(eq=False, repr=False)
class KeptPlace:
    """The request with the provider's own ids, and the ``account`` that keeps what they name."""

    incoming: Incoming
    account: Account | None = None

    def among(self, plan: Plan) -> Plan:
        """``plan`` as far as it leads there. Raises ``GatewayError`` (400) where it leads nowhere else."""
        account = self.account
        if account is None:
            return plan
        there = tuple(one for one in plan.candidates if one.target.entry in account.entries)
        if not there:
            raise invalid(
                (
                    f"the request uses files or objects stored at {account.entry.name}, but its model is at "
                    f"{plan.first.place}: use a model of that provider, or upload them again"
                ), code="kept_elsewhere",
            )  # fmt: skip
        return plan.among(there)


async def with_native_ids(context: ExchangeContext, owner: str, incoming: Incoming) -> KeptPlace:
    """``incoming`` with the ids that its provider knows. Raises ``GatewayError``: 404 for one that was not made for
    ``owner``, 400 for those of two providers."""
    ids = context.service.accounts.all_ids(owner, context.asked.client)
    read = await offload(len(incoming.body), ids.read_tagged, incoming.body, PLACES)
    if read.account is None:
        return KeptPlace(incoming)
    body = read.native(_base(read.account))
    again = await offload(len(body) // 2, read_incoming, incoming.api, body, context.asked.path)
    return KeptPlace(again, read.account)


TOLD: Final = IdPlaces(
    frozenset(("file_id", "file_ids", "vector_store_id", "vector_store_ids", "container", "container_id")),
    ends=frozenset((("container", "id"),)),
)
"""Where answers of models name what their provider keeps: citations, containers, files that were made in them."""

_MAKES: Final = (b"code_interpreter", b"code_execution", b"file_search", b"container")
_NAMES: Final = re.compile(rb'"(?:file_ids?|container(?:_id)?|vector_store_ids?)"')


def showing(
    context: ExchangeContext, owner: str, incoming: Incoming
) -> Callable[[Target, UpstreamResponse], None] | None:
    """What has an answer show the ids of ``owner``, where ``incoming`` lets a provider's own tools make or cite what
    the provider keeps: its client could not ask for that by the provider's ids."""
    for word in _MAKES:  # a generator would take twice as long, for every request
        if word in incoming.body:
            return showing_to(context.service, owner, context.asked.client)
    return None


def showing_to(service: Service, owner: str, client: str | None) -> Callable[[Target, UpstreamResponse], None] | None:
    """What has every answer show the ids of ``owner``; ``None`` where these are the provider's."""
    ids = service.accounts.all_ids(owner, client)
    return None if ids.native else partial(_show, ids, service.limits)


def _show(ids: OwnIds, limits: Limits, target: Target, response: UpstreamResponse) -> None:
    account = next((one for one in ids.accounts if target.entry in one.entries), None)
    kind = (response.header("content-type") or "").lower()
    if account is None or not account.secrets:
        return
    if SSE.matches_type(kind):
        response.change(ShownEvents(ids, account, limits.event))
    elif "json" in kind:
        response.change(ShownAnswer(ids, account, limits.answer))


class ShownEvents:
    """Server-sent events with the ids of their client."""

    def __init__(self, ids: OwnIds, account: Account, most: int) -> None:
        self._splitter = SSE.splitter(most)
        self._ids = ids
        self._account = account

    def take(self, piece: bytes) -> bytes:
        try:
            return b"".join([self._shown(event) for event in self._splitter.feed(piece)])
        except FramingError as error:
            raise GatewayError.of(ErrorInfo("upstream", str(error), reason="bad_answer")) from None

    def close(self) -> bytes:
        return self._splitter.close()

    def _shown(self, event: bytes) -> bytes:
        return self._ids.show_all(event, TOLD, self._account) if _NAMES.search(event) else event


class ShownAnswer:
    """A whole answer with the ids of its client. Of one that is longer than ``most`` bytes the rest passes: whoever
    reads it refuses it."""

    def __init__(self, ids: OwnIds, account: Account, most: int) -> None:
        self._ids = ids
        self._account = account
        self._left = most
        self._parts: list[bytes] = []

    def take(self, piece: bytes) -> bytes:
        self._parts.append(piece)
        self._left -= len(piece)
        return b"" if self._left >= 0 else self._all()

    def close(self) -> bytes:
        return self._ids.show_all(self._all(), TOLD, self._account)

    def _all(self) -> bytes:
        body = b"".join(self._parts)
        self._parts.clear()
        return body


def _base(account: Account) -> str:
    """Where Google's files are at ``account``'s provider."""
    url = urlsplit(account.entry.base_url or account.entry.provider.base_url or "")
    return f"{url.scheme}://{url.netloc}/v1beta"
