"""Conversations in a store: a root node, and nodes of items below it, newest last.

Several workers may write to one simultaneously. Each write expects the state that it has read, and restarts after a
conflict, so nothing is lost or duplicated."""

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import attrs
import trio

from gateway.conversations.bodies import (
    Object,
    StoredConversation,
    StoredTurn,
    conversation_body,
    items_body,
    read_conversation,
    read_turn,
    unpacked_size,
)
from gateway.http.offload import offload
from gateway.stores.errors import Changed
from gateway.stores.store import Node, Store
from providers.responses.kept_items import resolve_references
from providers.responses.tools import own_id
from streams.errors import GatewayError, invalid

T = TypeVar("T")

ATTEMPTS = 64
NODE = 1000  # bytes of a turn that take as long as reading an empty one
STEP, LONGEST = 0.001, 0.05  # seconds by which the wait between attempts grows, and its maximum


async def create(store: Store, owner: str, conversation: StoredConversation, items: Sequence[Object]) -> str:
    """Store a new conversation with ``items`` (which have ids), and return its id."""
    id = own_id("conv_")
    first = [_items_node(owner, items, id)] if items else []
    begun = attrs.evolve(conversation, head=first[0].id if first else None)
    await store.put([Node(id, owner, "conversation", conversation_body(begun)), *first])
    return id


async def read(store: Store, owner: str, id: str) -> StoredConversation:
    """Return the conversation. Raises ``GatewayError`` (404) if ``owner`` has none with this id."""
    return read_conversation((await _root(store, owner, id)).body)


async def items_of(store: Store, owner: str, id: str) -> list[Object]:
    """Return all items of the conversation, the oldest first. Raises ``GatewayError`` (404)."""
    return [item for turn in await read_node_turns(await _nodes(store, owner, id)) for item in turn.items]


async def read_node_turn(node: Node) -> StoredTurn:
    """Return the turn in ``node``. Raises ``Unavailable`` as ``read_turn`` does."""
    return await offload(unpacked_size((node.body,)), read_turn, node.body)


async def read_node_turns(nodes: Iterable[Node]) -> list[StoredTurn]:
    """Return the turns in ``nodes``, even thousands. Raises ``Unavailable`` as ``read_turn`` does."""
    bodies = [node.body for node in nodes]
    return await offload(unpacked_size(bodies) + NODE * len(bodies), lambda: list(map(read_turn, bodies)))


async def read_items(nodes: Mapping[str, Node]) -> dict[str, Object]:
    """Return items by id. ``nodes`` has the node of each item; one node may have thousands of them."""
    distinct = {node.id: node for node in nodes.values()}
    turns = zip(distinct, await read_node_turns(distinct.values()), strict=True)
    items = ((node_id, item) for node_id, turn in turns for item in turn.items)
    found = ((str(item.get("id")), node_id, item) for node_id, item in items)
    return {id: item for id, node_id, item in found if id in nodes and nodes[id].id == node_id}


async def append(store: Store, owner: str, id: str, items: Sequence[Object], *more_nodes: Node) -> None:
    """Append ``items`` (which have ids) to the conversation, and store ``more_nodes``: all or nothing.

    Raises ``GatewayError``: 404 if the conversation does not exist, 409 after too many conflicts."""

    async def write() -> None:
        root = await _root(store, owner, id)
        conversation = read_conversation(root.body)
        added = [_items_node(owner, items, conversation.head or id)] if items else []
        grown = attrs.evolve(conversation, head=added[0].id if added else conversation.head)
        await store.put([*added, _with_content(root, grown), *more_nodes], expect=root)

    await _retry_on_conflict(write)


async def set_metadata(store: Store, owner: str, id: str, metadata: Object) -> StoredConversation:
    """Replace the conversation's metadata, and return the conversation. Raises ``GatewayError`` as ``append`` does."""

    async def write() -> StoredConversation:
        root = await _root(store, owner, id)
        changed = attrs.evolve(read_conversation(root.body), metadata=metadata)
        await store.put([_with_content(root, changed)], expect=root)
        return changed

    return await _retry_on_conflict(write)


