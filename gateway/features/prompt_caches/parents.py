"""Finder of the exchange that a request continues, among the conversations in memory."""

from itertools import chain, islice
from typing import Final

from msgspec import structs

from gateway.features.prompt_caches.digests import equal_share
from gateway.features.prompt_caches.earlier_responses import continued_response
from gateway.features.prompt_caches.followed import FoundParent, ReadPrompts, SentRequest
from gateway.features.prompt_caches.memory import (
    ANCHOR_BYTES,
    ExchangeEnd,
    PromptMemory,
)
from gateway.features.prompt_caches.packing import PARTS, unpack
from gateway.features.prompt_caches.positions import continues, each_anchor, opening_length, shared_blocks
from gateway.features.prompt_caches.prompts import PromptDigest

_MOST_CANDIDATES: Final = 4

_LEAST_FRONT: Final = 2_000
"""Bytes of tools and system texts below which no 2,000 tokens can be missed, the least miss with a cause."""

_SIMILAR: Final = 0.9
"""The share of the bytes of tools and system texts by which one-shot requests belong together."""

_LEAST_SIMILAR: Final = 2
"""Earlier one-shot requests of the same kind from which on the next one has a parent."""

_LEAST_ANCHORS: Final = 2
"""Equal anchors by which a request continues a conversation whose first message it has not, or has changed."""


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
        if (found := self._find_continued(owner, read, is_changed=False)) is not None:
            return found
        own = read.own
        if own.has_answer and (found := self._find_continued(owner, read, is_changed=True)) is not None:
            return found
        if sent.session is not None and (found := self._find_compacted(owner, sent.session, own)) is not None:
            return found
        return self._find_similar(owner, sent, own) if is_one_shot(own) else None

    def _find_continued(self, owner: bytes, read: ReadPrompts, *, is_changed: bool) -> FoundParent | None:
        """Return the exchange that the request continues, or if ``is_changed`` one whose first messages it changed."""
        own, key = read.own, self.memory.key
        # A stored turn has another form than the client's.
        of_sent = () if read.client_prompt is None else each_anchor(read.prompt, key)
        earlier_ones = islice(each_anchor(own, key), len(read.anchors), None)
        seen, best = set[bytes](), None
        for one in chain(read.anchors, earlier_ones, of_sent):
            short, found = one.digest[:ANCHOR_BYTES], list[FoundParent]()
            for id in self.memory.conversations_at(owner, one.digest)[:_MOST_CANDIDATES]:
                if id in seen:
                    continue
                if not is_changed:  # its exchanges are found by their own anchors
                    seen.add(id)
                if (candidate := self._read_continued(owner, id, short, read, is_changed=is_changed)) is not None:
                    found.append(candidate)
            if not found:
                continue
            parent = found[0]
            if len(found) > 1:
                parent = max(found, key=lambda each: _rank(each, own))
            if _have_equal_fronts(parent.own, own):
                return parent
            best = best or parent  # perhaps a parallel conversation with the same messages has these tools
        return best

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

    def _read_continued(
        self, owner: bytes, id: bytes, anchor: bytes, read: ReadPrompts, *, is_changed: bool
    ) -> FoundParent | None:
        """Return the conversation ``id`` at the exchange that the request continues, ``None`` if it continues none.

        That is the latest exchange whose messages it repeats, or else the latest one with ``anchor``."""
        if (found := self._read_parent(owner, id)) is None or not may_continue(found.own, read.own):
            return None
        if is_changed:
            end = next((one for one in reversed(found.conversation.ends) if one.anchor == anchor), None)
            is_same = end is not None and share_anchors(found.own, read.own, self.memory.key)
            return structs.replace(found, end=end) if is_same else None
        after = found.prompt.end - found.end.position
        if continues(found.own, read.own, after):
            return found
        before, new = found.own, read.own
        if read.client_prompt is not None:
            if continues(found.prompt, read.prompt, after):
                return found
            before, new = max(((before, new), (found.prompt, read.prompt)), key=lambda pair: shared_blocks(*pair))
        shared = shared_blocks(before, new)
        if shared < opening_length(before):
            return None
        return structs.replace(found, end=_branching_end(found, anchor, found.prompt.history_start + shared))

    def _find_compacted(self, owner: bytes, session: str, prompt: PromptDigest) -> FoundParent | None:
        """Return the latest exchange of ``session`` with the same tools and system texts and twice the history."""
        for id in self.memory.conversations_at(owner, self.memory.digest("session", session)):
            found = self._read_parent(owner, id)
            if found is None or 2 * prompt.history_size > found.conversation.size:
                continue
            if _have_equal_fronts(found.own, prompt):
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


def _branching_end(found: FoundParent, anchor: bytes, until: int) -> ExchangeEnd:
    """Return the exchange of a conversation from which a request branches off, or in which it changed a message.

    The prompts are equal up to the position ``until``. If the exchange is no longer known, its tokens are estimated."""
    ends = found.conversation.ends
    for one in reversed(ends):
        if one.position <= until or one.anchor == anchor:
            return one
    tokens = ends[0].tokens * found.prompt.size_at(until) // max(1, found.prompt.size_at(ends[0].position))
    return structs.replace(ends[0], position=until, tokens=tokens)


def may_continue(before: PromptDigest, new: PromptDigest) -> bool:
    """Return whether ``new`` may be a turn after ``before``.

    A first request with other tools or system texts begins a conversation, although its message may be equal."""
    return new.has_answer or _equal_front_share(before, new) >= _SIMILAR


def share_anchors(before: PromptDigest, new: PromptDigest, key: bytes) -> bool:
    """Return whether two prompts without a common beginning have messages by which they belong together.

    A client may change its first message, or drop its oldest ones."""
    known = {one.digest for one in each_anchor(before, key)}
    return len(known.intersection([one.digest for one in each_anchor(new, key)])) >= _LEAST_ANCHORS


def is_one_shot(prompt: PromptDigest) -> bool:
    """Return whether a request is no turn of a conversation, but has a long prefix that others may repeat."""
    return not prompt.has_answer and prompt.front_size >= _LEAST_FRONT


def _equal_front_share(old: PromptDigest, new: PromptDigest) -> float:
    """Return the share of the bytes of the tools and system texts of ``new`` that ``old`` has as well."""
    known = {old.tools.strict(number) for number in range(old.tools.length)}
    equal: float = sum(new.tools.size(at) for at in range(new.tools.length) if new.tools.strict(at) in known)
    if equal == new.tools.sizes[-1] and _have_equal_fronts(old, new):
        return 1.0
    for number in range(min(old.system.length, new.system.length)):
        size, chunks, others = new.system.size(number), old.system.chunks.get(number), new.system.chunks.get(number)
        if old.system.strict(number) == new.system.strict(number):
            equal += size
        elif chunks is not None and others is not None:
            equal += size * equal_share(chunks, others)
    return min(equal / max(1, new.front_size), 0.999)


def _rank(found: FoundParent, own: PromptDigest) -> tuple[bool, int, float]:
    """Return the rank of a parent among others: the longest common prefix decides, then the latest."""
    return _have_equal_fronts(found.own, own), shared_blocks(found.own, own), found.end.sent


def _have_equal_fronts(old: PromptDigest, new: PromptDigest) -> bool:
    """Return whether both prompts have the same tools and system texts."""
    return old.section_digests[:2] == new.section_digests[:2]
