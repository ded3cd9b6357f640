"""The memory of prompts: digests and numbers of conversations, which the workers of a machine share.

There are three tables of rows. An *anchor* leads from a user's block to the conversations in which it was the last one.
A *conversation* has its latest prompt, and the ends and boundaries of its exchanges. A *boundary* is the entry that a
provider's cache would have for a prefix in a scope. A key begins with the client's digest, so no client finds or
displaces the prompts of another."""

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeAlias

import attrs
import msgspec

from gateway.prompt_caches.situations import Boundary, CacheScope
from gateway.shared.layout import GROUP, Layout, prompt_tables
from gateway.shared.memory import SharedMemory
from gateway.shared.rows import OWNER
from gateway.shared.shared_rows import SharedRows

KEEP: Final = 86_400.0
"""Seconds for which a conversation is remembered after its last exchange."""

MOST_BYTES: Final = 12 * 1024
"""The bytes of a conversation."""

_PART: Final = 1_000
_VERSION: Final = 8
_PIECE: Final = _PART - _VERSION
_ID: Final = 12
_MAX_NAME: Final = 100
_MOST_IDS: Final = 5
"""Conversations of an anchor, the latest ones."""

_PURPOSE: Final = b"prompt caches"

Update: TypeAlias = Callable[["KnownConversation"], None]


class ScopeNote(msgspec.Struct, array_like=True):
    """A ``CacheScope`` in the memory."""

    digest: bytes
    target: str
    model: bytes
    key: bytes
    tier: bytes

    @classmethod
    def of(cls, scope: CacheScope) -> "ScopeNote":
        return cls(scope.digest, scope.target[:_MAX_NAME], scope.model, scope.key, scope.tier)

    def scope(self) -> CacheScope:
        return CacheScope(self.digest, self.target, self.model, self.key, self.tier)


class ExchangeEnd(msgspec.Struct, array_like=True):
    """The end of an exchange in a conversation: the ``position`` after its last block, with the anchor there.

    ``tokens`` is the provider's count of the prompt, 0 if unknown. ``head`` is when its response began. ``response`` is
    a digest of the response's id."""

    anchor: bytes
    position: int
    sent: float
    head: float | None = None
    tokens: int = 0
    response: bytes = b""


class BoundaryNote(msgspec.Struct, array_like=True):
    """A ``Boundary`` in the memory, which the exchange of ``sent`` wrote."""

    sent: float
    position: int
    tokens: int
    used: float
    readable_from: float | None = None
    ttl: float | None = None
    is_exact: bool = False


class KnownConversation(msgspec.Struct, array_like=True):
    """A conversation's branch without its blocks: ``ends`` and ``boundaries`` of its exchanges, the oldest first.

    ``scope``, ``edits``, ``session`` and ``size`` (bytes of its messages) are those of the latest exchange."""

    scope: ScopeNote
    ends: list[ExchangeEnd]
    boundaries: list[BoundaryNote]
    edits: tuple[str, ...] = ()
    longest_ttl: float | None = None
    size: int = 0

    def end_of(self, sent: float) -> ExchangeEnd | None:
        """Return the end of the exchange that was sent at ``sent``."""
        return next((end for end in self.ends if end.sent == sent), None)

    def boundaries_until(self, position: int) -> tuple[Boundary, ...]:
        """Return the latest boundary at each position up to ``position``, the deepest last."""
        latest = {note.position: note for note in self.boundaries if note.position <= position}
        return tuple(
            Boundary(note.position, note.tokens, note.used, note.readable_from, note.ttl, note.is_exact)
            for _, note in sorted(latest.items())
        )


class _Head(msgspec.Struct, array_like=True):
    """The first part of a conversation: the version and lengths of its other parts, and the conversation."""

    version: bytes
    prompt: int
    client_prompt: int
    conversation: KnownConversation


class StoredBoundary(msgspec.Struct, array_like=True):
    """The entry of a provider's cache for a prefix: ``tokens``, and when it was last used."""

    tokens: int
    used: float
    readable_from: float | None
    ttl: float | None
    is_exact: bool


