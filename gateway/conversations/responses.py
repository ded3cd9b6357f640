"""Turns of the Responses API that are kept here, so that every provider has ``previous_response_id``.

A turn that is kept goes through the hub lane, also to a provider that speaks Responses: its answer has an id of ours,
and the provider is told not to store it. What began here goes on here (``previous_response_id`` with an id of ours),
whatever ``state`` the model's entry has; what a provider keeps itself passes through, and only whose it is is written
down.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway.conversations import items as conversations
from gateway.conversations.bodies import read_turn, unpacked
from gateway.conversations.recorder import ResolvedRequest, StateOptions, StateScope, patience
from gateway.conversations.turns import LocalTurn, ProviderTurn
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from gateway.stores.store import Node, Store, Unavailable
from providers.neutral.fields import parsed
from providers.responses.ids import is_ours
from providers.responses.kept import UNUSABLE, previous, references, resolved
from streams.errors import GatewayError, invalid

Items: TypeAlias = list[dict[str, Any]]

_KINDS: Mapping[str, tuple[type, str]] = {
    "previous_response_id": (str, "a string"),
    "conversation": (str, "an id, or an object with one"),
    "store": (bool, "a boolean"),
    "background": (bool, "a boolean"),
}
_OWN_MEMBERS = tuple(_KINDS)  # they say nothing to a provider of what is kept here
_NO_STORE = "this gateway keeps no state (state_storage: {type: none}): send the whole conversation in input"
_NOT_STORED = (("warning", '199 trigate "store: this gateway keeps no state, the response is not stored"'),)


def read_wish(incoming: Incoming) -> StateOptions:
    """Raises ``GatewayError`` (400)."""
    given = {name: _decoded(incoming, name) for name in _OWN_MEMBERS}
    if isinstance(conversation := given["conversation"], dict):
        given["conversation"] = conversation.get("id")
    for name, (kind, word) in _KINDS.items():
        if given[name] is not None and not isinstance(given[name], kind):
            raise invalid(f"{name} must be {word}", name)
    previous, conversation, store = given["previous_response_id"], given["conversation"], given["store"]
    if previous and conversation:
        raise invalid("give previous_response_id or conversation, not both", "previous_response_id")
    if given["background"] and store is False:
        raise invalid("background needs store: without it nobody could come back for the response", "background")
    refers, compacts = (word in incoming.body for word in (b'"item_reference"', b'"compaction_trigger"'))
    return StateOptions(previous or None, conversation or None, store, bool(given["background"]), refers, compacts)


def _decoded(incoming: Incoming, name: str) -> Any:
    raw = incoming.members.get(name)
    return None if raw is None else parsed(raw, Any)


async def recall_turn(memory: StateScope, incoming: Incoming, target: Target) -> ResolvedRequest:
    """``incoming`` with the earlier turns it refers to, and what is to be kept of its answer.

    Raises ``GatewayError``: 400 for what is not there or cannot be continued, 503 where the store cannot say."""
    wish = read_wish(incoming)
    if not _is_kept_here(memory, incoming, target, wish):
        return await _kept_by_provider(memory, incoming, target, wish)
    store = memory.local or memory.store
    if store is None:
        _refuse_without_store(wish)
        return ResolvedRequest(incoming, target, headers=_NOT_STORED if wish.store else ())
    if not (wish.stores or wish.previous or wish.conversation or wish.refers or memory.local):
        return ResolvedRequest(incoming, attrs.evolve(target, lane="hub") if wish.compacts else target)
    with patience("recall the conversation"):
        parent, earlier = await _earlier(store, memory.owner, wish, incoming)
        own = await _own_input(store, memory.owner, incoming, earlier) if wish.refers else None
        if memory.local is not None and await _is_local(memory, wish):
            wish = attrs.evolve(wish, store=False)  # what it stands on is not to be stored, so neither can it be
    recalled = _continued(incoming, target, own, earlier)
    # A turn that is not to be stored lives on where only this connection sees it, if anywhere. A conversation does not.
    place = memory.store if wish.stores or wish.conversation else memory.local
    turn = LocalTurn(place, memory.owner, wish, parent, recalled.members.get("input"))
    headers = _NOT_STORED if wish.store and place is None else ()
    return ResolvedRequest(recalled, attrs.evolve(target, lane="hub"), turn, headers)


async def _is_local(memory: StateScope, wish: StateOptions) -> bool:
    """Whether the turn goes on from one that only this connection remembers."""
    if wish.previous is None or memory.store is None:
        return False
    return await memory.store.get(memory.owner, wish.previous) is None


def _is_kept_here(memory: StateScope, incoming: Incoming, target: Target, wish: StateOptions) -> bool:
    if target.lane == "hub" or target.entry.keeps_own:
        return True
    if is_ours(wish.previous) or is_ours(wish.conversation):
        return True
    if wish.refers and any(map(is_ours, references(_decoded(incoming, "input")))):
        return True
    return memory.local is not None and not wish.stores  # over HTTP no provider continues what it does not store


def _refuse_without_store(wish: StateOptions) -> None:
    if wish.previous is not None:
        raise invalid(f"previous_response_id cannot be honoured: {_NO_STORE}", "previous_response_id")
    if wish.conversation is not None:
        raise invalid(f"conversation cannot be honoured: {_NO_STORE}", "conversation")
    if wish.background:
        raise invalid("background cannot be honoured: this gateway keeps no state", "background")


def _continued(incoming: Incoming, target: Target, own: Items | None, earlier: Items) -> Incoming:
    """The request as if the client had sent everything itself."""
    members = {name: raw for name, raw in incoming.members.items() if name not in _OWN_MEMBERS}
    if own is not None:
        members["input"] = msgspec.Raw(msgspec.json.encode(own))
    elif earlier and _decoded(incoming, "input") is None:  # nothing new, as when a conversation is to be compacted
        members["input"] = msgspec.Raw(b"[]")
    if target.api == "responses":
        members["store"] = msgspec.Raw(b"false")
    return attrs.evolve(incoming, body=msgspec.json.encode(members), members=members, earlier=tuple(earlier))


# What there is


async def _earlier(store: Store, owner: str, wish: StateOptions, incoming: Incoming) -> tuple[str | None, Items]:
    """The id that the turn is to stand on, and the items before it."""
    if wish.conversation is not None:
        conversation = await conversations.read(store, owner, wish.conversation)
        parent = conversation.head or wish.conversation
        return parent, _items(await store.chain(owner, parent), incoming)
    if wish.previous is None:
        return None, []
    chain = await store.chain(owner, wish.previous)
    if not chain or chain[-1].kind != "response":
        raise not_found(wish.previous)
    if (status := read_turn(chain[-1].body).status) in UNUSABLE:
        message = f"Previous response with id '{wish.previous}' cannot be continued: its status is {status}."
        raise not_found(wish.previous, message)
    return wish.previous, _items(chain, incoming)


def _items(chain: Iterable[Node], incoming: Incoming) -> Items:
    """Raises ``Unavailable`` for a turn that cannot be read."""
    try:
        turns = (unpacked(node.body) for node in chain if node.kind in ("response", "items"))
        return previous(turns, _decoded(incoming, "input"))
    except ValueError as error:
        raise Unavailable(str(error)) from None


def not_found(id: str, message: str | None = None) -> GatewayError:
    """The one answer for what is not there and what is another client's (ENTERPILOT/GoModel#939)."""
    return GatewayError(
        "invalid_request", message or f"Previous response with id '{id}' not found.",
        param="previous_response_id", code="previous_response_not_found",
    )  # fmt: skip


