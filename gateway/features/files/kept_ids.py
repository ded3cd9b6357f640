"""Ids of provider-stored objects in conversations: uploaded files, vector stores, containers.

The gateway's ids are replaced with the provider's, and the request goes to the provider that has the objects; a
response shows the client's own ids instead of the provider's. The provider's own ids need ``foreign_ids``, because they
could be those of other clients."""

import re
from functools import partial
from typing import Final

import attrs

from gateway.config.limits import Limits
from gateway.http.offload import offload
from gateway.kept_objects.accounts import Account
from gateway.kept_objects.id_texts import IdPlaces, IdText
from gateway.kept_objects.owned_ids import (
    OTHER_ADDRESSES,
    AccountDirectory,
    OwnerIds,
    may_contain_native_ids,
    native_id_error,
)
from gateway.request.parse import Incoming, decode_members
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.seams.kept import ReplaceIds
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo
from streams.framing import FramingError
from streams.sse import SSE

SEARCHED: Final = 16
"""Bytes in which a few words are searched for in the time in which one byte is read."""

REQUEST_PLACES: Final = IdPlaces(
    frozenset(("file_id", "file_ids", "vector_store_id", "vector_store_ids", "container", "container_id", "batch_id")),
    ends=frozenset((("container", "id"),)),
    addresses=frozenset(("fileuri", "file_uri")),
)
"""Where conversations contain such ids, in all APIs."""

_CHECKED_PLACES: Final = attrs.evolve(REQUEST_PLACES, addresses=REQUEST_PLACES.addresses | OTHER_ADDRESSES)
"""Where a provider's own ids are refused."""


@attrs.frozen(eq=False, repr=False)
class LocatedRequest:
    """A request with the provider's ids, and the ``account`` that stores the objects; ``None`` without objects.

    ``native`` is an id that the client sent in the provider's form. In ``protected`` accounts it could be that of
    another client's object."""

    incoming: Incoming
    account: Account | None = None
    native: IdText | None = None
    protected: tuple[Account, ...] = ()

    def restrict(self, plan: Plan) -> Plan:
        """Return ``plan`` with only the targets of the ``account``.

        Raises ``GatewayError``: 400 if there are none, 404 for a provider's id without the right to use it."""
        account = self.account
        if self.native is not None:
            for one in plan.candidates:
                if any(one.target.entry in account.entries for account in self.protected):
                    raise native_id_error(self.native)
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
        return plan.with_candidates(there)


