"""Reader of the prompts of requests, in any thread, with a memo of each client's earlier ones."""

import threading
from collections import OrderedDict
from itertools import islice
from typing import Final

import msgspec

from gateway.features.prompt_caches.blocks import KnownParts, read_prompt, recognize
from gateway.features.prompt_caches.earlier_responses import continued_response
from gateway.features.prompt_caches.followed import FoundParent, Members, ReadPrompts, SentRequest
from gateway.features.prompt_caches.memo import BlockMemo
from gateway.features.prompt_caches.memory import MOST_BYTES, Packed, PromptMemory
from gateway.features.prompt_caches.packing import pack
from gateway.features.prompt_caches.positions import continue_prompt, continue_unknown, each_anchor, last_anchor
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.structures import Structure
from gateway.features.prompt_caches.written_boundaries import planned_boundaries
from providers.catalog.prompt_caching import CachingRow

_MOST_MEMOS: Final = 128
"""Clients whose messages are recognized without parsing them."""

MOST_MEMO_BYTES: Final = 32 * 2**20
"""Bytes of memory of the digests by which they are recognized."""

_LARGE_MEMO: Final = MOST_MEMO_BYTES // _MOST_MEMOS
"""Bytes of memory up to which the memo of each client may have digests."""

_MOST_HASHED: Final = 2**20
"""Bytes that are hashed in the thread of the event loop, in less than a millisecond."""

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


class RecognizedRequest(Structure, frozen=True):
    """The ``members`` of a request as sent, and the parts of its prompts that were read before.

    ``client_parts`` are those of the client's request, if that differs. ``size`` are the bytes of all parts."""

    members: Members
    parts: KnownParts
    client_parts: KnownParts | None
    size: int


class PromptReader:
    """The reader of all prompts of a process, with the keys of ``memory``."""

    def __init__(self, memory: PromptMemory) -> None:
        self.memory = memory
        self._memos: OrderedDict[str, tuple[BlockMemo, threading.Lock]] = OrderedDict()
        self._memos_lock = threading.Lock()

    def recognize(self, sent: SentRequest) -> RecognizedRequest | None:
        """Return a request with the parts that were read before. The others may take much longer to read.

        This hashes at most a mebibyte of each part, which takes less time than a switch to a thread."""
        client_members, body = sent.client_members, sent.body
        if callable(client_members) or (isinstance(body, bytes) and len(body) > _MOST_HASHED):
            return None
        members = _MEMBERS.decode(body) if isinstance(body, bytes) else body
        memo, lock = self._memo(sent.client)
        if not lock.acquire(blocking=False):
            return None
        try:
            found = recognize(sent.api, members, sent.row, memo, _MOST_HASHED, sent.headers)
            if client_members is None:
                return RecognizedRequest(members, found, None, found.size)
            own = recognize(sent.client_api, client_members, sent.row, memo, _MOST_HASHED, {})
            return RecognizedRequest(members, found, own, found.size + own.size)
        finally:
            lock.release()

    def read(self, sent: SentRequest, known: RecognizedRequest | None = None) -> ReadPrompts | None:
        """Return the prompts of a request, ``None`` if it has none. ``known`` is the request as recognized before.

        It uses no memo while another thread does."""
        memo, lock = self._memo(sent.client)
        if not lock.acquire(blocking=False):
            return self._read(sent, None, known)
        try:
            return self._read(sent, memo, known)
        finally:
            lock.release()
            if memo.size > _LARGE_MEMO:
                self._limit_memos()

    def continue_from(self, parent: FoundParent | None, read: ReadPrompts) -> ReadPrompts:
        """Return the prompts of a request whose provider adds earlier turns: those of ``parent``, if it is known."""
        if parent is not None:
            prompt = continue_prompt(parent.prompt, read.prompt, self.memory.key)
        else:
            earlier = self.memory.response_anchor(continued_response(read.members) or "")
            prompt = continue_unknown(earlier, read.prompt, self.memory.key)
        return self._plan(read.row, (read.members, read.client_members), prompt, None, read.key_headers)

    def _memo(self, client: str) -> tuple[BlockMemo, threading.Lock]:
        with self._memos_lock:
            found = self._memos.pop(client, None) or (BlockMemo(), threading.Lock())
            self._memos[client] = found
            if len(self._memos) > _MOST_MEMOS:
                self._memos.popitem(last=False)
        return found

    def _limit_memos(self) -> None:
        """Drop the least recently used of the large memos until all together have few enough bytes."""
        with self._memos_lock:
            sizes = {client: memo.size for client, (memo, _) in self._memos.items()}
            size = sum(sizes.values())
            for client in [client for client, each in sizes.items() if each > _LARGE_MEMO]:
                if size <= MOST_MEMO_BYTES:
                    break
                size -= sizes[client]
                del self._memos[client]

    @property
    def memo_size(self) -> int:
        """The bytes of memory of all memos."""
        with self._memos_lock:
            return sum(memo.size for memo, _ in self._memos.values())

    def _read(self, sent: SentRequest, memo: BlockMemo | None, known: RecognizedRequest | None) -> ReadPrompts | None:
        key, row, body = self.memory.key, sent.row, sent.body
        if known is not None:
            members, parts, client_parts = known.members, known.parts, known.client_parts
        else:
            members, parts, client_parts = _MEMBERS.decode(body) if isinstance(body, bytes) else body, None, None
        prompt = read_prompt(sent.api, members, row, key, headers=sent.headers, memo=memo, known=parts)
        if prompt is None:
            return None
        client_prompt, client_members = None, members
        if (given := sent.client_members) is not None:
            client_members = given() if callable(given) else given
            client_prompt = read_prompt(
                sent.client_api, client_members, row, key, memo=memo, known=client_parts, earlier=sent.client_earlier
            )
        return self._plan(row, (members, client_members), prompt, client_prompt, sent.key_headers)

    def _plan(
        self,
        row: CachingRow | None,
        members: tuple[Members, Members],
        prompt: PromptDigest,
        client_prompt: PromptDigest | None,
        key_headers: tuple[str | None, ...],
    ) -> ReadPrompts:
        boundaries, own = planned_boundaries(prompt, row), client_prompt or prompt
        anchors = tuple(islice(each_anchor(own, self.memory.key), 2))
        last = anchors[0] if anchors else None
        if boundaries and boundaries[-1].position < prompt.end and own.history.marks:
            last = last_anchor(own, self.memory.key, own.marks[-1][0])
        return ReadPrompts(
            row,
            *members,
            prompt,
            client_prompt,
            anchors,
            last,
            boundaries,
            pack_prompts(prompt, client_prompt),
            key_headers,
        )


def pack_prompts(prompt: PromptDigest, client_prompt: PromptDigest | None) -> Packed | None:
    """Return both prompts for the memory, ``None`` if they do not fit."""
    if client_prompt is None:
        return pack(prompt, MOST_BYTES) or None
    sent, client = pack(prompt, MOST_BYTES // 2), pack(client_prompt, MOST_BYTES // 2)
    return (*sent, *client) if sent and client else None
