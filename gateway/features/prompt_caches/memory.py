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
from itertools import accumulate, pairwise
from operator import attrgetter
from typing import Final, NamedTuple, TypeAlias

import msgspec
from xxhash import xxh3_64_digest

from gateway.features.prompt_caches.situations import Boundary, CacheScope
from gateway.shared.layout import GROUP, prompt_tables
from gateway.shared.memory import SharedMemory
from gateway.shared.rows import OWNER, Change, LocalRows, Rows
from gateway.shared.shared_rows import SharedRows

KEEP: Final = 86_400.0
"""Seconds for which a conversation is remembered after its last exchange."""

MOST_BYTES: Final = 12 * 1024
"""The bytes of a conversation."""

_PART: Final = 1_000
_CHECK: Final = 8
_PIECE: Final = _PART - _CHECK
_ID: Final = 12
ANCHOR_BYTES: Final = 8
"""The bytes of an anchor with which a conversation notes the ends of its exchanges."""

_REFRESH: Final = 300.0
"""Seconds after which unchanged parts of a conversation are written again, because their rows are replaced separately:
in a full table, those of a conversation in use must not be the oldest."""

_MOST_KEYS: Final = 1024
"""Keys of rows that are not computed again."""

_MOST_IDS: Final = 5
"""Conversations of an anchor, the latest ones."""

_PURPOSE: Final = b"prompt caches"

_SHARES: Final = {"prompt_parts": (4, _PART), "prompt_anchors": (2, 60), "prompt_boundaries": (2, 30)}
"""The tables, with the eighths of a process's own memory and the most bytes of a value in each."""

_ROW: Final = 390
"""Bytes of a row in a process's own memory, without its value."""

Update: TypeAlias = Callable[["KnownConversation"], None]


class ExchangeEnd(msgspec.Struct, array_like=True, gc=False):
    """The end of an exchange in a conversation: the ``position`` after its last block, with the anchor there.

    ``tokens`` is the provider's count of the prompt, 0 if unknown. ``head`` is when its response began. ``response`` is
    a digest of the response's id."""

    anchor: bytes
    position: int
    sent: float
    head: float | None = None
    tokens: int = 0
    response: bytes = b""


class KnownConversation(msgspec.Struct, array_like=True):
    """A conversation's branch without its blocks: ``ends`` and ``boundaries`` of its exchanges, the oldest first.

    ``scope``, ``edits``, ``session`` and ``size`` (bytes of its messages) are those of the latest exchange.
    ``response_id`` is that of its response, only if its entry requests diagnoses, for which the provider needs it."""

    scope: CacheScope
    ends: list[ExchangeEnd]
    boundaries: list[Boundary]
    edits: tuple[str, ...] = ()
    longest_ttl: float | None = None
    size: int = 0
    response_id: str = ""

    def end_of(self, sent: float) -> ExchangeEnd | None:
        """Return the end of the exchange that was sent at ``sent``."""
        if self.ends and self.ends[-1].sent == sent:
            return self.ends[-1]
        return next((end for end in self.ends if end.sent == sent), None)

    def boundaries_until(self, position: int) -> tuple[Boundary, ...]:
        """Return the boundaries up to ``position``, the deepest last."""
        found = sorted(self.boundaries, key=attrgetter("position"))  # each position has one
        if found and found[-1].position > position:
            found = [one for one in found if one.position <= position]
        return tuple(found)


class _Head(msgspec.Struct, array_like=True):
    """The first part of a conversation: the ``conversation``, and its prompts' ``sizes`` and the ``checks`` of their
    parts. ``written`` is when all parts were written."""

    checks: bytes
    sizes: tuple[int, ...]
    written: float
    conversation: KnownConversation

    def each_check(self) -> list[bytes]:
        """Return the check of each piece."""
        return [self.checks[at : at + _CHECK] for at in range(0, len(self.checks), _CHECK)]


class StoredBoundary(msgspec.Struct, array_like=True, gc=False):
    """The entry of a provider's cache for a prefix: ``tokens``, and when it was last used.

    ``unread`` are the nano-dollars by which it cost more than plain input, until a response reads it."""

    tokens: int
    used: float
    readable_from: float | None
    ttl: float | None
    is_exact: bool
    unread: int = 0


_HEAD: Final = msgspec.msgpack.Decoder(_Head)
_BOUNDARY: Final = msgspec.msgpack.Decoder(StoredBoundary)
_encode: Final = msgspec.msgpack.Encoder().encode


