"""Stored conversations of OpenAI's API: ``/v1/conversations`` and paths below."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from gateway.conversations import conversation_store as stored
from gateway.conversations.bodies import Object, StoredConversation
from gateway.conversations.deadline import store_deadline
from gateway.endpoints.answers import (
    Call,
    QueryProviders,
    handler_of,
    list_page,
    object_response,
    object_views,
    read_members,
    require_store,
)
from gateway.endpoints.provider_kept import ProviderLookup
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.http.response import Response
from gateway.request.routing_options import refuse_requested_steps
from gateway.serving.route_table import Handler
from gateway.stores.store import Store
from providers.apis import CODECS
from providers.neutral.fields import Fields, expect
from providers.responses.kept_items import page, prepare_input
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo

T = TypeVar("T")

MAX_ITEMS = 20  # in one request
MOST_PAIRS, LONGEST_KEY, LONGEST_VALUE = 16, 64, 512


def conversation_views(service: Service, query_providers: QueryProviders | None = None) -> Mapping[str, Handler]:
    """Return the handlers of conversations by name.

    New conversations are always stored here, because the request does not name the models that will be used in them."""
    views = Conversations(service.turns.store, service)
    of_one = (
        views.retrieve, views.update, views.delete, views.add_items, views.items, views.item, views.delete_item,
    )  # fmt: skip
    return {
        "create": handler_of(service, views.create, "responses"),
        **object_views(service, of_one, query_providers or ProviderLookup(service, "responses")),
    }


@attrs.frozen
class Conversations:
    """The views of conversations and their items.

    Each raises ``GatewayError``: 404 for unknown objects, 400 for invalid requests, 409 after write conflicts."""

    _store: Store | None
    _service: Service

    async def create(self, call: Call) -> Response:
        store = require_store(self._store)
        metadata, items = await self._read(call, _read_conversation)
        conversation = StoredConversation(int(time.time()), metadata)
        with store_deadline("read or write the conversation"):
            items = await stored.items_to_add(store, call.owner, items)
            id = await stored.create(store, call.owner, conversation, items)
        return _conversation_response(call, id, conversation)

    async def retrieve(self, call: Call, id: str) -> Response:
        with store_deadline("read or write the conversation"):
            conversation = await stored.read(require_store(self._store), call.owner, id)
        return _conversation_response(call, id, conversation)

    async def update(self, call: Call, id: str) -> Response:
        store, metadata = require_store(self._store), await self._read(call, _read_new_metadata)
        with store_deadline("read or write the conversation"):
            conversation = await stored.set_metadata(store, call.owner, id, metadata)
        return _conversation_response(call, id, conversation)

    async def delete(self, call: Call, id: str) -> Response:
        with store_deadline("read or write the conversation"):
            await stored.remove(require_store(self._store), call.owner, id)
        return object_response(call, {"id": id, "object": "conversation.deleted", "deleted": True})

    # Items

    async def add_items(self, call: Call, id: str) -> Response:
        """Add items, and return them in order."""
        store, items = require_store(self._store), await self._read(call, _read_added_items)
        with store_deadline("read or write the conversation"):
            items = await stored.items_to_add(store, call.owner, items)
            await stored.append(store, call.owner, id, items)
        return object_response(call, page(items, limit=len(items), order="asc"))

    async def items(self, call: Call, id: str) -> Response:
        return object_response(call, list_page(call, await self._items(call, id)))

    async def item(self, call: Call, id: str, item_id: str) -> Response:
        found = next((item for item in await self._items(call, id) if item.get("id") == item_id), None)
        if found is None:
            raise stored.unknown_item_error(item_id)
        return object_response(call, found)

    async def delete_item(self, call: Call, id: str, item_id: str) -> Response:
        """Delete an item, and return its conversation."""
        with store_deadline("read or write the conversation"):
            await stored.remove_item(require_store(self._store), call.owner, id, item_id)
        return await self.retrieve(call, id)

    async def _read(self, call: Call, read: Callable[[Fields], T]) -> T:
        """Return the result of ``read`` for the request's body, as the operator's steps release it.

        Raises ``GatewayError``, also (400) for a step that the client may not request."""
        if not self._service.hooks.request_checks:
            refuse_requested_steps(call.client_request)
            return await read_members(call, read)
        return await read_members(call, read, self._check)

    async def _check(self, call: Call, body: bytes) -> bytes:
        """Return ``body`` as it may be stored. Raises ``GatewayError``."""
        call.record.bill.billed = False
        exchange = Exchange(self._service, "responses", call.client_request, call.scope, call.record)
        for checks in self._service.hooks.request_checks:
            body = await checks.check_items(exchange, body)
        return body

    async def _items(self, call: Call, id: str) -> list[Object]:
        with store_deadline("read or write the conversation"):
            return await stored.items_of(require_store(self._store), call.owner, id)


def _conversation_response(call: Call, id: str, conversation: StoredConversation) -> Response:
    """Return a conversation in the API's form."""
    return object_response(
        call,
        {
            "id": id,
            "object": "conversation",
            "created_at": conversation.created_at,
            "metadata": conversation.metadata,
        },
    )


# Reading requests


def _read_conversation(members: Fields) -> tuple[dict[str, Any], list[Object]]:
    """Return a new conversation's metadata and items."""
    metadata, items = _read_metadata(members), read_items(members)
    _refuse_unknown_members(members)
    return metadata, items


def _read_new_metadata(members: Fields) -> dict[str, Any]:
    """Return the metadata that replaces a conversation's."""
    if "metadata" not in members.data:
        raise invalid("metadata is required", "metadata")
    metadata = _read_metadata(members)
    _refuse_unknown_members(members)
    return metadata


def _read_added_items(members: Fields) -> list[Object]:
    members.need("items", list)
    items = read_items(members)
    _refuse_unknown_members(members)
    if not items:
        raise invalid("items must have at least one item", "items")
    return items


def read_items(members: Fields) -> list[Object]:
    """Return the items in a request's ``items``, each with an id. Raises ``GatewayError`` (400)."""
    given = members.array("items") or []
    if len(given) > MAX_ITEMS:
        raise invalid(
            f"items may have at most {MAX_ITEMS} items, not {len(given)}: add the others with further requests",
            "items",
        )
    try:
        CODECS["responses"].read_request({"model": "", "input": given})
    except GatewayError as error:  # invalid items could not be used in a turn
        raise GatewayError.of(_reword_for_items(error.info)) from None
    return prepare_input(given)


def _reword_for_items(error: ErrorInfo) -> ErrorInfo:
    """Return an error about the member ``input``, with ``items`` instead in its message and its path."""
    message, param = (
        "items" + text.removeprefix("input") if text.startswith("input[") else text
        for text in (error.message, error.param or "items")
    )
    return attrs.evolve(error, message=message, param=param)


def _read_metadata(members: Fields) -> dict[str, Any]:
    given = members.object("metadata")
    if given is None:
        return {}
    if len(given.data) > MOST_PAIRS:
        raise invalid(f"metadata may have at most {MOST_PAIRS} pairs, not {len(given.data)}", "metadata")
    for key, value in given.data.items():
        if len(key) > LONGEST_KEY:
            raise invalid(f"metadata has a key of more than {LONGEST_KEY} characters", "metadata")
        if len(expect(value, str, given.path(key))) > LONGEST_VALUE:
            raise invalid(f"{given.path(key)} is longer than {LONGEST_VALUE} characters", given.path(key))
    return dict(given.data)


def _refuse_unknown_members(members: Fields) -> None:
    if unknown := members.unread():
        raise invalid(f"unknown member {unknown[0][:100]}: remove it", unknown[0][:100])
