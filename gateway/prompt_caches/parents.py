"""Finder of the exchange that a request continues, among the conversations in memory."""

from itertools import chain, islice
from typing import Final

from msgspec import structs

from gateway.prompt_caches.digests import equal_share
from gateway.prompt_caches.earlier_responses import continued_response
from gateway.prompt_caches.followed import FoundParent, ReadPrompts, SentRequest
from gateway.prompt_caches.memory import (
    ANCHOR_BYTES,
    ExchangeEnd,
    PromptMemory,
)
from gateway.prompt_caches.packed_blocks import KIND_NUMBERS, PackedBlocks
from gateway.prompt_caches.packing import PARTS, unpack
from gateway.prompt_caches.positions import continues, each_anchor, opening_length, shared_blocks
from gateway.prompt_caches.prompts import PromptDigest

_MOST_CANDIDATES: Final = 4

_LEAST_FRONT: Final = 2_000
"""Bytes of tools and system texts below which no 2,000 tokens can be missed, the least miss with a cause."""

_SIMILAR: Final = 0.9
"""The share of the bytes of tools and system texts by which one-shot requests belong together."""

_LEAST_SIMILAR: Final = 2
"""Earlier one-shot requests of the same kind from which on the next one has a parent."""

_LEAST_ANCHORS: Final = 2
"""Equal anchors by which a request continues a conversation whose first message it has not, or has changed."""

_RESULT: Final = KIND_NUMBERS["tool_result"]


class ParentFinder:
    """A search in ``memory`` for the exchange that a request continues."""

    def __init__(self, memory: PromptMemory) -> None:
        self.memory = memory

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
        earlier_ones = islice(each_anchor(own, key), len(read.anchors), None)
        for one in chain(read.anchors, earlier_ones, of_sent):
            short = one.digest[:ANCHOR_BYTES]
            ids = self.memory.conversations_at(owner, one.digest)[:_MOST_CANDIDATES]
            candidates = [found for id in ids if (found := self._read_continued(owner, id, short, read)) is not None]
            if len(candidates) > 1:
                return max(candidates, key=lambda found: (*_shared_prefix(found.own, own), found.end.sent))
            if candidates:
                return candidates[0]
        if sent.session is not None and (found := self._find_compacted(owner, sent.session, own)) is not None:
            return found
        return self._find_similar(owner, sent, own) if is_one_shot(own) else None

    def _read_parent(self, owner: bytes, id: bytes, response: bytes | None = None) -> FoundParent | None:
        """Return the conversation ``id`` at its exchange with ``response``, by default at the latest one."""
        if (known := self.memory.read_whole(owner, id)) is None:
            return None
        conversation, packed = known
        end = next((one for one in reversed(conversation.ends) if response in (None, one.response)), None)
        if end is None:
            return None
        client = unpack(packed[PARTS:]) if packed[PARTS:] else None
        return FoundParent(id, conversation, unpack(packed), client, end, packed)

    def _read_continued(self, owner: bytes, id: bytes, anchor: bytes, read: ReadPrompts) -> FoundParent | None:
        """Return the conversation ``id`` at the exchange that the request continues, ``None`` if it continues none.

        That is the latest exchange whose messages it repeats, or else the latest one with ``anchor``."""
        if (found := self._read_parent(owner, id)) is None or not may_continue(found.own, read.own):
            return None
        after = found.prompt.end - found.end.position
        if continues(found.own, read.own, after):
            return found
        before, new = found.own, read.own
        if read.client_prompt is not None:
            if continues(found.prompt, read.prompt, after):
                return found
            before, new = max(((before, new), (found.prompt, read.prompt)), key=lambda pair: shared_blocks(*pair))
        end = self._find_end(found, anchor, before, new)
        return None if end is None else structs.replace(found, end=end)

    def _find_end(
        self, found: FoundParent, anchor: bytes, before: PromptDigest, new: PromptDigest
    ) -> ExchangeEnd | None:
        """Return the exchange of a conversation from which ``new`` branches off, or in which it changed a message.

        ``None`` if it is another conversation that has only equal blocks, such as a text that many begin with."""
        ends, start, shared = found.conversation.ends, found.prompt.history_start, shared_blocks(before, new)
        is_branch = shared >= opening_length(before)
        if is_branch and (end := next((one for one in reversed(ends) if one.position <= start + shared), None)):
            return end
        if not is_branch and not share_anchors(before, new, self.memory.key):
            return None
        if (end := next((one for one in reversed(ends) if one.anchor == anchor), None)) is not None or not is_branch:
            return end
        # The exchange is no longer known, but its conversation is.
        position, first = start + shared, ends[0]
        tokens = first.tokens * found.prompt.size_at(position) // max(1, found.prompt.size_at(first.position))
        return structs.replace(first, position=position, tokens=tokens)

    def _find_compacted(self, owner: bytes, session: str, prompt: PromptDigest) -> FoundParent | None:
        """Return the latest exchange of ``session`` with the same tools and system texts and twice the history."""
        for id in self.memory.conversations_at(owner, self.memory.digest("session", session)):
            found = self._read_parent(owner, id)
            if found is None or 2 * prompt.history_size > found.conversation.size:
                continue
            before = found.own
            if _are_equal(before.tools, prompt.tools) and _are_equal(before.system, prompt.system):
                return structs.replace(found, is_compacted=True)
        return None

    def _find_similar(self, owner: bytes, sent: SentRequest, own: PromptDigest) -> FoundParent | None:
        """Return the one-shot request whose tools and system texts differ least; ``None`` if those are equal.

        A changed part of them breaks the prefix of every request, although no conversation continues (C6)."""
        similar: list[tuple[float, FoundParent]] = []
        for id in self.memory.conversations_at(owner, self.one_shot_anchor(sent)):
            found = self._read_parent(owner, id)
            if found is None or not found.end.tokens:
                continue
            share = _equal_front_share(found.own, own)
            if share == 1:
                return None
            if share >= _SIMILAR:
                similar.append((share, found))
        if len(similar) < _LEAST_SIMILAR:
            return None
        found = max(similar, key=lambda one: (one[0], one[1].end.sent))[1]
        prompt, end = found.prompt, found.end
        tokens = end.tokens * prompt.front_size // max(1, prompt.size)
        front = ExchangeEnd(end.anchor, prompt.history_start, end.sent, end.head, tokens)
        return structs.replace(found, end=front, is_similar=True)

    def one_shot_anchor(self, sent: SentRequest) -> bytes:
        """Return the anchor of the client's one-shot requests for the same model and account."""
        return self.memory.digest("one-shot", sent.account, sent.requested_model)


