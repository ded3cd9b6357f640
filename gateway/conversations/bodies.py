"""The bodies of nodes: for every kind a value, and the bytes it is stored as. The kinds are

- ``response``: what a turn of the Responses API took and gave,
- ``head``: the rest of it, which no later turn needs, as a child of the former,
- ``conversation``: a conversation itself, root of its tree,
- ``items``: what was put into a conversation at once,
- ``message``: a turn of a Messages thread,
- ``foreign``: whose response a provider keeps,
- ``mark``: what one worker says to the others of a turn that is running.

Reading raises ``Unavailable`` for bytes that nobody here has written (a damaged store, a later version): a turn that
cannot be read is never taken for an empty one.
"""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import attrs
import msgspec

from gateway.stores.store import Unavailable

Object: TypeAlias = dict[str, Any]
T = TypeVar("T")

SHORT = 512  # bytes of JSON that are not worth compressing
LONG = 32 * 1024  # beyond, it would take milliseconds, in which no stream moves; and most of it is base64

REMEMBERED = ("system", "tools")
"""What a thread keeps of a request beside the messages. The SDK leaves these out when it goes on, and says all else
anew."""

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

read_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
"""The elements of a JSON array, as they are written."""

_HEAD = struct.Struct(">BI")  # the version of what follows, and the size of its first part
_VERSION = 1
_LEVEL = 1  # zlib's; what is repeated (tools, instructions, the names of members) goes by the lowest one already


@attrs.frozen
class StoredTurn:
    """A turn's input and output; an ``items`` node has but ``input``. ``status`` is that of the response (completed,
    incomplete, failed, cancelled, in_progress, queued)."""

    input: tuple[Object, ...]
    output: tuple[Object, ...]
    status: str = "completed"

    @property
    def items(self) -> tuple[Object, ...]:
        """Input and output, which a later turn goes on from."""
        return self.input + self.output


@attrs.frozen
class StoredHead:
    """The rest of a response, whose ``output`` is ``None`` here, and the log of its stream's events."""

    response: Object
    log: bytes = attrs.field(repr=False)


@attrs.frozen
class StoredConversation:
    """``created_at`` in Unix seconds; ``head`` is the id of the newest ``items`` node, ``None`` before the first."""

    created_at: int
    metadata: Object
    head: str | None = None


@attrs.frozen
class StoredThreadTurn:
    """A turn of a Messages thread: its ``messages``, ready to be encoded, the answer behind the new ones, and those of
    ``REMEMBERED`` that its request gave."""

    messages: Sequence[Any]
    remembered: Mapping[str, msgspec.Raw]


def head_id(id: str) -> str:
    """The id of the ``head`` node that goes with a ``response`` node."""
    return f"{id}/head"


def turn_body(status: str, input: Iterable[Object], output: Iterable[Object]) -> bytes:
    """The body of a ``response`` node."""
    return packed(msgspec.json.encode({"status": status, "input": list(input), "output": list(output)}))


def items_body(items: Iterable[Object]) -> bytes:
    """The body of an ``items`` node, which ``read_turn`` reads as well: both are turns of a chain."""
    return packed(msgspec.json.encode({"input": list(items), "output": []}))


def read_turn(body: bytes) -> StoredTurn:
    return _decode(unpacked(body), StoredTurn)


def head_body(response: Mapping[str, Any], log: bytes) -> bytes:
    """The body of a ``head`` node: ``response`` compressed, with but the place of its ``output``, and ``log`` as it is.
    Blocking: about a millisecond for each 100 KB of ``response``."""
    rest = {name: None if name == "output" else value for name, value in response.items()}
    compressed = zlib.compress(msgspec.json.encode(rest), _LEVEL)
    return _HEAD.pack(_VERSION, len(compressed)) + compressed + log


def read_head(body: bytes) -> StoredHead:
    if len(body) < _HEAD.size:
        raise _damaged()
    version, size = _HEAD.unpack_from(body)
    end = _HEAD.size + size
    if version != _VERSION or len(body) < end:
        raise _damaged()
    try:
        rest = zlib.decompress(body[_HEAD.size : end])
    except zlib.error:
        raise _damaged() from None
    return StoredHead(_decode(rest, Object), body[end:])


def conversation_body(conversation: StoredConversation) -> bytes:
    """The body of a ``conversation`` node."""
    return msgspec.json.encode(conversation)


def read_conversation(body: bytes) -> StoredConversation:
    return _decode(body, StoredConversation)


def thread_body(given: Mapping[str, msgspec.Raw], answer: Sequence[Any]) -> bytes:
    """The body of a ``message`` node, from the members of a request and the content blocks of its answer."""
    kept = {name: given[name] for name in ("messages", *REMEMBERED) if name in given}
    return packed(msgspec.json.encode({**kept, "answer": answer}))


def read_thread(body: bytes) -> StoredThreadTurn:
    try:
        members = _MEMBERS.decode(unpacked(body))
        messages: list[Any] = read_elements(members["messages"])
        answer = read_elements(members["answer"])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, KeyError):
        raise Unavailable("a message of the thread cannot be read: it is damaged") from None
    if answer:  # the APIs take no message without content
        messages.append({"role": "assistant", "content": answer})
    return StoredThreadTurn(messages, {name: members[name] for name in REMEMBERED if name in members})


def provider_turn_body(entry: str) -> bytes:
    """The body of a ``foreign`` node."""
    return msgspec.json.encode({"entry": entry})


def read_provider_turn(body: bytes) -> str:
    """The name of the entry in the configuration whose provider has the response."""
    return _decode(body, dict[str, str]).get("entry", "")


def packed(json: bytes) -> bytes:
    """The JSON of an object as it is stored: compressed, unless it is ``SHORT`` or ``LONG``. Text takes a third."""
    if SHORT <= len(json) <= LONG:
        return zlib.compress(json, _LEVEL)
    return bytes(memoryview(json))  # without the rest of the buffer that msgspec wrote it into


def unpacked_size(bodies: Iterable[bytes]) -> int:
    """The most bytes that ``bodies`` may have once they are ``unpacked``."""
    return sum(len(body) if body.startswith(b"{") else LONG for body in bodies)


def unpacked(body: bytes) -> bytes:
    """The JSON that was ``packed``."""
    if body.startswith(b"{"):
        return body
    try:
        return zlib.decompress(body)
    except zlib.error:
        raise _damaged() from None


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _damaged() from None


def _damaged() -> Unavailable:
    return Unavailable("what is stored under this id cannot be read: it is damaged, or of another version of trigate")
