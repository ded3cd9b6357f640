"""The memory of prompts: digests and numbers of conversations, which the workers of a machine share.

There are three tables of rows. An *anchor* leads from a user's block to the conversations in which it was the last one.
A *conversation* has its latest prompt, and the ends and boundaries of its exchanges. A *boundary* is the entry that a
provider's cache would have for a prefix in a scope. A key begins with the client's digest, so no client finds or
displaces the prompts of another."""

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Final, TypeAlias

import msgspec
from xxhash import xxh3_64_digest

from gateway.features.prompt_caches.conversations import Boundary, KnownConversation, RememberedPrompts
from gateway.features.prompt_caches.positions import ANCHOR
from gateway.features.prompt_caches.prompts import pack_prompts, unpack_prompts
from gateway.shared.layout import GROUP, prompt_tables
from gateway.shared.memory import SharedMemory
from gateway.shared.rows import OWNER, Change, LocalRows, Rows
from gateway.shared.shared_rows import SharedRows

KEEP: Final = 86_400.0
"""Seconds for which a conversation is remembered after its last exchange."""

_PART: Final = 1_000
_CHECK: Final = 8
_PIECE: Final = _PART - _CHECK
_ID: Final = 12

_REFRESH: Final = 300.0
"""Seconds after which unchanged pieces of a conversation are written again, because their rows are replaced separately:
in a full table, those of a conversation in use must not be the oldest."""

_MOST_KEYS: Final = 1024
"""Keys of rows that are not computed again."""

_MOST_IDS: Final = 5
"""Conversations of an anchor, the latest ones."""

_MOST_EXCHANGES: Final = 8
"""Exchanges of a conversation that are remembered."""

_PURPOSE: Final = b"prompt caches"

_SHARES: Final = {"prompt_parts": (4, _PART), "prompt_anchors": (2, 60), "prompt_boundaries": (2, 30)}
"""The tables, with the eighths of a process's own memory and the most bytes of a value in each."""

_ROW: Final = 390
"""Bytes of a row in a process's own memory, without its value."""

Update: TypeAlias = Callable[[KnownConversation], KnownConversation]