def may_continue(before: PromptDigest, new: PromptDigest) -> bool:
    """Return whether ``new`` may be a turn after ``before``.

    A first request with other tools or system texts begins a conversation, although its message may be equal."""
    return new.has_answer or _equal_front_share(before, new) >= _SIMILAR


def share_anchors(before: PromptDigest, new: PromptDigest, key: bytes) -> bool:
    """Return whether two prompts without a common beginning have messages by which they belong together.

    A client may change its first message, or drop its oldest ones. Results of tools have unique ids, but in Gemini."""
    known = {one.digest: one.position for one in each_anchor(before, key)}
    shared = [known[one.digest] for one in each_anchor(new, key) if one.digest in known]
    has_ids = before.api != "gemini" and any(before.kinds[position - 1] == _RESULT for position in shared)
    return has_ids or len(shared) >= _LEAST_ANCHORS


def is_one_shot(prompt: PromptDigest) -> bool:
    """Return whether a request is no turn of a conversation, but has a long prefix that others may repeat."""
    return not prompt.has_answer and prompt.front_size >= _LEAST_FRONT


def _equal_front_share(old: PromptDigest, new: PromptDigest) -> float:
    """Return the share of the bytes of the tools and system texts of ``new`` that ``old`` has as well."""
    known = {old.tools.strict(number) for number in range(old.tools.length)}
    equal: float = sum(new.tools.size(at) for at in range(new.tools.length) if new.tools.strict(at) in known)
    if equal == new.tools.sizes[-1] and old.section_digests[:2] == new.section_digests[:2]:
        return 1.0
    for number in range(min(old.system.length, new.system.length)):
        size, chunks, others = new.system.size(number), old.system.chunks.get(number), new.system.chunks.get(number)
        if old.system.strict(number) == new.system.strict(number):
            equal += size
        elif chunks is not None and others is not None:
            equal += size * equal_share(chunks, others)
    return min(equal / max(1, new.front_size), 0.999)


def _shared_prefix(old: PromptDigest, new: PromptDigest) -> tuple[int, bool]:
    """Return the number of equal blocks of both histories, and whether their tools and system texts are equal."""
    return shared_blocks(old, new), old.section_digests[:2] == new.section_digests[:2]


def _are_equal(blocks: PackedBlocks, others: PackedBlocks) -> bool:
    return blocks.cumulative[-1] == others.cumulative[-1]
