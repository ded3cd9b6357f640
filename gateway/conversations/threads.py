"""Messages threads: the client sends what is new and names the message that it goes on from, and the gateway knows the
rest.

Source: ``thread`` in the parameter types of the anthropic package (beta ``message-threads-2026-08-12``), and what its
tool runner sends and understands.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from gateway.conversations.bodies import packed, unpacked
from gateway.conversations.recorder import ResolvedRequest, StateScope, patience
from gateway.request.parse import Incoming
from gateway.routing.target import Target
from gateway.stores.store import Node, Store, Unavailable
from gateway.streaming.progress import StreamProgress
from providers.messages import MESSAGES
from providers.messages.answer import write_content
from providers.messages.incoming import thread_unsupported
from providers.messages.writer import MESSAGE_STOP
from providers.neutral.codec import Reply, Writer, new_id
from providers.neutral.fields import Fields, parsed
from providers.neutral.seal import Issuer
from streams.errors import GatewayError, invalid
from streams.events import Event
from streams.fold import Answer, Block, Fold

REMEMBERED = ("system", "tools")
"""What a thread keeps of a request beside the messages. The SDK leaves these out when it goes on, and says all else
anew."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_NOTHING = msgspec.Raw(b"null")


async def recall_thread(memory: StateScope, incoming: Incoming, target: Target) -> ResolvedRequest:
    """A Messages request with its whole conversation in place of ``thread``, every value's bytes as the client sent
    them. Without ``thread``, and where the provider keeps threads itself, the request stays as it is.

    Raises ``GatewayError``: 400 for a ``thread`` that is none, and where nothing is kept, in the words upon which the
    SDK goes on without; 404 for a message that is not (or no longer) there; 503 for a store that cannot be reached."""
    thread = _thread(incoming)
    if thread is None or _keeps_threads(target):
        return ResolvedRequest(incoming, target)
    if memory.store is None or target.entry.state == "upstream":
        raise thread_unsupported()
    previous = _previous(thread)
    turns = () if previous is None else await _turns(memory.store, memory.owner, previous)
    given = {name: raw for name, raw in incoming.members.items() if name != "thread" and not _is_null(raw)}
    whole = _continued(incoming, turns, given)
    turn = ThreadTurn(memory.store, memory.owner, previous, given, target.recipient.issuer)
    return ResolvedRequest(whole, attrs.evolve(target, lane="hub"), turn)


def _keeps_threads(target: Target) -> bool:
    """Whether the provider is left to keep its own threads."""
    return target.lane == "byte" and target.entry.provider.keeps_threads and target.entry.state != "ours"


# The request


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


def _continued(incoming: Incoming, turns: "Sequence[_Turn]", given: Mapping[str, msgspec.Raw]) -> Incoming:
    """``incoming`` behind ``messages``. What it has ``given`` itself goes before what the thread remembers."""
    messages = [message for turn in turns for message in turn.messages]
    messages.extend(_ELEMENTS.decode(given["messages"]))
    members: dict[str, msgspec.Raw] = {}
    for turn in turns:
        members |= turn.remembered
    members |= {**given, "messages": msgspec.Raw(msgspec.json.encode(messages))}
    return attrs.evolve(incoming, body=msgspec.json.encode(members), members=members)


# What is kept: {"messages": the new ones, "answer": its content blocks, and those of REMEMBERED that the request gave}


@attrs.frozen
class _Turn:
    """An earlier turn. ``messages`` are ready to be encoded, the answer behind the new ones."""

    messages: Sequence[Any]
    remembered: Mapping[str, msgspec.Raw]


async def _turns(store: Store, owner: str, previous: str) -> Sequence[_Turn]:
    """The turns of a thread, the first one first."""
    with patience("recall the thread"):
        chain = await store.chain(owner, previous)
        if chain and all(node.kind == "message" for node in chain):
            return [_read_turn(node.body) for node in chain]
    raise GatewayError(
        "not_found",
        f'no thread goes on from the message "{previous}": it is unknown or has expired; send the whole conversation '
        'with thread {"type": "create"}',
        param="thread.previous_message_id", details={"error_code": "thread_not_found"},
    )  # fmt: skip


def _read_turn(body: bytes) -> _Turn:
    """Raises ``Unavailable`` for bytes that nobody here has written."""
    try:
        members = _MEMBERS.decode(unpacked(body))
        messages: list[Any] = _ELEMENTS.decode(members["messages"])
        answer = _ELEMENTS.decode(members["answer"])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        raise Unavailable("a message of the thread cannot be read: it is damaged") from None
    if answer:  # the APIs take no message without content
        messages.append({"role": "assistant", "content": answer})
    return _Turn(messages, {name: members[name] for name in REMEMBERED if name in members})


def _turn_body(given: Mapping[str, msgspec.Raw], answer: Sequence[Any]) -> bytes:
    kept = {name: given[name] for name in ("messages", *REMEMBERED) if name in given}
    return packed(msgspec.json.encode({**kept, "answer": answer}))


# The answer


class ThreadTurn:
    """The ``TurnRecorder`` of a Messages thread. Only a turn with a whole answer is kept: a client that has not seen
    ``message_stop`` has nothing to go on from, and sends the whole conversation next.

    Several turns may go on from one message. Anthropic refuses all but the first (``thread_already_continued``), and
    its SDK then sends everything again; here each is a branch of its own, so that a request which is repeated because
    its answer was lost on the way simply works."""

    records = True

    def __init__(
        self, store: Store, owner: str, previous: str | None, given: Mapping[str, msgspec.Raw], issuer: Issuer
    ) -> None:
        """``given``: the members of the request, without what was before it."""
        self._store = store
        self._node = Node(new_id("msg_"), owner, "message", b"", previous)
        self._given = given
        self._issuer = issuer
        self._heard = Fold()
        self._told = False  # content has gone to the client
        self._over = False

    def reply(self, reply: Reply) -> Reply:
        return attrs.evolve(reply, id=self._node.id)

    def writer(self, writer: Writer) -> Writer:
        self._heard = Fold()
        return _Hearing(writer, self._heard)

    def may_pass(self, data: bytes, seen: StreamProgress) -> bool:
        if seen.end is None or self._over:
            self._told = seen.committed
            return True
        return False

    async def persist(self, data: bytes, seen: StreamProgress) -> bytes:
        self._over = True
        try:
            await self._keep(self._heard.blocks())
        except GatewayError as error:
            seen.end, seen.failed, seen.committed = None, error.failed, self._told
            return data.removesuffix(MESSAGE_STOP) + MESSAGES.last_event(error.failed, seen.start, 0)
        return data

    async def persist_partial(self) -> None:
        return

    async def persist_whole(self, body: bytes, answer: Answer) -> bytes:
        await self._keep(answer.blocks)
        return body

    async def persist_failure(self, id: str) -> None:
        return

    async def _keep(self, blocks: Sequence[Block]) -> None:
        """Raises ``GatewayError`` (503)."""
        body = _turn_body(self._given, write_content(blocks, self._issuer))
        with patience("keep the thread"):
            await self._store.put([attrs.evolve(self._node, body=body)])


class _Hearing:
    """A writer, and the fold of what it is told."""

    def __init__(self, writer: Writer, heard: Fold) -> None:
        self._writer = writer
        self._heard = heard

    def send(self, event: Event) -> bytes:
        self._heard.add(event)
        return self._writer.send(event)

    def ping(self) -> bytes:
        return self._writer.ping()
