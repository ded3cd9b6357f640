"""The earlier turns of a Responses request, stored here so that every provider has ``previous_response_id``.

A turn that is kept goes through the hub lane, also to a provider that speaks Responses: its answer has an id of ours,
and the provider is asked not to store it. What began here goes on here (``previous_response_id`` with an id of ours),
whatever ``state`` the model's entry has; what a provider keeps itself passes through, and only whose it is is written
down.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs
import msgspec

from gateway.conversations import conversation_store
from gateway.conversations.background import not_kept
from gateway.conversations.bodies import unpacked, unpacked_size
from gateway.conversations.conversation_store import turn_of
from gateway.conversations.deadline import store_deadline
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.passed_turn import PassedTurn
from gateway.conversations.provider_turn import ProviderTurn, find_keeper
from gateway.conversations.resolved import (
    OWN_MEMBERS,
    ResolvedRequest,
    StateOptions,
    StateScope,
    decoded,
    in_hub_lane,
    read_options,
)
from gateway.http.offload import offload
from gateway.request.parse import Incoming
from gateway.request.structure import Bounds
from gateway.routing.plan import Candidate
from gateway.stores.store import Node, Store, Unavailable
from providers.responses.ids import is_ours
from providers.responses.kept_items import UNUSABLE, given_items, previous, references, replayable, resolved
from streams.errors import GatewayError, invalid

Items: TypeAlias = list[dict[str, Any]]

_NO_STORE = "this gateway keeps no state (state_storage: {type: none}): send the whole conversation in input"
_NOT_STORED = (("warning", '199 trigate "store: this gateway keeps no state, the response is not stored"'),)


async def load_responses(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    """Load the earlier turns that a Responses request refers to.

    What is kept here every candidate can go on from. Where only some of them would leave it to their providers, a new
    turn is kept here, and what one of these providers keeps is asked for there alone.

    Raises ``GatewayError``: 400 for what is not there or cannot be continued, 413 for a conversation beyond its
    ``bounds``, 503 where the store cannot say."""
    options = await offload(incoming.size, read_options, incoming)
    if scope.local is not None and _may_pass(options, candidates):
        return await _passed(scope, scope.local, incoming, candidates, options, bounds)
    ours = await offload(incoming.size, _is_ours, scope, incoming, options) or await _is_only_here(scope, options)
    here = [ours or one.target.lane == "hub" or one.target.entry.keeps_own for one in candidates]
    if not all(here):
        elsewhere = tuple(one for one, is_here in zip(candidates, here, strict=True) if not is_here)
        if len(elsewhere) == len(candidates) or _goes_on(options):
            return await _kept_by_provider(scope, incoming, elsewhere, options)
    store = scope.local or scope.store
    if store is None:
        _refuse_without_store(options)
        return ResolvedRequest(incoming, candidates, headers=_NOT_STORED if options.store else ())
    if not (options.stores or options.previous or options.conversation or options.refers or scope.local):
        return ResolvedRequest(incoming, in_hub_lane(candidates) if options.compacts else candidates)
    with store_deadline("recall the conversation"):
        parent, earlier, size = await _earlier(store, scope.owner, options, incoming, bounds)
        own = await _own_input(store, scope.owner, incoming, earlier) if options.refers else None
        if scope.local is not None and await _is_local(scope, options):
            options = attrs.evolve(options, store=False)  # what it stands on is not to be stored, so neither can it be
    recalled = await offload(incoming.size + size, _continued, incoming, own, earlier)
    recalled = attrs.evolve(recalled, earlier_size=size)
    # A turn that is not to be stored lives on where only this connection sees it, if anywhere. A conversation does not.
    place = scope.store if options.stores or options.conversation else scope.local
    turn = LocalTurn(place, scope.owner, options, parent, recalled.members.get("input"))
    headers = _NOT_STORED if options.store and place is None else ()
    return ResolvedRequest(recalled, in_hub_lane(candidates), turn, headers)


def _may_pass(options: StateOptions, candidates: tuple[Candidate, ...]) -> bool:
    """True if a turn that only its connection remembers can go to some target in the byte lane."""
    stands_alone = not (options.stores or options.conversation or options.refers or options.compacts)
    return stands_alone and any(one.target.lane == "byte" for one in candidates)


async def _passed(
    scope: StateScope,
    store: Store,
    incoming: Incoming,
    candidates: tuple[Candidate, ...],
    options: StateOptions,
    bounds: Bounds,
) -> ResolvedRequest:
    """Resolve a request whose turn is remembered in ``store``, that of its connection. The request keeps its bytes,
    unless it continues an earlier turn: then that turn's items come first in its ``input``."""
    own = await offload(incoming.size, given_items, decoded(incoming, "input"))
    resolved = incoming
    earlier: Items = []
    if options.previous is not None:
        with store_deadline("recall the conversation"):
            _, earlier, size = await _earlier(store, scope.owner, options, incoming, bounds)
        resolved = await offload(incoming.size + size, _inlined, incoming, [*replayable(earlier), *own])
    turn = PassedTurn(store, scope.owner, options.previous, (*earlier, *own), len(own), bounds.size)
    return ResolvedRequest(resolved, candidates, turn)


