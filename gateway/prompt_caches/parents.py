"""Finder of the exchange that a request continues, among the conversations in memory."""

from collections import OrderedDict
from itertools import chain
from typing import Final, TypeAlias

import attrs

from gateway.prompt_caches.earlier_responses import continued_response
from gateway.prompt_caches.followed import FoundParent, ReadPrompts, SentRequest
from gateway.prompt_caches.memory import (
    ANCHOR_BYTES,
    KnownConversation,
    PackedPrompts,
    PromptMemory,
    RememberedHead,
)
from gateway.prompt_caches.packed_blocks import PackedBlocks
from gateway.prompt_caches.packing import unpack
from gateway.prompt_caches.positions import each_anchor, shared_blocks
from gateway.prompt_caches.prompts import PromptDigest

_MOST_PROMPTS: Final = 256
"""Conversations whose prompts are not decoded again."""

_SMALL: Final = 16 * 1024
"""Bytes of a prompt's cumulative digests with which it is kept. A packed prompt has only the last ones."""

_MOST_CANDIDATES: Final = 4

Prompts: TypeAlias = tuple[PromptDigest, PromptDigest | None]
"""The prompt as sent, and as the client wrote it if that differs."""


class ParentFinder:
    """A search in ``memory`` for the exchange that a request continues. It caches the latest decoded prompts."""

    def __init__(self, memory: PromptMemory) -> None:
        self.memory = memory
        self._prompts: OrderedDict[bytes, tuple[bytes, Prompts | PackedPrompts | None]] = OrderedDict()

    def find(self, sent: SentRequest, read: ReadPrompts) -> FoundParent | None:
        """Return the exchange that the request continues, if it is remembered."""
        owner = self.memory.owner_of(sent.client)
        if (earlier := continued_response(read.members)) is not None:
            anchor = self.memory.response_anchor(earlier)
            ids = self.memory.conversations_at(owner, anchor)
            return self._read_parent(owner, ids[0], anchor[:ANCHOR_BYTES]) if ids else None
        own, key = read.own, self.memory.key
        # A stored turn has another form than the client's.
        of_sent = () if read.client_prompt is None else each_anchor(read.prompt, key)
        for one in chain(each_anchor(own, key), of_sent):
            short = one.digest[:ANCHOR_BYTES]
            ids = self.memory.conversations_at(owner, one.digest)[:_MOST_CANDIDATES]
            candidates = [found for id in ids if (found := self._read_parent(owner, id, short, own)) is not None]
            if len(candidates) > 1:
                return max(candidates, key=lambda found: (shared_blocks(found.own, own), found.end.sent))
            if candidates:
                return candidates[0]
        return None if sent.session is None else self._find_compacted(owner, sent.session, own, own.history_size)

    def _read_parent(
        self, owner: bytes, id: bytes, anchor: bytes | None, own: PromptDigest | None = None
    ) -> FoundParent | None:
        """Return the conversation ``id`` at one of its exchanges: by default the latest one.

        With ``anchor``, return the latest exchange that ended there. If none did, return the latest one whose history
        ``own`` repeats."""
        if (head := self.memory.read_head(owner, id)) is None or not head.conversation.ends:
            return None
        if (prompts := self._read_prompts(owner, id, head)) is None:
            return None
        conversation, (sent, client) = head.conversation, prompts
        end = next((one for one in reversed(conversation.ends) if anchor in (None, one.anchor, one.response)), None)
        if end is None:
            if own is None:
                return None
            until = sent.history_start + shared_blocks(client or sent, own)
            end = next((one for one in reversed(conversation.ends) if one.position <= until), conversation.ends[0])
        return FoundParent(id, conversation, sent, client, end)

    def _read_prompts(self, owner: bytes, id: bytes, head: RememberedHead) -> Prompts | None:
        """Return the prompts of a conversation, which are decoded once."""
        checks, prompts = self._prompts.pop(owner + id, (b"", None))
        if checks != head.checks or prompts is None:
            prompts = self.memory.read_prompts(owner, id, head)
        if isinstance(prompts, PackedPrompts):
            prompts = unpack(prompts.sent), unpack(prompts.client) if prompts.client else None
        if prompts is not None:
            self._keep_prompts(owner + id, head.checks, prompts)
        return prompts

    def _keep_prompts(self, name: bytes, checks: bytes, prompts: Prompts | PackedPrompts) -> None:
        self._prompts[name] = checks, prompts
        if len(self._prompts) > _MOST_PROMPTS:
            self._prompts.popitem(last=False)

    def write(
        self,
        owner: bytes,
        id: bytes,
        conversation: KnownConversation,
        packed: PackedPrompts,
        prompts: Prompts | None = None,
    ) -> None:
        """Write a conversation with its prompts. In this process, the next request does not decode ``prompts``."""
        head = self.memory.write(owner, id, conversation, packed)
        self._prompts.pop(owner + id, None)
        is_small = prompts is not None and all(one is None or len(one.digests or b"") <= _SMALL for one in prompts)
        self._keep_prompts(owner + id, head.checks, prompts if prompts is not None and is_small else packed)

    def _find_compacted(
        self, owner: bytes, session: str, prompt: PromptDigest, history_size: int
    ) -> FoundParent | None:
        """Return the latest exchange of ``session`` with the same tools and system texts and twice the history."""
        for id in self.memory.conversations_at(owner, self.memory.digest("session", session)):
            found = self._read_parent(owner, id, None)
            if found is None or 2 * history_size > found.conversation.size:
                continue
            before = found.own
            if _same(before.tools, prompt.tools) and _same(before.system, prompt.system):
                return attrs.evolve(found, is_compacted=True)
        return None


def _same(one: PackedBlocks, other: PackedBlocks) -> bool:
    return one.cumulative[-1] == other.cumulative[-1]
