"""Finder of the exchange that a request continues, among the conversations in memory."""

from itertools import chain, islice
from typing import Final

from msgspec import structs

from gateway.features.prompt_caches.chunks import equal_share
from gateway.features.prompt_caches.conversations import ExchangeEnd, Parent
from gateway.features.prompt_caches.memory import PromptMemory
from gateway.features.prompt_caches.positions import continues, each_anchor, opening_length, shared_blocks
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.requests import ReadPrompts, SentRequest
from gateway.features.prompt_caches.rows import ROW, strict_at, total_at

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

    def find(self, sent: SentRequest, read: ReadPrompts) -> Parent | None:
        """Return the exchange that the request continues, if it is remembered."""
        owner, own = self.memory.owner_of(sent.client), read.own
        if read.earlier is not None:
            anchor = self.memory.response_anchor(read.earlier)
            ids = self.memory.conversations_at(owner, anchor)
            return self._read(owner, ids[0], response=anchor) if ids else None
        if (found := self._find_continued(owner, read, is_changed=False)) is not None:
            return found
        if own.has_answer and (found := self._find_continued(owner, read, is_changed=True)) is not None:
            return found
        if sent.session is not None and (found := self._find_compacted(owner, sent.session, own)) is not None:
            return found
        return self._find_similar(owner, sent, own) if is_one_shot(own) else None

    def _find_continued(self, owner: bytes, read: ReadPrompts, *, is_changed: bool) -> Parent | None:
        """Return the exchange that the request continues, or if ``is_changed`` one whose first messages it changed."""
        own, key = read.own, self.memory.key
        # A stored turn has another form than the client's.
        of_sent = () if read.client_prompt is None else each_anchor(read.prompt, key)
        earlier_ones = islice(each_anchor(own, key), len(read.anchors), None)
        seen, best = set[bytes](), None
        for one in chain(read.anchors, earlier_ones, of_sent):
            found = list[Parent]()
            for id in self.memory.conversations_at(owner, one.digest)[:_MOST_CANDIDATES]:
                if id in seen:
                    continue
                if not is_changed:  # its exchanges are found by their own anchors
                    seen.add(id)
                if (known := self._read(owner, id)) is None or not _may_continue(known.own, own):
                    continue
                end = self._changed_end(known, one.digest, own) if is_changed else _end_of(known, one.digest, read)
                if end is not None:
                    found.append(known if end is known.end else structs.replace(known, end=end))
            if not found:
                continue
            parent = found[0] if len(found) == 1 else max(found, key=lambda each: _rank(each, own))
            if _have_equal_fronts(parent.own, own):
                return parent
            best = best or parent  # perhaps a parallel conversation with the same messages has these tools
        return best

    def _read(self, owner: bytes, id: bytes, response: bytes | None = None) -> Parent | None:
        """Return the conversation ``id`` at its exchange with ``response``, by default at the latest one."""
        if (known := self.memory.conversations.read_whole(owner, id)) is None:
            return None
        end = next((one for one in reversed(known[0].ends) if response in (None, one.response)), None)
        return None if end is None else Parent(id, *known, end)

    def _changed_end(self, known: Parent, anchor: bytes, own: PromptDigest) -> ExchangeEnd | None:
        """Return the exchange with ``anchor`` of a conversation that shares messages with the request, but not the
        first ones: a client may change its first message, or drop its oldest ones."""
        end = next((one for one in reversed(known.conversation.ends) if one.anchor == anchor), None)
        if end is None:
            return None
        anchors = {one.digest for one in each_anchor(known.own, self.memory.key)}
        shared = anchors.intersection([one.digest for one in each_anchor(own, self.memory.key)])
        return end if len(shared) >= _LEAST_ANCHORS else None

    def _find_compacted(self, owner: bytes, session: str, prompt: PromptDigest) -> Parent | None:
        """Return the latest exchange of ``session`` with the same tools and system texts and twice the history."""
        for id in self.memory.conversations_at(owner, self.memory.digest("session", session)):
            found = self._read(owner, id)
            if found is None or 2 * prompt.history_size > found.conversation.size:
                continue
            if _have_equal_fronts(found.own, prompt):
                return structs.replace(found, is_compacted=True)
        return None

    def _find_similar(self, owner: bytes, sent: SentRequest, own: PromptDigest) -> Parent | None:
        """Return the one-shot request whose tools and system texts differ least; ``None`` if those are equal.

        A changed part of them breaks the prefix of every request, although no conversation continues."""
        similar: list[tuple[float, Parent]] = []
        for id in self.memory.conversations_at(owner, self.one_shot_anchor(sent)):
            found = self._read(owner, id)
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


def _end_of(known: Parent, anchor: bytes, read: ReadPrompts) -> ExchangeEnd | None:
    """Return the exchange of a conversation that the request continues, ``None`` if it continues none.

    That is the latest exchange whose messages it repeats, or else the one from which it branches off, or in which it
    changed a message. If the exchange is no longer known, its tokens are estimated."""
    after = known.prompt.end - known.end.position
    pairs = [(known.own, read.own)] if read.client_prompt is None else [
        (known.own, read.own), (known.prompt, read.prompt)
    ]  # fmt: skip
    if any(continues(before, new, after) for before, new in pairs):
        return known.end
    before, new = max(pairs, key=lambda pair: shared_blocks(*pair))
    if (shared := shared_blocks(before, new)) < opening_length(before):
        return None
    ends, until, prompt = known.conversation.ends, known.prompt.history_start + shared, known.prompt
    for one in reversed(ends):
        if one.position <= until or one.anchor == anchor:
            return one
    tokens = ends[0].tokens * prompt.size_at(until) // max(1, prompt.size_at(ends[0].position))
    return structs.replace(ends[0], position=until, tokens=tokens)


def _may_continue(before: PromptDigest, new: PromptDigest) -> bool:
    """Return whether ``new`` may be a turn after ``before``.

    A first request with other tools or system texts begins a conversation, although its message may be equal."""
    return new.has_answer or _equal_front_share(before, new) >= _SIMILAR


def is_one_shot(prompt: PromptDigest) -> bool:
    """Return whether a request is no turn of a conversation, but has a long prefix that others may repeat."""
    return not prompt.has_answer and prompt.front_size >= _LEAST_FRONT


def _equal_front_share(old: PromptDigest, new: PromptDigest) -> float:
    """Return the share of the bytes of the tools and system texts of ``new`` that ``old`` has as well."""
    if _have_equal_fronts(old, new):
        return 1.0
    known = {strict_at(old.tools, number) for number in range(old.tool_count)}
    equal = sum([_size(new.tools, at) for at in range(new.tool_count) if strict_at(new.tools, at) in known], 0.0)
    for number in range(min(len(old.system), len(new.system)) // ROW):
        chunks, others = old.chunks.get(number), new.chunks.get(number)
        if strict_at(old.system, number) == strict_at(new.system, number):
            equal += _size(new.system, number)
        elif chunks is not None and others is not None:
            equal += _size(new.system, number) * equal_share(chunks, others)
    return min(equal / max(1, new.front_size), 0.999)


def _size(rows: bytes, number: int) -> int:
    return total_at(rows, number + 1) - total_at(rows, number)


def _rank(found: Parent, own: PromptDigest) -> tuple[bool, int, float]:
    """Return the rank of a parent among others: the longest common prefix decides, then the latest."""
    return _have_equal_fronts(found.own, own), shared_blocks(found.own, own), found.end.sent


def _have_equal_fronts(old: PromptDigest, new: PromptDigest) -> bool:
    """Return whether both prompts have the same tools and system texts."""
    return old.ends[:2] == new.ends[:2]