def _inlined(incoming: Incoming, items: Items) -> Incoming:
    """Build the request that has all ``items`` itself. Every other member keeps its place and its bytes."""
    input = msgspec.Raw(msgspec.json.encode(items))
    named = {**incoming.members, "input": input}
    members = {name: raw for name, raw in named.items() if name != "previous_response_id"}
    return attrs.evolve(incoming, body=msgspec.json.encode(members), members=members)


async def _is_only_here(scope: StateScope, options: StateOptions) -> bool:
    """True if the request continues a turn that only its connection remembers, under an id of the provider's."""
    if scope.local is None or options.previous is None or await scope.local.get(scope.owner, options.previous) is None:
        return False
    return scope.store is None or await _is_local(scope, options)


def _goes_on(options: StateOptions) -> bool:
    return options.previous is not None or options.conversation is not None or options.refers


async def _is_local(scope: StateScope, options: StateOptions) -> bool:
    """The turn goes on from one that only this connection remembers."""
    if options.previous is None or scope.store is None:
        return False
    return await scope.store.get(scope.owner, options.previous) is None


def _is_ours(scope: StateScope, incoming: Incoming, options: StateOptions) -> bool:
    """What the request goes on from was made here, or its turn can only be kept here."""
    if is_ours(options.previous) or is_ours(options.conversation):
        return True
    if options.refers and any(map(is_ours, references(decoded(incoming, "input")))):
        return True
    return scope.local is not None and not options.stores  # over HTTP no provider continues what it does not store


def _refuse_without_store(options: StateOptions) -> None:
    if options.previous is not None:
        raise invalid(f"previous_response_id cannot be honoured: {_NO_STORE}", "previous_response_id")
    if options.conversation is not None:
        raise invalid(f"conversation cannot be honoured: {_NO_STORE}", "conversation")
    if options.background:
        raise not_kept()


def _continued(incoming: Incoming, own: Items | None, earlier: Items) -> Incoming:
    """Build the request as if the client had sent everything itself."""
    members = {name: raw for name, raw in incoming.members.items() if name not in OWN_MEMBERS}
    if own is not None:
        members["input"] = msgspec.Raw(msgspec.json.encode(own))
    elif earlier and decoded(incoming, "input") is None:  # nothing new, as when a conversation is to be compacted
        members["input"] = msgspec.Raw(b"[]")
    return attrs.evolve(incoming, body=msgspec.json.encode(members), members=members, earlier=tuple(earlier))


# What there is


async def _earlier(
    store: Store, owner: str, options: StateOptions, incoming: Incoming, bounds: Bounds
) -> tuple[str | None, Items, int]:
    """The id that the turn is to stand on, and the items before it with about their bytes."""
    if options.conversation is not None:
        conversation = await conversation_store.read(store, owner, options.conversation)
        parent = conversation.head or options.conversation
        return parent, *await _items(await store.chain(owner, parent), incoming, bounds)
    if options.previous is None:
        return None, [], 0
    chain = await store.chain(owner, options.previous)
    if not chain or chain[-1].kind != "response":
        raise not_found(options.previous)
    if (status := (await turn_of(chain[-1])).status) in UNUSABLE:
        message = f"Previous response with id '{options.previous}' cannot be continued: its status is {status}."
        raise not_found(options.previous, message)
    return options.previous, *await _items(chain, incoming, bounds)


