"""The contents of the store's nodes, as values and as stored bytes.

- ``response``, ``interaction``: input and output of a turn of the Responses API or of Interactions.
- ``head``: the head node of such a turn: the rest of it, which later turns do not need, as its child.
- ``conversation``: a conversation, the root of its tree.
- ``items``: items added to a conversation in one step.
- ``message``: a turn of a Messages thread.
- ``foreign``: the owner of a response that a provider stores.
- ``mark``: a message between workers about a running turn.

Readers raise ``Unavailable`` for bytes from a damaged store or a later version: an unreadable turn never counts as
empty."""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs
import msgspec

from gateway.stores.errors import Unavailable
from streams.surrogates import NOT_JSON

Object: TypeAlias = dict[str, Any]
T = TypeVar("T")

SHORT = 512  # bytes of JSON that are not worth compressing
LONG = 32 * 1024  # bytes beyond which compression would block streams for milliseconds; most large bodies are base64

THREAD_MEMBERS = ("system", "tools")
"""Request members besides the messages that a thread stores: the SDK omits them in later turns and repeats all
others."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

read_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
"""Return the elements of a JSON array with their original bytes."""

_HEAD = struct.Struct(">BI")  # the version of the format, and the size of its first part
_VERSION = 1
_LEVEL = 1  # zlib's lowest level compresses repeated text (tools, instructions, member names) well enough


@attrs.frozen(repr=False)
class StoredTurn:
    """A turn's input and output; an ``items`` node has only ``input``.

    ``status`` is completed, incomplete, failed, cancelled, in_progress or queued."""

    input: tuple[Object, ...]
    output: tuple[Object, ...]
    status: str = "completed"

    @property
    def items(self) -> tuple[Object, ...]:
        """Input and output, the beginning of a later turn."""
        return self.input + self.output


@attrs.frozen
class StoredHead:
    """The rest of a response, with its output set to ``None``, and the log of its events."""

    response: Object
    log: bytes = attrs.field(repr=False)


@attrs.frozen(repr=False)
class StoredConversation:
    """A conversation. ``created_at`` is in Unix seconds; ``head`` is the id of the newest ``items`` node, ``None`` at
    first."""

    created_at: int
    metadata: Object
    head: str | None = None


@attrs.frozen(eq=False, repr=False)
class StoredThreadTurn:
    """A turn of a Messages thread: its ``messages`` including the answer, and the ``THREAD_MEMBERS`` members of its
    request."""

    messages: Sequence[Any]
    remembered: Mapping[str, msgspec.Raw]


def head_id(id: str) -> str:
    """Return the id under which the head of a stored response is kept."""
    return f"{id}/head"


def turn_body(status: str, input: Iterable[Object], output: Iterable[Object]) -> bytes:
    """Return the body of a ``response`` node."""
    return pack(msgspec.json.encode({"status": status, "input": list(input), "output": list(output)}))


def items_body(items: Iterable[Object]) -> bytes:
    """Return the body of an ``items`` node, which ``read_turn`` also reads."""
    return pack(msgspec.json.encode({"input": list(items), "output": []}))


def read_turn(body: bytes) -> StoredTurn:
    """Return the turn in the body of a node."""
    return _decode(unpack(body), StoredTurn)


def head_body(response: Mapping[str, Any], log: bytes, output: str = "output") -> bytes:
    """Return the body of a ``head`` node: ``response`` compressed without the member ``output``, and ``log`` unchanged.

    Blocks about a millisecond for each 100 KB of ``response``."""
    rest = {name: None if name == output else value for name, value in response.items()}
    compressed = zlib.compress(msgspec.json.encode(rest), _LEVEL)
    return _HEAD.pack(_VERSION, len(compressed)) + compressed + log


def read_head(body: bytes) -> StoredHead:
    if len(body) < _HEAD.size:
        raise _damaged_error()
    version, size = _HEAD.unpack_from(body)
    end = _HEAD.size + size
    if version != _VERSION or len(body) < end:
        raise _damaged_error()
    try:
        rest = zlib.decompress(body[_HEAD.size : end])
    except zlib.error:
        raise _damaged_error() from None
    return StoredHead(_decode(rest, Object), body[end:])


def conversation_body(conversation: StoredConversation) -> bytes:
    return msgspec.json.encode(conversation)


def read_conversation(body: bytes) -> StoredConversation:
    return _decode(body, StoredConversation)


def thread_body(members: Mapping[str, msgspec.Raw], answer: Sequence[Any]) -> bytes:
    """Return the body of a ``message`` node from a request's members and the content blocks of its answer."""
    kept = {name: members[name] for name in ("messages", *THREAD_MEMBERS) if name in members}
    return pack(msgspec.json.encode({**kept, "answer": answer}))


def read_thread(body: bytes) -> StoredThreadTurn:
    try:
        members = _MEMBERS.decode(unpack(body))
        messages: list[Any] = read_elements(members["messages"])
        answer = read_elements(members["answer"])
    except (KeyError, *NOT_JSON):
        raise Unavailable("a stored message of the thread is damaged") from None
    if answer:  # the APIs reject messages without content
        messages.append({"role": "assistant", "content": answer})
    return StoredThreadTurn(messages, {name: members[name] for name in THREAD_MEMBERS if name in members})


def provider_turn_body(entry: str) -> bytes:
    """Return the body of a ``foreign`` node."""
    return msgspec.json.encode({"entry": entry})


def read_provider_turn(body: bytes) -> str:
    """Return the name of the entry whose provider stores the response."""
    return _decode(body, dict[str, str]).get("entry", "")


def pack(json: bytes) -> bytes:
    """Compress JSON for storage, unless it is ``SHORT`` or ``LONG``. Text shrinks to a third."""
    if SHORT <= len(json) <= LONG:
        return zlib.compress(json, _LEVEL)
    return bytes(memoryview(json))  # a copy without the rest of msgspec's buffer


def unpacked_size(bodies: Iterable[bytes]) -> int:
    """Return an upper bound of the size of ``bodies`` after decompression."""
    return sum(len(body) if body.startswith(b"{") else LONG for body in bodies)


def unpack(body: bytes) -> bytes:
    """Return the JSON that ``pack`` stored."""
    if body.startswith(b"{"):
        return body
    try:
        return zlib.decompress(body)
    except zlib.error:
        raise _damaged_error() from None


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except NOT_JSON:
        raise _damaged_error() from None


def _damaged_error() -> Unavailable:
    return Unavailable("the stored data of this id is damaged, or from another version of trigate")
