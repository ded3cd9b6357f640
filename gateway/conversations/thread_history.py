"""The earlier turns of a Messages thread, and the recorder of its new turn: the client sends only new messages, and the
id of the message to continue.

Source: ``thread`` in the parameter types of the anthropic package (beta ``message-threads-2026-08-12``), and its tool
runner."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from gateway.conversations.bodies import read_elements, read_thread, thread_body, unpack, unpacked_size
from gateway.conversations.deadline import store_deadline
from gateway.conversations.recorder import TurnRecorder
from gateway.conversations.resolved import ResolvedRequest, StateScope, in_hub_lane
from gateway.http.offload import offload
from gateway.request.parse import Incoming
from gateway.request.structure import Bounds
from gateway.routing.plan import Candidate
from gateway.routing.target import Target
from gateway.stores.store import Node, Store
from gateway.streaming.lane import StreamProgress
from providers.messages import MESSAGES
from providers.messages.answer import write_content
from providers.messages.incoming import thread_unsupported
from providers.messages.writer import MESSAGE_STOP
from providers.neutral.codec import Reply, Writer, new_id
from providers.neutral.fields import Fields, parse_json
from providers.neutral.seal import Issuer
from streams.errors import GatewayError, invalid
from streams.events import Event
from streams.fold import Answer, Block, Fold

_NOTHING = msgspec.Raw(b"null")


async def load_thread(
    scope: StateScope, incoming: Incoming, candidates: tuple[Candidate, ...], bounds: Bounds
) -> ResolvedRequest:
    """Return a Messages request with its whole conversation instead of ``thread``; values keep their bytes.

    Without ``thread``, or if the only candidate's provider stores threads, the request stays unchanged. With several
    candidates, new threads are stored here. Raises ``GatewayError``: 400 for an invalid ``thread``, and without state
    storage in the words on which the SDK continues without threads; 404 for an unknown message; 413 for a conversation
    beyond its ``bounds``; 503 if the store is unavailable."""
    thread = _thread(incoming)
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


def _thread(incoming: Incoming) -> Fields | None:
    value = parse_json(incoming.members.get("thread", _NOTHING), Any)
    return None if value is None else Fields.of(value, "thread")


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


class ThreadTurn(TurnRecorder):
    """The recorder of a turn of a Messages thread. Only complete responses are stored.

    A client without ``message_stop`` cannot continue the turn, and sends the whole conversation next. Several turns may
    continue one message: Anthropic rejects all but the first (``thread_already_continued``), here each is a branch, so
    that repeating a request whose response was lost works."""

    records = True
    continues = True

    def __init__(
        self, store: Store, owner: str, previous: str | None, own_members: Mapping[str, msgspec.Raw], issuer: Issuer
    ) -> None:
        """Prepare the recorder.

        ``own_members`` are the request's members without the thread's; ``issuer`` is the expected source of the
        response."""
        self._store = store
        self._node = Node(new_id("msg_"), owner, "message", b"", previous)
        self._own_members = own_members
        self._issuer = issuer
        self._fold = Fold()
        self._is_committed = False  # content has gone to the client
        self._is_persisted = False

    def reply(self, reply: Reply) -> Reply:
        return attrs.evolve(reply, id=self._node.id)

    def writer(self, writer: Writer) -> Writer:
        return _FoldingWriter(writer, Fold())

    def record_target(self, target: Target, writer: Writer | None = None) -> None:
        self._issuer = target.recipient.issuer
        if isinstance(writer, _FoldingWriter):
            self._fold = writer.fold

    def may_pass(self, data: bytes, progress: StreamProgress) -> bool:
        if progress.end is None or self._is_persisted:
            self._is_committed = progress.committed
            return True
        return False

    async def persist(self, data: bytes, progress: StreamProgress) -> bytes:
        self._is_persisted = True
        try:
            await self._write(self._fold.blocks())
        except GatewayError as error:
            progress.end, progress.error, progress.committed = None, error.info, self._is_committed
            return data.removesuffix(MESSAGE_STOP) + MESSAGES.last_event(error.info, progress.start, 0)
        return data

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        await self._write(answer.blocks)
        return body

    async def _write(self, blocks: Sequence[Block]) -> None:
        """Store the turn. Raises ``GatewayError`` (503)."""
        size = sum(map(len, self._own_members.values()))
        body = await offload(size, lambda: thread_body(self._own_members, write_content(blocks, self._issuer)))
        with store_deadline("store the thread"):
            await self._store.put([attrs.evolve(self._node, body=body)])


class _FoldingWriter:
    """A writer that also folds its events, for the stored turn."""

    def __init__(self, writer: Writer, fold: Fold) -> None:
        self._writer = writer
        self.fold = fold

    def send(self, event: Event) -> bytes:
        self.fold.add(event)
        return self._writer.send(event)

    def ping(self) -> bytes:
        return self._writer.ping()