async def _own_input(store: Store, owner: str, incoming: Incoming, earlier: Items) -> Items | None:
    """The request's own input with the items it refers to in place; ``None`` if it refers to nothing after all."""
    value = _decoded(incoming, "input")
    if not isinstance(value, list) or not (ids := references(value)):
        return None
    known: dict[str, dict[str, Any]] = {}
    for id, node in (await store.find(owner, ids)).items():
        known |= {item["id"]: item for item in read_turn(node.body).items if item.get("id") == id}
    items, unknown = resolved(value, known, {item["id"] for item in earlier if "id" in item})
    if unknown:
        shown = ", ".join(f"'{id[:100]}'" for id in unknown[:20])
        raise invalid(f"input refers to items that are not stored here: {shown}; send the items themselves", "input")
    return items


async def _kept_by_provider(
    memory: StateScope, incoming: Incoming, target: Target, wish: StateOptions
) -> ResolvedRequest:
    """The provider keeps its turns. With keys at the door one client's are still not another's: whose they are is
    written down here, and where nothing is, nobody is taken for their owner."""
    if not memory.owner:
        return ResolvedRequest(incoming, target)
    if memory.store is None:
        _refuse_without_store(wish)
        return ResolvedRequest(incoming, target)
    if wish.previous is not None:
        with patience("look the previous response up"):
            node = await memory.store.get(memory.owner, wish.previous)
        if node is None or node.kind != "foreign":
            raise not_found(wish.previous)
    if wish.conversation is not None:  # what is made with a key is made here
        raise conversations.missing(wish.conversation)
    if not wish.stores:
        return ResolvedRequest(incoming, target)
    return ResolvedRequest(
        incoming, target, ProviderTurn(memory.store, memory.owner, target.entry.name, wish.background)
    )
