"""The earlier turns of a Messages thread: the client sends only new messages, and the id of the message to continue.

Source: ``thread`` in the parameter types of the anthropic package (beta ``message-threads-2026-08-12``), and its tool
runner."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from gateway.conversations.bodies import read_elements, read_thread, unpack, unpacked_size
from gateway.conversations.deadline import store_deadline
from gateway.conversations.resolved import ResolvedRequest, StateScope, in_hub_lane
from gateway.conversations.thread_turn import ThreadTurn
from gateway.http.offload import offload
from gateway.request.parse import Incoming
from gateway.request.structure import Bounds
from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from gateway.stores.store import Node, Store
from providers.messages.incoming import thread_unsupported
from providers.neutral.fields import Fields, parse_json
from streams.errors import GatewayError, invalid

_NOTHING = msgspec.Raw(b"null")


async def load_thread(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    """Return a Messages request with its whole conversation instead of ``thread``; values keep their bytes.

    Without ``thread``, or if the only candidate's provider stores threads, the request stays unchanged. With several
    candidates, new threads are stored here. Raises ``GatewayError``: 400 for an invalid ``thread``, and without state
    storage in the words on which the SDK continues without threads; 404 for an unknown message; 413 for a conversation
    beyond its ``bounds``; 503 if the store is unavailable."""
    value = parse_json(incoming.members.get("thread", _NOTHING), Any)
    thread = None if value is None else Fields.of(value, "thread")
    if thread is None or (len(candidates) == 1 and _keeps_threads(candidates[0].target)):
        return ResolvedRequest(incoming, candidates)
    keepers = () if scope.keeps_turns else tuple(one for one in candidates if _keeps_threads(one.target))
    able = tuple(one for one in candidates if one.target.entry.state != "upstream")
    if scope.store is None or not able:
        if keepers:
            return ResolvedRequest(incoming, keepers[:1])
        raise thread_unsupported()
    previous = _message_to_continue(thread)
    try:
        chain = () if previous is None else await _load_chain(scope.store, scope.owner, previous)
    except GatewayError as error:
        if keepers and error.info.kind == "not_found":  # a provider has it
            return ResolvedRequest(incoming, keepers[:1])
        raise
    own_members = {name: raw for name, raw in incoming.members.items() if name != "thread" and not _is_null(raw)}
    size = incoming.size + unpacked_size(node.body for node in chain)
    with store_deadline("load the thread"):
        whole = await offload(size, _with_history, incoming, chain, own_members, bounds)
    turn = ThreadTurn(scope.store, scope.owner, previous, own_members, able[0].target.recipient.issuer)
    return ResolvedRequest(whole, in_hub_lane(able), turn)


def _keeps_threads(target: Target) -> bool:
    """Return whether the provider stores its own threads."""
    return target.lane == "byte" and target.entry.provider.keeps_threads and target.entry.state != "ours"


def _message_to_continue(thread: Fields) -> str | None:
    """Return the id of the message to continue, ``None`` for a new thread."""
    match kind := thread.need("type", str):
        case "create":
            return None
        case "continue":
            return thread.need("previous_message_id", str)
    at = thread.path("type")
    raise invalid(f'{at} must be create or continue, not "{kind}"', at)


def _is_null(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"n"


def _with_history(
    incoming: Incoming, chain: Sequence[Node], own_members: Mapping[str, msgspec.Raw], bounds: Bounds
) -> Incoming:
    """Return ``incoming`` with the messages of ``chain`` first; ``own_members`` members override those that the thread
    remembers."""
    turns = list(map(read_thread, bounds.check_turns(unpack(node.body) for node in chain)))
    messages = [message for turn in turns for message in turn.messages]
    messages.extend(read_elements(own_members["messages"]))
    members: dict[str, msgspec.Raw] = {}
    for turn in turns:
        members |= turn.remembered
    members |= {**own_members, "messages": msgspec.Raw(msgspec.json.encode(messages))}
    (body,) = bounds.check_turns([msgspec.json.encode(members)])
    return attrs.evolve(incoming, body=body, members=members)


async def _load_chain(store: Store, owner: str, previous: str) -> Sequence[Node]:
    """Return the nodes of a thread, the first turn first."""
    with store_deadline("load the thread"):
        chain = await store.chain(owner, previous)
        if chain and all(node.kind == "message" for node in chain):
            return chain
    raise GatewayError(
        "not_found",
        f'cannot continue the thread from the message "{previous}": it is unknown or expired; send the whole '
        'conversation with thread {"type": "create"}',
        param="thread.previous_message_id", details={"error_code": "thread_not_found"},
    )  # fmt: skip