Packed: TypeAlias = tuple[bytes, ...]
"""The parts of a conversation's packed prompt as sent, and then those as the client wrote it, if they differ."""


class PromptMemory:
    """The three tables: of parts, of anchors and of boundaries. ``key`` is the key of all digests in them.

    In each, an owner has at most half of the rows, so that what another one needs is free."""

    def __init__(self, key: bytes, tables: tuple[Rows, Rows, Rows], clock: Callable[[], float]) -> None:
        self.key = key
        self.clock = clock
        self._parts, self._anchors, self._boundaries = tables
        self._seed = int.from_bytes(key[:8])
        self._row_key = lru_cache(_MOST_KEYS)(partial(_row_key, key))

    @classmethod
    def open_shared(
        cls, memory: SharedMemory, size: int, clock: Callable[[], float] = time.monotonic
    ) -> "PromptMemory":
        """Return the tables in the first ``size`` bytes for prompts in the workers' ``memory``."""
        sizes = prompt_tables(size)
        parts, anchors, boundaries = (
            SharedRows(memory, name, clock, rows=sizes[name].rows, most_of_owner=GROUP // 2) for name in _SHARES
        )
        return cls(memory.derive_key(_PURPOSE), (parts, anchors, boundaries), clock)

    @classmethod
    def make_private(cls, size: int, clock: Callable[[], float] = time.monotonic) -> "PromptMemory":
        """Return tables of this process alone, of about ``size`` bytes."""
        most, *others = (max(2, size * share // 8 // (width + _ROW)) for share, width in _SHARES.values())
        conversations = LocalRows(most, clock, most_of_owner=most // 2, size_of=attrgetter("rows"))
        anchors, boundaries = (LocalRows[bytes](rows, clock, most_of_owner=rows // 2) for rows in others)
        return _PrivateMemory(os.urandom(32), conversations, (anchors, boundaries), clock)

    def owner_of(self, client: str) -> bytes:
        """Return the digest of the ``client`` whose requests are remembered."""
        return self._digest(client.encode(errors="surrogatepass"), size=OWNER)

    def digest(self, *parts: bytes | str | None) -> bytes:
        """Return a keyed digest of ``parts``."""
        return self._digest(repr(parts).encode(errors="surrogatepass"))

    def response_anchor(self, id: str) -> bytes:
        """Return the anchor by which later requests find a response."""
        return self.digest("response", id)

    def _digest(self, data: bytes, size: int = 16) -> bytes:
        return hashlib.blake2b(data, digest_size=size, key=self.key).digest()

    # Conversations

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

    def read(self, owner: bytes, conversation: bytes) -> KnownConversation | None:
        """Return a conversation without its prompts, ``None`` if it is not remembered."""
        value = self._parts.read(self._row_key(owner, conversation))
        return None if value is None else _HEAD.decode(value).conversation

    def read_whole(self, owner: bytes, conversation: bytes) -> tuple[KnownConversation, Packed] | None:
        """Return a conversation with its prompts, ``None`` if a piece is missing or is being written."""
        value = self._parts.read(self._row_key(owner, conversation))
        if value is None:
            return None
        head, pieces = _HEAD.decode(value), list[bytes]()
        for number, check in enumerate(head.each_check()):
            piece = self._parts.read(self._part_key(owner, conversation, number))
            if piece is None or piece[:_CHECK] != check:
                return None
            pieces.append(piece[_CHECK:])
        joined, ends = b"".join(pieces), [0, *accumulate(head.sizes)]
        return head.conversation, tuple([joined[start:end] for start, end in pairwise(ends)])

    def write(self, owner: bytes, conversation: bytes, content: KnownConversation, parts: Packed) -> None:
        """Write a conversation with its prompts. Pieces that it has already are not written."""
        pieces = [part[at : at + _PIECE] for part in parts for at in range(0, len(part), _PIECE)]
        checks = [xxh3_64_digest(piece, self._seed) for piece in pieces]
        key, written, known = self._row_key(owner, conversation), self.clock(), list[bytes]()
        if (stored := self._parts.read(key)) is not None:
            head = _HEAD.decode(stored)
            if written - head.written <= _REFRESH:
                known, written = head.each_check(), head.written
        self._write_pieces(owner, conversation, pieces, checks, known)
        data = _encode_head(_Head(b"".join(checks), tuple(map(len, parts)), written, content))
        is_latest = True

        def change(value: bytes | None, _: float) -> bytes:
            nonlocal is_latest
            is_latest = value == stored
            return data

        self._parts.update(key, change, KEEP)
        if known and not is_latest:  # another worker has written the same conversation meanwhile
            self._write_pieces(owner, conversation, pieces, checks, ())

    def _write_pieces(
        self, owner: bytes, conversation: bytes, pieces: Sequence[bytes], checks: Sequence[bytes],
        known: Sequence[bytes],
    ) -> None:  # fmt: skip
        """Write the pieces whose checks are not ``known`` at the same numbers."""
        for number, (piece, check) in enumerate(zip(pieces, checks, strict=True)):
            if known[number : number + 1] != [check]:
                self._parts.update(self._part_key(owner, conversation, number), _constant(check + piece), KEEP)

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

    def _part_key(self, owner: bytes, conversation: bytes, number: int) -> bytes:
        return self._row_key(owner, conversation, number.to_bytes(1, "little"))

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

    def take_unread(self, owner: bytes, scope: bytes, prefix: bytes) -> int:
        """Note that a response has read a boundary. Return the premium that its writing cost, and 0 for later reads."""
        premium = 0

        def change(value: bytes | None, _: float) -> bytes | None:
            nonlocal premium
            if value is None:
                return None
            found = _BOUNDARY.decode(value)
            premium, found.unread = found.unread, 0
            return _encode(found)

        self._boundaries.update(self._row_key(owner, scope, prefix), change, KEEP)
        return premium

    @staticmethod
    def sharers(scope: bytes) -> bytes:
        """Return the owner of the boundaries that all clients of ``scope`` share, for the choice of a target.

        They reveal that some client sent a prompt, so nothing that a client or a viewer sees depends on them."""
        return scope[:OWNER]


class _PrivateConversation(NamedTuple):
    """A conversation in the memory of one process, which needs no encoding.

    ``rows`` is the number of rows that it would have in the memory of workers."""

    conversation: KnownConversation
    parts: Packed
    rows: int


class _PrivateMemory(PromptMemory):
    """The tables of one process. A conversation is one row, a structure instead of pieces of bytes.

    Pieces would take a fifth more CPU time for each turn."""

    def __init__(
        self, key: bytes, conversations: LocalRows[_PrivateConversation], others: tuple[Rows, Rows],
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        super().__init__(key, (LocalRows(0, clock), *others), clock)
        self._conversations = conversations

    def read(self, owner: bytes, conversation: bytes) -> KnownConversation | None:
        known = self._conversations.read(owner + conversation)
        return None if known is None else known.conversation

    def read_whole(self, owner: bytes, conversation: bytes) -> tuple[KnownConversation, Packed] | None:
        known = self._conversations.read(owner + conversation)
        return None if known is None else known[:2]

    def write(self, owner: bytes, conversation: bytes, content: KnownConversation, parts: Packed) -> None:
        _limit_exchanges(content)
        new = _PrivateConversation(content, parts, 1 + sum([-(-len(part) // _PIECE) for part in parts]))
        self._conversations.update(owner + conversation, lambda _, __: new, KEEP)

    def remove(self, owner: bytes, conversation: bytes) -> None:
        self._conversations.update(owner + conversation, lambda _, __: None, KEEP)

    def update(self, owner: bytes, conversation: bytes, change: Update) -> None:
        if (known := self.read(owner, conversation)) is not None:
            change(known)
            _limit_exchanges(known)


_MOST_EXCHANGES: Final = 10
"""Ends and boundaries of a conversation in the memory of one process: as many as those of workers usually have."""


def _limit_exchanges(conversation: KnownConversation) -> None:
    """Forget the oldest exchanges of a conversation."""
    if len(conversation.ends) > _MOST_EXCHANGES:
        del conversation.ends[:-_MOST_EXCHANGES]
    if len(conversation.boundaries) > _MOST_EXCHANGES:
        del conversation.boundaries[:-_MOST_EXCHANGES]


def merge_boundaries(known: StoredBoundary | None, new: StoredBoundary | None) -> StoredBoundary | None:
    """Return one boundary for two reports on the same entry, ``None`` without any."""
    return known or new if known is None or new is None else _merge(known, new)


def _row_key(secret: bytes, owner: bytes, *parts: bytes) -> bytes:
    return owner + hashlib.blake2b(b"".join(parts), digest_size=_ID, key=secret).digest()


def _constant(value: bytes) -> Change:
    return lambda _, __: value


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
        new.unread or known.unread,
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