async def with_native_ids(
    accounts: AccountDirectory, owner: str, client: str | None, incoming: Incoming
) -> LocatedRequest:
    """Return ``incoming`` with the gateway's ids replaced by the provider's.

    Raises ``GatewayError``: 404 for an id that does not belong to ``owner``, 400 for ids of two providers."""
    ids = accounts.all_ids_of(owner, client)
    protected = _protected_accounts(accounts, client, ids)
    places = _CHECKED_PLACES if protected else REQUEST_PLACES
    read = await offload(len(incoming.body), ids.find_tagged, incoming.body, places)
    if read.account is None:
        return LocatedRequest(incoming, None, read.native, protected)
    body = read.with_native_ids(f"{read.account.origin}/v1beta")
    members = await offload(len(body) // 2, decode_members, body)
    return LocatedRequest(attrs.evolve(incoming, body=body, members=members), read.account, read.native, protected)


def _protected_accounts(accounts: AccountDirectory, client: str | None, ids: OwnerIds) -> tuple[Account, ...]:
    """Return the accounts whose own ids the client may not use."""
    if not accounts.refuses_native_ids(client):
        return ()
    return tuple(one for one in ids.accounts if one.has_secret and not one.entry.passthrough_auth)


def refuse_native_ids(accounts: AccountDirectory, owner: str, client: str | None, incoming: Incoming) -> None:
    """Raise ``GatewayError`` (404) if a request in a batch file has a provider's id that the client may not use."""
    ids = accounts.all_ids_of(owner, client)
    if not _protected_accounts(accounts, client, ids) or not may_refer_to_objects(accounts, client, incoming):
        return
    if (native := ids.find_tagged(incoming.body, _CHECKED_PLACES).native) is not None:
        raise native_id_error(native)


def may_refer_to_objects(accounts: AccountDirectory, client: str | None, incoming: Incoming) -> bool:
    """Return whether ``incoming`` may refer to stored objects by ids that the gateway must replace or refuse."""
    if accounts.may_contain_ids(incoming.body):
        return True
    if not accounts.refuses_native_ids(client):
        return False
    if "container" in incoming.members:
        return True
    tools = [bytes(incoming.members[one]) for one in _TOOLS if one in incoming.members]
    return may_contain_native_ids(incoming.body, incoming.api, tools)


RESPONSE_PLACES: Final = IdPlaces(
    frozenset(("file_id", "file_ids", "vector_store_id", "vector_store_ids", "container", "container_id")),
    ends=frozenset((("container", "id"),)),
)
"""Where responses of models contain ids of the provider: citations, containers, created files."""

_ID_SOURCES: Final = (b"code_interpreter", b"code_execution", b"file_search", b"container")
_TOOLS: Final = ("tools", "environment")
"""The members with a provider's tools. All others may have text of any length."""

_ID_MEMBER: Final = re.compile(rb'"(?:file_ids?|container(?:_id)?|vector_store_ids?)"')


def request_id_replacer(
    accounts: AccountDirectory, limits: Limits, owner: str, client: str | None, incoming: Incoming
) -> ReplaceIds | None:
    """Return the function that replaces a provider's ids in a response with the client's; ``None`` if not needed.

    A provider's tools may create or cite stored objects, which the client could not request by the provider's ids."""
    members = incoming.members
    tools = [bytes(members[name]) for name in _TOOLS if name in members]
    if "container" in members or any(raw.find(word) >= 0 for raw in tools for word in _ID_SOURCES):
        return client_id_replacer(accounts, limits, owner, client)
    return None


def client_id_replacer(accounts: AccountDirectory, limits: Limits, owner: str, client: str | None) -> ReplaceIds | None:
    """Return the function that replaces a provider's ids in a response; ``None`` if clients use the provider's ids."""
    ids = accounts.all_ids_of(owner, client)
    return None if ids.are_native else partial(_replace_ids, ids, limits)


def _replace_ids(ids: OwnerIds, limits: Limits, target: Target, response: UpstreamResponse) -> None:
    account = next((one for one in ids.accounts if target.entry in one.entries), None)
    kind = (response.header("content-type") or "").lower()
    if account is None or not account.secrets:
        return
    if SSE.matches_type(kind):
        response.change(EventsWithClientIds(ids, account, limits.event))
    elif "json" in kind:
        response.change(BodyWithClientIds(ids, account, limits.answer))


class EventsWithClientIds:
    """Server-sent events with the client's ids."""

    def __init__(self, ids: OwnerIds, account: Account, most: int) -> None:
        self._splitter = SSE.splitter(most)
        self._ids = ids
        self._account = account

    def take(self, piece: bytes) -> bytes:
        try:
            return b"".join([self._with_client_ids(event) for event in self._splitter.feed(piece)])
        except FramingError as error:
            raise GatewayError.of(ErrorInfo("upstream", str(error), reason="bad_answer")) from None

    def close(self) -> bytes:
        return self._splitter.close()

    def _with_client_ids(self, event: bytes) -> bytes:
        return self._ids.with_client_ids(event, RESPONSE_PLACES, self._account) if _ID_MEMBER.search(event) else event


class BodyWithClientIds:
    """A complete response with the client's ids.

    A response longer than ``most`` bytes passes unchanged, because its reader rejects it."""

    def __init__(self, ids: OwnerIds, account: Account, most: int) -> None:
        self._ids = ids
        self._account = account
        self._left = most
        self._parts: list[bytes] = []

    def take(self, piece: bytes) -> bytes:
        self._parts.append(piece)
        self._left -= len(piece)
        return b"" if self._left >= 0 else self._take_body()

    def close(self) -> bytes:
        return self._ids.with_client_ids(self._take_body(), RESPONSE_PLACES, self._account)

    def _take_body(self) -> bytes:
        body = b"".join(self._parts)
        self._parts.clear()
        return body
