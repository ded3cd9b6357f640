"""The earlier turns of a request, stored by the gateway so that a client can continue them with every provider, and
through every API whose turns are stored.

A stored turn uses the hub lane even to providers of its API: its response gets a gateway id, and the provider receives
``store: false``. Conversations that start here continue here, whatever ``state`` the entry has. State at a provider
passes through, and the gateway stores only its owner."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway.conversations import conversation_store
from gateway.conversations.background import no_state_error
from gateway.conversations.bodies import unpack, unpacked_size
from gateway.conversations.conversation_store import read_items, read_node_turn
from gateway.conversations.deadline import store_deadline
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.passed_turn import PassedTurn
from gateway.conversations.provider_turn import ProviderTurn, find_storing_entry
from gateway.conversations.resolved import ResolvedRequest, StateScope, in_hub_lane, refuse_foreign_turn
from gateway.conversations.stored_api import StateOptions, StoredApi, decode_member
from gateway.conversations.stored_apis import TURNS, stored_apis_of
from gateway.http.offload import offload
from gateway.request.parse import INPUT, EarlierItems, Incoming
from gateway.request.structure import Bounds
from gateway.routing.plan import Candidate
from gateway.stores.errors import Unavailable
from gateway.stores.store import Node, Store
from providers.neutral.kept_turns import WITHOUT_ANSWER
from providers.responses.kept_items import (
    input_items,
    references,
    resolve_references,
    without_lost_reasoning,
)
from providers.responses.tools import is_own_id
from streams.errors import GatewayError, invalid

Items: TypeAlias = list[dict[str, Any]]
Earlier: TypeAlias = tuple[EarlierItems, ...]

_NO_STORE = "this gateway stores no state (state_storage: {type: none}): send the whole conversation in input"
_NOT_STORED = (("warning", '199 trigate "store: this gateway stores no state, so the response is not stored"'),)


async def load_turns(
    stored: StoredApi, scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    """Load the earlier turns that a request of the API ``stored`` refers to.

    Every candidate can continue turns stored here. If only some candidates store state themselves, new turns are stored
    here, and turns at one of these providers go only to it. Raises ``GatewayError``: 400 for unknown turns or those
    that cannot be continued, 413 for a conversation beyond its ``bounds``, 503 if the store is unavailable."""
    options = await offload(incoming.size, stored.read_options, incoming)
    if scope.local is not None and not scope.keeps_turns and _may_pass(options, candidates):
        passed = await _resolve_passed(stored, scope, scope.local, incoming, candidates, options, bounds)
        if passed is not None:
            return passed
    ours = await offload(incoming.size, _belongs_here, scope, incoming, options) or await _is_only_here(scope, options)
    is_foreign = _continues(options) and not ours
    if is_foreign and scope.refuses_foreign:
        refuse_foreign_turn("conversation" if options.previous is None else stored.previous)
    ours = ours or (scope.keeps_turns and not is_foreign)
    here = [
        ours or one.target.lane == "hub" or one.target.entry.stores_turns(stored.api, one.target.model)
        for one in candidates
    ]
    if not all(here):
        elsewhere = tuple(one for one, is_here in zip(candidates, here, strict=True) if not is_here)
        if len(elsewhere) == len(candidates) or _continues(options):
            return await _resolve_at_provider(stored, scope, incoming, elsewhere, options)
    store = scope.local or scope.store
    if store is None:
        _refuse_without_store(stored, options)
        return ResolvedRequest(incoming, candidates, headers=_NOT_STORED if options.store else ())
    if not (options.stores or options.previous or options.conversation or options.refers or scope.local):
        return ResolvedRequest(incoming, in_hub_lane(candidates) if options.compacts else candidates)
    with store_deadline("load the conversation"):
        parent, earlier, size = await _load_earlier(stored, store, scope.owner, options, incoming, bounds)
        own = await _own_input(store, scope.owner, incoming, earlier) if options.refers else None
        if scope.local is not None and await _is_local(scope, options):
            options = attrs.evolve(options, store=False)  # its beginning must not be stored, so neither can it
    recalled = await offload(incoming.size + size, _with_history, stored, incoming, own, earlier)
    recalled = attrs.evolve(recalled, earlier_size=size)
    # Unstored turns can continue only on their connection; conversations cannot.
    place = scope.store if options.stores or options.conversation else scope.local
    turn = LocalTurn(place, scope.owner, options, parent, recalled.members.get(INPUT), stored)
    headers = _NOT_STORED if options.store and place is None else ()
    return ResolvedRequest(recalled, in_hub_lane(candidates), turn, headers)


def _may_pass(options: StateOptions, candidates: tuple[Candidate, ...]) -> bool:
    """Return whether a turn that only its connection remembers can go to some target in the byte lane."""
    stands_alone = not (options.stores or options.conversation or options.refers or options.compacts)
    return stands_alone and any(one.target.lane == "byte" for one in candidates)


async def _resolve_passed(
    stored: StoredApi,
    scope: StateScope,
    store: Store,
    incoming: Incoming,
    candidates: tuple[Candidate, ...],
    options: StateOptions,
    bounds: Bounds,
) -> ResolvedRequest | None:
    """Resolve a request whose turn is remembered in the connection's ``store``.

    The request keeps its bytes unless it continues an earlier turn, whose items are then put first in its ``input``.
    Return ``None`` if these belong to another API."""
    own = await offload(incoming.size, input_items, decode_member(incoming, INPUT))
    resolved = incoming
    earlier: Items = []
    if options.previous is not None:
        with store_deadline("load the conversation"):
            _, turns, size = await _load_earlier(stored, store, scope.owner, options, incoming, bounds)
        if any(one.api != incoming.api for one in turns):
            return None
        earlier = [dict(item) for one in turns for item in one.items]
        resolved = await offload(
            incoming.size + size, _with_all_items, incoming, [*without_lost_reasoning(earlier), *own]
        )
    turn = PassedTurn(store, scope.owner, options.previous, (*earlier, *own), len(own), bounds.size)
    return ResolvedRequest(resolved, candidates, turn)


def _with_all_items(incoming: Incoming, items: Items) -> Incoming:
    """Return the request with all ``items``; other members keep their order and bytes."""
    input = msgspec.Raw(msgspec.json.encode(items))
    named = {**incoming.members, "input": input}
    members = {name: raw for name, raw in named.items() if name != "previous_response_id"}
    return attrs.evolve(incoming, body=msgspec.json.encode(members), members=members)


async def _is_only_here(scope: StateScope, options: StateOptions) -> bool:
    """Return whether the request continues a turn that only its connection remembers, under a provider's id."""
    if scope.local is None or options.previous is None or await scope.local.get(scope.owner, options.previous) is None:
        return False
    return scope.store is None or await _is_local(scope, options)


