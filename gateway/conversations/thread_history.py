"""The earlier turns of a Messages thread: the client sends what is new and names the message that it goes on from.

Source: ``thread`` in the parameter types of the anthropic package (beta ``message-threads-2026-08-12``), and what its
tool runner sends and understands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from gateway.conversations.bodies import read_elements, read_thread, unpacked, unpacked_size
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
from providers.neutral.fields import Fields, parsed
from streams.errors import GatewayError, invalid

_NOTHING = msgspec.Raw(b"null")


async def load_thread(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    """Load the thread of a Messages request: the request with its whole conversation in place of ``thread``, every
    value's bytes as the client sent them. Without ``thread``, and where the provider keeps threads itself, the request
    stays as it is. With several candidates a new thread is kept here, so that each of them can go on from it.

    Raises ``GatewayError``: 400 for a ``thread`` that is none, and where nothing is kept, in the words upon which the
    SDK goes on without; 404 for a message that is not (or no longer) there; 413 for a conversation beyond its
    ``bounds``; 503 for a store that cannot be reached."""
    thread = _thread(incoming)
    if thread is None or (len(candidates) == 1 and _keeps_threads(candidates[0].target)):
        return ResolvedRequest(incoming, candidates)
    keepers = tuple(one for one in candidates if _keeps_threads(one.target))
    able = tuple(one for one in candidates if one.target.entry.state != "upstream")
    if scope.store is None or not able:
        if keepers:
            return ResolvedRequest(incoming, keepers[:1])
        raise thread_unsupported()
    previous = _previous(thread)
    try:
        chain = () if previous is None else await _chain(scope.store, scope.owner, previous)
    except GatewayError as error:
        if keepers and error.failed.kind == "not_found":  # then a provider has it
            return ResolvedRequest(incoming, keepers[:1])
        raise
    given = {name: raw for name, raw in incoming.members.items() if name != "thread" and not _is_null(raw)}
    size = incoming.size + unpacked_size(node.body for node in chain)
    with store_deadline("recall the thread"):
        whole = await offload(size, _continued, incoming, chain, given, bounds)
    turn = ThreadTurn(scope.store, scope.owner, previous, given, able[0].target.recipient.issuer)
    return ResolvedRequest(whole, in_hub_lane(able), turn)


def _keeps_threads(target: Target) -> bool:
    """The provider is left to keep its own threads."""
    return target.lane == "byte" and target.entry.provider.keeps_threads and target.entry.state != "ours"


def _thread(incoming: Incoming) -> Fields | None:
    value = parsed(incoming.members.get("thread", _NOTHING), Any)
    return None if value is None else Fields.of(value, "thread")


def _previous(thread: Fields) -> str | None:
    """The message to go on from, ``None`` for a new thread."""
    match kind := thread.need("type", str):
        case "create":
            return None
        case "continue":
            return thread.need("previous_message_id", str)
    at = thread.path("type")
    raise invalid(f'{at} must be create or continue, not "{kind}"', at)


def _is_null(raw: msgspec.Raw) -> bool:
    return bytes(memoryview(raw)[:1]) == b"n"


def _continued(incoming: Incoming, chain: Sequence[Node], given: Mapping[str, msgspec.Raw], bounds: Bounds) -> Incoming:
    """``incoming`` behind the messages of ``chain``. What it has ``given`` itself goes before what the thread
    remembers."""
    turns = list(map(read_thread, bounds.within(unpacked(node.body) for node in chain)))
    messages = [message for turn in turns for message in turn.messages]
    messages.extend(read_elements(given["messages"]))
    members: dict[str, msgspec.Raw] = {}
    for turn in turns:
        members |= turn.remembered
    members |= {**given, "messages": msgspec.Raw(msgspec.json.encode(messages))}
    (body,) = bounds.within([msgspec.json.encode(members)])
    return attrs.evolve(incoming, body=body, members=members)


async def _chain(store: Store, owner: str, previous: str) -> Sequence[Node]:
    """The nodes of a thread, the first turn first."""
    with store_deadline("recall the thread"):
        chain = await store.chain(owner, previous)
        if chain and all(node.kind == "message" for node in chain):
            return chain
    raise GatewayError(
        "not_found",
        f'no thread goes on from the message "{previous}": it is unknown or has expired; send the whole conversation '
        'with thread {"type": "create"}',
        param="thread.previous_message_id", details={"error_code": "thread_not_found"},
    )  # fmt: skip