async def _items(chain: Iterable[Node], incoming: Incoming, bounds: Bounds) -> tuple[Items, int]:
    """The items of the chain's turns, and their bytes. Raises ``Unavailable`` for a turn that cannot be read."""
    bodies = [node.body for node in chain if node.kind in ("response", "items")]

    def read() -> tuple[Items, int]:
        turns = bounds.within(map(unpacked, bodies))
        try:
            return previous(turns, decoded(incoming, "input")), sum(map(len, turns))
        except ValueError as error:
            raise Unavailable(str(error)) from None

    return await offload(incoming.size + unpacked_size(bodies), read)


def not_found(id: str, message: str | None = None) -> GatewayError:
    """The error for an unknown response, the same as for another client's (ENTERPILOT/GoModel#939)."""
    return GatewayError(
        "invalid_request", message or f"Previous response with id '{id}' not found.",
        param="previous_response_id", code="previous_response_not_found",
    )  # fmt: skip


async def _own_input(store: Store, owner: str, incoming: Incoming, earlier: Items) -> Items | None:
    """The request's own input with the items it refers to in place; ``None`` if it refers to nothing after all."""
    value = await offload(incoming.size, decoded, incoming, "input")
    if not isinstance(value, list) or not (ids := await offload(incoming.size, references, value)):
        return None
    known: dict[str, dict[str, Any]] = {}
    for id, node in (await store.find(owner, ids)).items():
        known |= {item["id"]: item for item in (await turn_of(node)).items if item.get("id") == id}
    there = {item["id"] for item in earlier if "id" in item}
    items, unknown = await offload(incoming.size, resolved, value, known, there)
    if unknown:
        shown = ", ".join(f"'{id[:100]}'" for id in unknown[:20])
        raise invalid(f"input refers to items that are not stored here: {shown}; send the items themselves", "input")
    return items


async def _kept_by_provider(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], options: StateOptions
) -> ResolvedRequest:
    """Resolve a request to providers that store their own turns. With client keys one client's are still not another's:
    their owners are stored here, and a turn without a stored owner is nobody's. A client that is known by its own
    credential alone is one of the provider's own. Where there are several candidates, what one of them keeps is asked
    for there alone."""
    first = candidates[0].target
    nobodys = not scope.owner or (first.entry.passthrough_auth and not scope.named)
    if nobodys and len(candidates) == 1:
        return ResolvedRequest(incoming, candidates)
    if scope.store is None:
        if not nobodys:
            _refuse_without_store(options)
        return ResolvedRequest(incoming, candidates[:1] if _goes_on(options) else candidates)
    if options.previous is not None:
        with store_deadline("look the previous response up"):
            keeper = await find_keeper(scope.store, scope.owner, options.previous)
        if keeper is None and not nobodys:
            raise not_found(options.previous)
        candidates = _pinned(candidates, keeper, options.previous)
    if options.conversation is not None and not nobodys:  # what is made with a key is made here
        raise conversation_store.missing(options.conversation)
    if _goes_on(options):
        candidates = candidates[:1]
    if not options.stores:
        return ResolvedRequest(incoming, candidates)
    turn = ProviderTurn(scope.store, scope.owner, candidates[0].target.entry.name, options.background)
    return ResolvedRequest(incoming, candidates, turn)


def _pinned(candidates: tuple[Candidate, ...], keeper: str | None, previous: str) -> tuple[Candidate, ...]:
    """The candidate whose provider keeps ``previous``; where that is not known, the first, which may have it. A single
    candidate may be another entry of the same account."""
    if len(candidates) == 1 or keeper is None:
        return candidates
    if pinned := tuple(one for one in candidates if one.target.entry.name == keeper):
        return pinned
    raise not_found(previous)