_HEAD: Final = msgspec.msgpack.Decoder(_Head)
_BOUNDARY: Final = msgspec.msgpack.Decoder(StoredBoundary)
_encode: Final = msgspec.msgpack.Encoder().encode


@attrs.frozen(eq=False, repr=False)
class PackedPrompts:
    """The packed prompt of a conversation as sent, and as the client wrote it; empty if they are equal."""

    sent: bytes
    client: bytes = b""


class PromptMemory:
    """The tables in the first ``size`` bytes of ``memory``. ``key`` is the key of all digests in it."""

    def __init__(self, memory: SharedMemory, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.key = memory.derive_key(_PURPOSE)
        self.clock = clock
        tables, half = prompt_tables(size), GROUP // 2
        self._parts, self._anchors, self._boundaries = (
            SharedRows(memory, name, clock, rows=tables[name].rows, most_of_owner=half)
            for name in ("prompt_parts", "prompt_anchors", "prompt_boundaries")
        )

    @classmethod
    def make_private(cls, size: int, clock: Callable[[], float] = time.monotonic) -> "PromptMemory":
        """Return a memory of this process alone."""
        return cls(SharedMemory.make_private(Layout(1, prompt_tables(size), {})), size, clock)

    def owner_of(self, client: str) -> bytes:
        """Return the digest of the ``client`` whose requests are remembered."""
        return self._digest(client.encode(errors="surrogatepass"), size=OWNER)

    def digest(self, *parts: bytes | str | None) -> bytes:
        """Return a keyed digest of ``parts``."""
        return self._digest(repr(parts).encode(errors="surrogatepass"))

    def _digest(self, data: bytes, size: int = 16) -> bytes:
        return hashlib.blake2b(data, digest_size=size, key=self.key).digest()

    def _row_key(self, owner: bytes, *parts: bytes) -> bytes:
        return owner + hashlib.blake2b(b"".join(parts), digest_size=_ID, key=self.key).digest()

    # Conversations

    def conversations_at(self, owner: bytes, anchor: bytes) -> tuple[bytes, ...]:
        """Return the ids of the conversations in which ``anchor`` was the last one, the latest first."""
        value = self._anchors.read(self._row_key(owner, anchor)) or b""
        return tuple(value[at : at + _ID] for at in range(len(value) - _ID, -1, -_ID))

    def add_anchor(self, owner: bytes, anchor: bytes, conversation: bytes) -> None:
        """Let ``anchor`` lead to ``conversation``."""

        def change(value: bytes | None, _: float) -> bytes:
            known = value or b""
            others = (known[at : at + _ID] for at in range(0, len(known), _ID))
            return b"".join([*(one for one in others if one != conversation), conversation][-_MOST_IDS:])

        self._anchors.update(self._row_key(owner, anchor), change, KEEP)

    def read(self, owner: bytes, conversation: bytes) -> KnownConversation | None:
        """Return a conversation without its prompts, ``None`` if it is not remembered."""
        head = self._read_head(owner, conversation)
        return None if head is None else head.conversation

    def read_whole(self, owner: bytes, conversation: bytes) -> tuple[KnownConversation, PackedPrompts] | None:
        """Return a conversation with its prompts, ``None`` if it is not remembered, or is being written."""
        head = self._read_head(owner, conversation)
        if head is None:
            return None
        pieces: list[bytes] = []
        for key in self._part_keys(owner, conversation, head.prompt + head.client_prompt):
            piece = self._parts.read(key)
            if piece is None or not piece.startswith(head.version):
                return None
            pieces.append(piece[_VERSION:])
        data = b"".join(pieces)
        if len(data) != head.prompt + head.client_prompt:
            return None
        return head.conversation, PackedPrompts(data[: head.prompt], data[head.prompt :])

    def write(self, owner: bytes, conversation: bytes, content: KnownConversation, prompts: PackedPrompts) -> None:
        """Write a conversation with its prompts."""
        version, data = os.urandom(_VERSION), prompts.sent + prompts.client
        for number, key in enumerate(self._part_keys(owner, conversation, len(data))):
            piece = version + data[number * _PIECE : (number + 1) * _PIECE]
            self._parts.update(key, lambda _, __, piece=piece: piece, KEEP)  # type: ignore[misc]
        head = _encode_head(_Head(version, len(prompts.sent), len(prompts.client), content))
        self._parts.update(self._row_key(owner, conversation), lambda _, __: head, KEEP)

    def remove(self, owner: bytes, conversation: bytes) -> None:
        """Forget a conversation."""
        self._parts.update(self._row_key(owner, conversation), lambda _, __: None, KEEP)

    def update(self, owner: bytes, conversation: bytes, change: Update) -> None:
        """Change a conversation's ends and boundaries, if it is remembered."""

        def change_head(value: bytes | None, _: float) -> bytes | None:
            if value is None:
                return None
            head = _HEAD.decode(value)
            change(head.conversation)
            return _encode_head(head)

        self._parts.update(self._row_key(owner, conversation), change_head, KEEP)

    def _read_head(self, owner: bytes, conversation: bytes) -> _Head | None:
        value = self._parts.read(self._row_key(owner, conversation))
        return None if value is None else _HEAD.decode(value)

    def _part_keys(self, owner: bytes, conversation: bytes, size: int) -> Iterator[bytes]:
        for number in range(-(-size // _PIECE)):
            yield self._row_key(owner, conversation, number.to_bytes(1, "little"))

    # Boundaries

    def read_boundary(self, owner: bytes, scope: bytes, prefix: bytes) -> StoredBoundary | None:
        """Return the boundary of ``owner`` at the end of ``prefix`` in ``scope``."""
        value = self._boundaries.read(self._row_key(owner, scope, prefix))
        return None if value is None else _BOUNDARY.decode(value)

    def write_boundary(self, owner: bytes, scope: bytes, prefix: bytes, boundary: StoredBoundary) -> None:
        """Write a boundary. One that is readable already stays so, and keeps exact tokens."""

        def change(value: bytes | None, _: float) -> bytes:
            return _encode(boundary if value is None else _merge(_BOUNDARY.decode(value), boundary))

        self._boundaries.update(self._row_key(owner, scope, prefix), change, KEEP)

    def note_use(self, owner: bytes, scope: bytes, prefixes: Iterable[bytes], at: float) -> None:
        """Note that a request at ``at`` used the boundaries of ``prefixes``, which extends their lifetimes."""

        def change(value: bytes | None, _: float) -> bytes | None:
            if value is None:
                return None
            known = _BOUNDARY.decode(value)
            known.used = max(known.used, at)
            return _encode(known)

        for prefix in prefixes:
            self._boundaries.update(self._row_key(owner, scope, prefix), change, KEEP)


def _merge(known: StoredBoundary, new: StoredBoundary) -> StoredBoundary:
    """Return a ``known`` boundary after another request wrote it or read it again."""
    began = [at for at in (known.readable_from, new.readable_from) if at is not None]
    keeps_tokens = known.is_exact and not new.is_exact
    ttls = [ttl for ttl in (known.ttl, new.ttl) if ttl is not None]
    return StoredBoundary(
        known.tokens if keeps_tokens or not new.tokens else new.tokens,
        max(known.used, new.used),
        min(began) if began else None,
        max(ttls) if ttls else None,
        known.is_exact or new.is_exact,
    )


def _encode_head(head: _Head) -> bytes:
    """Return the first part of a conversation, without its oldest ends and boundaries if it would be too large."""
    content = head.conversation
    while len(data := _encode(head)) > _PART:
        older = content.ends if len(content.ends) > len(content.boundaries) else content.boundaries
        if not older:
            raise ValueError("a conversation without exchanges is too large")
        del older[0]
    return data