class PromptMemory:
    """The tables of conversations, of anchors and of boundaries. ``key`` is the key of all digests in them.

    In each, an owner has at most half of the rows, so that what another one needs is free."""

    def __init__(
        self,
        key: bytes,
        conversations: "RememberedConversations",
        anchors: Rows,
        boundaries: Rows,
        clock: Callable[[], float],
    ) -> None:
        self.key, self.clock, self.conversations = key, clock, conversations
        self._anchors, self._boundaries = anchors, boundaries
        self._row_key = lru_cache(_MOST_KEYS)(partial(_row_key, key))
        self.owner_of = lru_cache(_MOST_KEYS)(partial(_owner_of, key))
        """Returns the digest of the client whose requests are remembered."""

    @classmethod
    def open_shared(
        cls, memory: SharedMemory, size: int, clock: Callable[[], float] = time.monotonic
    ) -> "PromptMemory":
        """Return the tables in the first ``size`` bytes for prompts in the workers' ``memory``."""
        sizes, key = prompt_tables(size), memory.derive_key(_PURPOSE)
        parts, anchors, boundaries = (
            SharedRows(memory, name, clock, rows=sizes[name].rows, most_of_owner=GROUP // 2) for name in _SHARES
        )
        return cls(key, RememberedConversations(parts, key, clock, in_pieces=True), anchors, boundaries, clock)

    @classmethod
    def make_private(cls, size: int, clock: Callable[[], float] = time.monotonic) -> "PromptMemory":
        """Return tables of this process alone, of about ``size`` bytes."""
        most, *others = (max(2, size * share // 8 // (width + _ROW)) for share, width in _SHARES.values())
        parts = LocalRows[bytes](most, clock, most_of_owner=most // 2, size_of=_rows_of)
        anchors, boundaries = (LocalRows[bytes](rows, clock, most_of_owner=rows // 2) for rows in others)
        key = os.urandom(32)
        return cls(key, RememberedConversations(parts, key, clock, in_pieces=False), anchors, boundaries, clock)

    def digest(self, *parts: bytes | str | None, size: int = 16) -> bytes:
        """Return a keyed digest of ``parts``."""
        data = repr(parts).encode(errors="surrogatepass")
        return hashlib.blake2b(data, digest_size=size, key=self.key).digest()

    def response_anchor(self, id: str) -> bytes:
        """Return the anchor by which later requests find a response."""
        return self.digest("response", id, size=ANCHOR)

    # Anchors

    def conversations_at(self, owner: bytes, anchor: bytes) -> tuple[bytes, ...]:
        """Return the ids of the conversations in which ``anchor`` was the last one, the latest first."""
        if (value := self._anchors.read(self._row_key(owner, anchor))) is None:
            return ()
        return tuple(value[at : at + _ID] for at in range(len(value) - _ID, -1, -_ID))

    def add_anchor(self, owner: bytes, anchor: bytes, conversation: bytes) -> None:
        """Let ``anchor`` lead to ``conversation``."""

        def change(value: bytes | None, _: float) -> bytes:
            if value is None:
                return conversation
            others = (value[at : at + _ID] for at in range(0, len(value), _ID))
            return b"".join([*(one for one in others if one != conversation), conversation][-_MOST_IDS:])

        self._anchors.update(self._row_key(owner, anchor), change, KEEP)

    # Boundaries

    def read_boundary(self, owner: bytes, scope: bytes, prefix: bytes) -> Boundary | None:
        """Return the boundary of ``owner`` at the end of ``prefix`` in ``scope``."""
        value = self._boundaries.read(self._row_key(owner, scope, prefix))
        return None if value is None else _BOUNDARY.decode(value)

    def write_boundary(self, owner: bytes, scope: bytes, prefix: bytes, boundary: Boundary) -> None:
        """Write a boundary. One that is readable already stays so, and keeps exact tokens."""

        def change(value: bytes | None, _: float) -> bytes:
            return _encode(boundary if value is None else _BOUNDARY.decode(value).merge(boundary))

        self._boundaries.update(self._row_key(owner, scope, prefix), change, KEEP)

    def take_unread(self, owner: bytes, scope: bytes, prefix: bytes) -> int:
        """Note that a response has read a boundary. Return the premium that its writing cost, and 0 for later reads."""
        premium = 0

        def change(value: bytes | None, _: float) -> bytes | None:
            nonlocal premium
            if value is None:
                return None
            premium = (found := _BOUNDARY.decode(value)).unread
            return _encode(msgspec.structs.replace(found, unread=0))

        self._boundaries.update(self._row_key(owner, scope, prefix), change, KEEP)
        return premium

    @staticmethod
    def sharers(scope: bytes) -> bytes:
        """Return the owner of the boundaries that all clients of ``scope`` share, for the choice of a target.

        They reveal that some client sent a prompt, so nothing that a client or a viewer sees depends on them."""
        return scope[:OWNER]


def _rows_of(value: bytes) -> int:
    """Return about as many rows as a conversation has in the memory of workers: one, and one for each piece."""
    return -(-(len(value) + _ROW) // _PART)


class _ConversationHead(msgspec.Struct, array_like=True):
    """The first row of a conversation, with the ``checks`` of the pieces of its prompts, each in a row of its own.

    ``written`` is when all pieces were written. Without pieces, ``prompts`` are the prompts."""

    content: KnownConversation
    prompts: bytes = b""
    checks: bytes = b""
    written: float = 0.0

    def each_check(self) -> list[bytes]:
        """Return the check of each piece."""
        return [self.checks[at : at + _CHECK] for at in range(0, len(self.checks), _CHECK)]


class RememberedConversations:
    """The conversations, by the digest of a client and their own ids, as bytes: objects take twice the memory.

    A conversation is one row, or if rows are of limited width (``in_pieces``), one row and its prompts in pieces. A
    turn writes only the pieces that it changes."""

    def __init__(self, rows: Rows, key: bytes, clock: Callable[[], float], *, in_pieces: bool) -> None:
        self._rows, self._clock, self._in_pieces, self._seed = rows, clock, in_pieces, int.from_bytes(key[:8])
        self._key = lru_cache(_MOST_KEYS)(partial(_row_key, key))

    def read(self, owner: bytes, id: bytes) -> KnownConversation | None:
        value = self._rows.read(self._key(owner, id))
        return None if value is None else _HEAD.decode(value).content

    def read_whole(self, owner: bytes, id: bytes) -> tuple[KnownConversation, RememberedPrompts] | None:
        """Return a conversation, ``None`` if a piece is missing or is being written."""
        if (value := self._rows.read(self._key(owner, id))) is None:
            return None
        head = _HEAD.decode(value)
        pieces = [head.prompts]
        for number, check in enumerate(head.each_check()):
            piece = self._rows.read(self._piece_key(owner, id, number))
            if piece is None or piece[:_CHECK] != check:
                return None
            pieces.append(piece[_CHECK:])
        return head.content, unpack_prompts(b"".join(pieces))

    def write(self, owner: bytes, id: bytes, content: KnownConversation, prompts: RememberedPrompts) -> None:
        data = pack_prompts(*prompts)
        if not self._in_pieces:
            self._rows.update(self._key(owner, id), _constant(_encode_head(_ConversationHead(content, data))), KEEP)
            return
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
        checks = [xxh3_64_digest(piece, self._seed) for piece in pieces]
        key, written, known = self._key(owner, id), self._clock(), list[bytes]()
        if (stored := self._rows.read(key)) is not None:
            head = _HEAD.decode(stored)
            if written - head.written <= _REFRESH:
                known, written = head.each_check(), head.written
        self._write_pieces(owner, id, pieces, checks, known)
        encoded, is_latest = _encode_head(_ConversationHead(content, b"", b"".join(checks), written)), True

        def change(value: bytes | None, _: float) -> bytes:
            nonlocal is_latest
            is_latest = value == stored
            return encoded

        self._rows.update(key, change, KEEP)
        if known and not is_latest:  # another worker has written the same conversation meanwhile
            self._write_pieces(owner, id, pieces, checks, ())

    def _write_pieces(
        self, owner: bytes, id: bytes, pieces: Sequence[bytes], checks: Sequence[bytes], known: Sequence[bytes]
    ) -> None:
        """Write the pieces whose checks are not ``known`` at the same numbers."""
        for number, (piece, check) in enumerate(zip(pieces, checks, strict=True)):
            if known[number : number + 1] != [check]:
                self._rows.update(self._piece_key(owner, id, number), _constant(check + piece), KEEP)

    def update(self, owner: bytes, id: bytes, change: Update) -> None:
        """Change a conversation, if it is remembered."""

        def change_head(value: bytes | None, _: float) -> bytes | None:
            if value is None:
                return None
            head = _HEAD.decode(value)
            head.content = change(head.content)
            return _encode_head(head)

        self._rows.update(self._key(owner, id), change_head, KEEP)

    def remove(self, owner: bytes, id: bytes) -> None:
        self._rows.update(self._key(owner, id), lambda _, __: None, KEEP)

    def _piece_key(self, owner: bytes, id: bytes, number: int) -> bytes:
        return self._key(owner, id, number.to_bytes(1, "little"))


_HEAD: Final = msgspec.msgpack.Decoder(_ConversationHead)
_BOUNDARY: Final = msgspec.msgpack.Decoder(Boundary)
_ENCODER: Final = msgspec.msgpack.Encoder()


def _encode(value: object) -> bytes:
    """Return ``value`` as bytes of exactly its size: those of an encoder have room for more."""
    _ENCODER.encode_into(value, buffer := bytearray())
    return bytes(buffer)


def _encode_head(head: _ConversationHead) -> bytes:
    """Return the first row of a conversation, without its oldest exchanges if they are too many or too large."""
    most = _MOST_EXCHANGES
    while most >= 0:
        head.content = head.content.keep_latest(most)
        if len(data := _encode(head)) - len(head.prompts) <= _PART:
            return data
        most -= 1
    raise ValueError("a conversation without exchanges is too large")


def _constant(value: bytes) -> Change:
    return lambda _, __: value


def _owner_of(secret: bytes, client: str) -> bytes:
    return hashlib.blake2b(client.encode(errors="surrogatepass"), digest_size=OWNER, key=secret).digest()


def _row_key(secret: bytes, owner: bytes, *parts: bytes) -> bytes:
    return owner + hashlib.blake2b(b"".join(parts), digest_size=_ID, key=secret).digest()