def _continues(options: StateOptions) -> bool:
    return options.previous is not None or options.conversation is not None or options.refers


async def _is_local(scope: StateScope, options: StateOptions) -> bool:
    """Return whether the request continues a turn that only its connection remembers."""
    if options.previous is None or scope.store is None:
        return False
    return await scope.store.get(scope.owner, options.previous) is None


def _belongs_here(scope: StateScope, incoming: Incoming, options: StateOptions) -> bool:
    """Return whether the request continues a gateway turn, or its turn can only be kept here."""
    if is_own_id(options.previous) or is_own_id(options.conversation):
        return True
    if options.refers and any(map(is_own_id, references(decode_member(incoming, INPUT)))):
        return True
    return scope.local is not None and not options.stores  # over HTTP, no provider continues an unstored turn


def _refuse_without_store(stored: StoredApi, options: StateOptions) -> None:
    if options.previous is not None:
        raise invalid(f"{stored.previous} is not supported: {_NO_STORE}", stored.previous)
    if options.conversation is not None:
        raise invalid(f"conversation is not supported: {_NO_STORE}", "conversation")
    if options.background:
        raise no_state_error()


def _with_history(stored: StoredApi, incoming: Incoming, own: Items | None, earlier: Earlier) -> Incoming:
    """Return the request as if the client had sent the whole conversation itself."""
    members = {name: raw for name, raw in incoming.members.items() if name not in stored.own_members}
    if own is not None:
        members[INPUT] = msgspec.Raw(msgspec.json.encode(own))
    elif earlier and decode_member(incoming, INPUT) is None:  # no new items, as in a compaction
        members[INPUT] = msgspec.Raw(b"[]")
    return attrs.evolve(incoming, body=msgspec.json.encode(members), members=members, earlier=earlier)


# Loading


async def _load_earlier(
    stored: StoredApi, store: Store, owner: str, options: StateOptions, incoming: Incoming, bounds: Bounds
) -> tuple[str | None, Earlier, int]:
    """Return the id of the parent turn, the earlier items, and their approximate size in bytes."""
    if options.conversation is not None:
        conversation = await conversation_store.read(store, owner, options.conversation)
        parent = conversation.head or options.conversation
        return parent, *await _load_items(stored, await store.chain(owner, parent), incoming, bounds)
    if options.previous is None:
        return None, (), 0
    chain = await store.chain(owner, options.previous)
    if not chain or chain[-1].kind not in TURNS:
        raise unknown_turn_error(stored, options.previous)
    if (status := (await read_node_turn(chain[-1])).status) in WITHOUT_ANSWER:
        message = f"Previous {stored.noun} with id '{options.previous}' cannot be continued: its status is {status}."
        raise unknown_turn_error(stored, options.previous, message)
    return options.previous, *await _load_items(stored, chain, incoming, bounds)