async def remove_item(store: Store, owner: str, id: str, item_id: str) -> None:
    """Remove the item from the conversation. Raises ``GatewayError`` as ``append`` does, also 404 for the item."""

    async def write() -> None:
        node = next((node for node in await _nodes(store, owner, id) if item_id in node.items), None)
        if node is None:
            raise unknown_item_error(item_id)
        kept = [item for item in (await read_node_turn(node)).items if item["id"] != item_id]
        await store.put([attrs.evolve(node, body=items_body(kept), items=_ids(kept))], expect=node)

    await _retry_on_conflict(write)


async def remove(store: Store, owner: str, id: str) -> None:
    """Delete the conversation and its items. Raises ``GatewayError`` (404).

    Responses made in it have copies of their items and remain."""
    nodes = await _nodes(store, owner, id)
    if not await store.delete(owner, [id, *(node.id for node in nodes)]):
        raise unknown_conversation_error(id)


async def items_to_add(store: Store, owner: str, items: Sequence[Object]) -> list[Object]:
    """Return ``items`` ready for a conversation: references replaced, and new ids for duplicates of stored ids.

    An id identifies one item of one conversation, and lists are paged by it. Raises ``GatewayError`` (400) for unknown
    references."""
    nodes = await store.find(owner, [item["id"] for item in items])
    found, unknown = resolve_references(items, await read_items(nodes))
    if unknown:
        raise invalid(f"items refers to ids that are not stored here: {', '.join(unknown)[:200]}", "items")
    taken = set(nodes)
    return [_with_free_id(item, taken) for item in found]


def unknown_conversation_error(id: str) -> GatewayError:
    """Return the error for an unknown id in OpenAI's words; ids of other keys are unknown."""
    return GatewayError("not_found", f"Conversation with id '{id[:100]}' not found.")


def unknown_item_error(id: str) -> GatewayError:
    return GatewayError("not_found", f"Item with id '{id[:100]}' not found.")


async def _root(store: Store, owner: str, id: str) -> Node:
    node = await store.get(owner, id)
    if node is None or node.kind != "conversation":
        raise unknown_conversation_error(id)
    return node


async def _nodes(store: Store, owner: str, id: str) -> tuple[Node, ...]:
    """Return the nodes with the conversation's items, the oldest first."""
    conversation = await read(store, owner, id)
    if conversation.head is None:
        return ()
    root, *nodes = await store.chain(owner, conversation.head) or (None,)
    if root is None:  # deleted in between
        raise unknown_conversation_error(id)
    return tuple(nodes)


async def _retry_on_conflict(write: Callable[[], Awaitable[T]]) -> T:
    """Repeat ``write`` while it raises ``Changed``, because another writer came first."""
    for attempt in range(ATTEMPTS):
        try:
            return await write()
        except Changed:
            await trio.sleep(random.uniform(0, min(attempt * STEP, LONGEST)))
    message = "other requests are writing to this conversation: send its requests one after another"
    headers = (("retry-after", "1"),)
    raise GatewayError("invalid_request", message, status=409, code="conversation_locked", headers=headers)


def _with_content(root: Node, conversation: StoredConversation) -> Node:
    return attrs.evolve(root, body=conversation_body(conversation))


def _items_node(owner: str, items: Sequence[Object], parent: str) -> Node:
    return Node(own_id("items_"), owner, "items", items_body(items), parent, _ids(items))


def _ids(items: Iterable[Object]) -> tuple[str, ...]:
    return tuple(item["id"] for item in items)


def _with_free_id(item: Object, taken: set[str]) -> Object:
    id: str = item["id"]
    if id in taken:
        item = {**item, "id": own_id(id.partition("_")[0] + "_")}
    taken.add(item["id"])
    return item