async def _load_items(
    stored: StoredApi, chain: Sequence[Node], incoming: Incoming, bounds: Bounds
) -> tuple[Earlier, int]:
    """Return the items of the chain's turns, and their bytes. Raises ``Unavailable`` for an unreadable turn."""
    rows = await stored_apis_of(chain)
    nodes = [node for node in chain if node.kind in rows]

    def read() -> tuple[Earlier, int]:
        turns = bounds.check_turns(unpack(node.body) for node in nodes)
        answered = frozenset(stored.answered_ids(decode_member(incoming, INPUT)))
        apis = [rows[node.kind] for node in nodes]
        try:
            return _items_by_api(zip(apis, turns, strict=True), answered), sum(map(len, turns))
        except ValueError as error:
            raise Unavailable(str(error)) from None

    return await offload(incoming.size + unpacked_size([node.body for node in nodes]), read)


def _items_by_api(turns: Iterable[tuple[StoredApi, bytes]], answered: frozenset[str]) -> Earlier:
    """Return the items of ``turns``, those of consecutive turns of one API together.

    ``answered`` are the ids of the calls that the request answers. Raises ``ValueError`` for a damaged turn."""
    groups = [(api, [body for _, body in group]) for api, group in groupby(turns, lambda turn: turn[0])]
    found: list[EarlierItems] = []
    for api, bodies in reversed(groups):
        items = api.previous_items(bodies, answered)
        answered |= frozenset(api.answered_ids(items))
        found.append(EarlierItems(api.api, tuple(items)))
    return tuple([one for one in reversed(found) if one.items])


def unknown_turn_error(stored: StoredApi, id: str, message: str | None = None) -> GatewayError:
    """Return the error for an unknown turn, equal to that for another client's (ENTERPILOT/GoModel#939)."""
    return GatewayError(
        "invalid_request", message or f"Previous {stored.noun} with id '{id}' not found.",
        param=stored.previous, code=stored.previous_code,
    )  # fmt: skip


async def _own_input(store: Store, owner: str, incoming: Incoming, earlier: Earlier) -> Items | None:
    """Return the request's own input with references replaced, ``None`` if it has none."""
    value = await offload(incoming.size, decode_member, incoming, INPUT)
    if not isinstance(value, list) or not (ids := await offload(incoming.size, references, value)):
        return None
    known = await read_items(await store.find(owner, ids))
    there = {item["id"] for turns in earlier for item in turns.items if "id" in item}
    items, unknown = await offload(incoming.size, resolve_references, value, known, there)
    if unknown:
        shown = ", ".join(f"'{id[:100]}'" for id in unknown[:20])
        raise invalid(f"input refers to items that are not stored here: {shown}; send the full items", "input")
    return items


async def _resolve_at_provider(
    stored: StoredApi, scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], options: StateOptions
) -> ResolvedRequest:
    """Resolve a request to providers that store their own turns.

    With client keys, the owners of these turns are stored here, and a turn without a stored owner belongs to no client.
    A client identified only by its own credential uses its own account at the provider. With several candidates, a turn
    goes only to the one that stores it."""
    first = candidates[0].target
    nobodys = not scope.owner or (first.entry.passthrough_auth and not scope.is_named_client)
    if nobodys and len(candidates) == 1:
        return ResolvedRequest(incoming, candidates)
    if scope.store is None:
        if not nobodys:
            _refuse_without_store(stored, options)
        return ResolvedRequest(incoming, candidates[:1] if _continues(options) else candidates)
    if options.previous is not None:
        with store_deadline("load the previous response"):
            keeper = await find_storing_entry(scope.store, scope.owner, options.previous)
        if keeper is None and not nobodys:
            raise unknown_turn_error(stored, options.previous)
        candidates = _pin(stored, candidates, keeper, options.previous)
    if options.conversation is not None and not nobodys:  # conversations of clients with keys are created here
        raise conversation_store.unknown_conversation_error(options.conversation)
    if _continues(options):
        candidates = candidates[:1]
    if not options.stores:
        return ResolvedRequest(incoming, candidates)
    entry, marks = candidates[0].target.entry.name, stored.has_store_member
    turn = ProviderTurn(scope.store, scope.owner, entry, options.background, marks_unstored=marks)
    return ResolvedRequest(incoming, candidates, turn)


def _pin(
    stored: StoredApi, candidates: tuple[Candidate, ...], keeper: str | None, previous: str
) -> tuple[Candidate, ...]:
    """Return the candidate whose provider stores ``previous``, or all if unknown.

    A single candidate is kept: it may be another entry of the same account."""
    if len(candidates) == 1 or keeper is None:
        return candidates
    if pinned := tuple(one for one in candidates if one.target.entry.name == keeper):
        return pinned
    raise unknown_turn_error(stored, previous)
