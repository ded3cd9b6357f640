"""Follows attempts: reads their prompts, finds the exchanges that they continue, and judges the provider's counts.

``PromptTracker.read`` and ``continue_from`` run in any thread. Everything else belongs to the thread of the event
loop."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Final, TypeAlias

import attrs
import msgspec

from gateway.prompt_caches.blocks import KnownParts, read_prompt, recognize
from gateway.prompt_caches.comparisons import PromptComparison
from gateway.prompt_caches.earlier_responses import compared_response, continued_response
from gateway.prompt_caches.followed import (
    FollowedAttempt,
    FollowedExchange,
    FoundParent,
    Members,
    ReadPrompts,
    SentRequest,
)
from gateway.prompt_caches.loss import CacheLoss, loss
from gateway.prompt_caches.memo import BlockMemo
from gateway.prompt_caches.memory import (
    MOST_BYTES,
    BoundaryNote,
    ExchangeEnd,
    KnownConversation,
    PackedPrompts,
    PromptMemory,
    RememberedHead,
    ScopeNote,
    StoredBoundary,
)
from gateway.prompt_caches.packed_blocks import PackedBlocks
from gateway.prompt_caches.packing import pack, unpack
from gateway.prompt_caches.positions import (
    continue_prompt,
    continue_unknown,
    each_anchor,
    first_anchor,
    lookup_positions,
    shared_blocks,
)
from gateway.prompt_caches.prompts import Anchor, PromptDigest
from gateway.prompt_caches.rates import RecentRequests
from gateway.prompt_caches.situations import Boundary, CacheScope, Parent, Situation
from gateway.prompt_caches.values import CacheVerdict, Prediction
from gateway.prompt_caches.verdicts import judge, predict
from gateway.prompt_caches.written_boundaries import boundaries_left, planned_boundaries
from gateway.shared.memory import SharedMemory
from providers.catalog.prices import Price
from providers.catalog.prompt_caching import CachingRow
from streams.events import Usage

_MOST_MEMOS: Final = 128
"""Clients whose messages are recognized without parsing them."""

_MOST_MEMO_BYTES: Final = 32 * 2**20
"""Bytes of digests by which they are recognized."""

_LARGE_MEMO: Final = _MOST_MEMO_BYTES // _MOST_MEMOS
"""Bytes of digests up to which the memo of each client may have them."""

_MOST_HASHED: Final = 2**20
"""Bytes that are hashed in the thread of the event loop, in less than a millisecond."""

_MOST_PROMPTS: Final = 256
"""Conversations whose prompts are not decoded again."""

_REFRESH: Final = 3_600.0
"""Seconds after which the anchors of a conversation are written again, so that they do not expire before it."""

_MOST_TARGETS: Final = 10_000
_MOST_CANDIDATES: Final = 4
_MOST_EDITS: Final = 4
_ID_BYTES: Final = 12
_MAX_ID: Final = 128
_ANCHOR_BYTES: Final = 8

_NO_ROW: Final = CachingRow()
_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


Prompts: TypeAlias = tuple[PromptDigest, PromptDigest | None]
"""The prompt as sent, and as the client wrote it if that differs."""


class PromptTracker:
    """The follower of all attempts of a process, which remembers prompts in ``memory``."""

    def __init__(self, memory: PromptMemory) -> None:
        self.memory = memory
        self._memos: OrderedDict[str, tuple[BlockMemo, threading.Lock]] = OrderedDict()
        self._memos_lock = threading.Lock()
        self._reporting: set[bytes] = set()
        self._recent = RecentRequests(memory.clock)
        self._prompts: OrderedDict[bytes, tuple[bytes, Prompts | PackedPrompts | None]] = OrderedDict()

    # Reading

    def recognize(self, sent: SentRequest) -> KnownParts | None:
        """Return the parts of a request that were read before. The others may take much longer to read.

        This hashes at most a mebibyte of each part, which takes less time than a switch to a thread."""
        if isinstance(sent.body, bytes) or sent.client_members is not None:
            return None
        with self._free_memo(sent.client) as memo:
            return None if memo is None else recognize(sent.api, sent.body, sent.row, memo, _MOST_HASHED)

    def read(self, sent: SentRequest, known: KnownParts | None = None) -> ReadPrompts | None:
        """Return the prompts of a request, ``None`` if it has none. ``known`` are the parts that were recognized."""
        with self._free_memo(sent.client) as memo:
            return self._read(sent, memo, known)

    @contextmanager
    def _free_memo(self, client: str) -> Iterator[BlockMemo | None]:
        """Yield the memo of a client, ``None`` if another thread uses it."""
        memo, lock = self._memo(client)
        is_free = lock.acquire(blocking=False)
        try:
            yield memo if is_free else None
        finally:
            if is_free:
                lock.release()

    def continue_from(self, parent: FoundParent | None, read: ReadPrompts) -> ReadPrompts:
        """Return the prompts of a request whose provider adds the earlier turns of ``parent``, or unknown ones."""
        if parent is not None:
            prompt = continue_prompt(parent.prompt, read.prompt, self.memory.key)
        else:
            earlier = self._response_anchor(continued_response(read.members) or "")
            prompt = continue_unknown(earlier, read.prompt, self.memory.key)
        return self._plan(read.row, (read.members, read.client_members), prompt, None, read.key_headers)

    def _memo(self, client: str) -> tuple[BlockMemo, threading.Lock]:
        with self._memos_lock:
            found = self._memos.pop(client, None) or (BlockMemo(), threading.Lock())
            self._memos[client] = found
            size = sum(memo.size for memo, _ in self._memos.values()) if found[0].size > _LARGE_MEMO else 0
            while len(self._memos) > _MOST_MEMOS or size > _MOST_MEMO_BYTES:
                size -= self._memos.popitem(last=False)[1][0].size
        return found

    def _read(self, sent: SentRequest, memo: BlockMemo | None, known: KnownParts | None) -> ReadPrompts | None:
        key, row = self.memory.key, sent.row
        members = _MEMBERS.decode(sent.body) if isinstance(sent.body, bytes) else sent.body
        prompt = read_prompt(sent.api, members, row, key, headers=sent.headers, memo=memo, known=known)
        if prompt is None:
            return None
        client_prompt, client_members = None, members
        if sent.client_members is not None:
            client_members = sent.client_members()
            client_prompt = read_prompt(sent.client_api, client_members, row, key, memo=memo)
        return self._plan(row, (members, client_members), prompt, client_prompt, sent.key_headers)

    def _plan(
        self,
        row: CachingRow | None,
        members: tuple[Members, Members],
        prompt: PromptDigest,
        client_prompt: PromptDigest | None,
        key_headers: tuple[str | None, ...],
    ) -> ReadPrompts:
        return ReadPrompts(
            row,
            *members,
            prompt,
            client_prompt,
            next(each_anchor(client_prompt or prompt, self.memory.key), None),
            planned_boundaries(prompt, row),
            prompt.prefix(prompt.history_start) or b"",
            _pack(prompt, client_prompt),
            key_headers,
        )

    # When it was sent

    def find_parent(self, sent: SentRequest, read: ReadPrompts) -> FoundParent | None:
        """Return the exchange that the request continues, if it is remembered."""
        owner = self.memory.owner_of(sent.client)
        if (earlier := continued_response(read.members)) is not None:
            anchor = self._response_anchor(earlier)
            ids = self.memory.conversations_at(owner, anchor)
            return self._read_parent(owner, ids[0], anchor[:_ANCHOR_BYTES]) if ids else None
        own, key = read.own, self.memory.key
        # A stored turn has another form than the client's.
        of_sent = () if read.client_prompt is None else each_anchor(read.prompt, key)
        for one in chain(each_anchor(own, key), of_sent):
            short = one.digest[:_ANCHOR_BYTES]
            ids = self.memory.conversations_at(owner, one.digest)[:_MOST_CANDIDATES]
            candidates = [found for id in ids if (found := self._read_parent(owner, id, short, own)) is not None]
            if len(candidates) > 1:
                return max(candidates, key=lambda found: (shared_blocks(found.own, own), found.end.sent))
            if candidates:
                return candidates[0]
        return None if sent.session is None else self._find_compacted(owner, sent.session, own, own.history_size)

    def continues(self, read: ReadPrompts) -> bool:
        """Return whether the provider adds earlier turns to the request."""
        return continued_response(read.members) is not None

    def open_exchange(self, sent: SentRequest, parent: FoundParent | None) -> FollowedExchange:
        """Return the exchange of a first attempt."""
        return FollowedExchange(self.memory.owner_of(sent.client), parent)

    def follow(self, sent: SentRequest, read: ReadPrompts, exchange: FollowedExchange) -> FollowedAttempt:
        """Return the attempt, and remember its prompt."""
        scope, row = self._scope(sent, read), read.row
        rate = 0 if row is None or row.rate is None else self._recent.count(scope.digest + read.stable)
        attempt = self._attempt(sent, read, exchange, scope, rate)
        if read.packed is not None and (read.anchor is not None or self.continues(read)):
            self._remember(attempt, sent, read, read.anchor, read.packed)
        return attempt

    def readable_at(self, sent: SentRequest, read: ReadPrompts, parent: FoundParent | None) -> int:
        """Return the tokens that the cache of a target would serve if ``sent`` went there. Remembers nothing."""
        one = self._attempt(sent, read, self.open_exchange(sent, parent), self._scope(sent, read), 0)
        if not one.found:
            return 0
        return self.compare(one).readable

    def compare(self, one: FollowedAttempt) -> PromptComparison:
        """Return the attempt compared with its parent."""
        before = self._parent(one)
        return PromptComparison(one.prompt, one.client_prompt, before, one.found, one.row, one.situation)

    def _attempt(
        self, sent: SentRequest, read: ReadPrompts, exchange: FollowedExchange, scope: CacheScope, rate: int
    ) -> FollowedAttempt:
        row, parent = read.row, exchange.parent
        situation = Situation(
            scope,
            sent.sent,
            (row is not None and row.reports != "flag") or sent.account in self._reporting,
            sent.move,
            sent.edits,
            is_compacted=parent is not None and parent.is_compacted,
            rate=rate,
        )
        found = self._find_boundaries(exchange, read, scope.digest, sent.sent)
        compared = compared_response(read.members)
        return FollowedAttempt(
            exchange, row, read.prompt, read.client_prompt, situation, sent.account, read.boundaries, read.packed,
            found, compared_with=b"" if compared is None else self._response_anchor(compared)[:_ANCHOR_BYTES],
            is_diagnosed=sent.is_diagnosed,
        )  # fmt: skip

    def _response_anchor(self, id: str) -> bytes:
        """Return the anchor by which later requests find a response."""
        return self.memory.digest("response", id)

    def _scope(self, sent: SentRequest, read: ReadPrompts) -> CacheScope:
        """Return what separates caches for the request."""
        digest, row, own = self.memory.digest, read.row, read.client_members
        key = None if row is None else row.key_member
        separate = None if row is None or key is None or not row.key_separates else _member(read.members, sent, key)
        salt, tier = read.members.get("cache_salt"), read.members.get("service_tier")
        return CacheScope(
            digest(sent.account, separate, _bytes(salt), _bytes(tier)),
            sent.target,
            model=digest(sent.requested_model),
            key=digest(_member(own, sent, key or "prompt_cache_key")),
            tier=digest(_bytes(own.get("service_tier"))),
        )

    def _read_parent(
        self, owner: bytes, id: bytes, anchor: bytes | None, own: PromptDigest | None = None
    ) -> FoundParent | None:
        """Return the conversation ``id``, at its latest exchange, or the latest that ended with ``anchor``.

        If none ended there, ``own`` decides: the exchange is the latest one whose history it repeats."""
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

    def _write(self, owner: bytes, id: bytes, conversation: KnownConversation, packed: PackedPrompts) -> None:
        head = self.memory.write(owner, id, conversation, packed)
        self._prompts.pop(owner + id, None)
        self._keep_prompts(owner + id, head.checks, packed)

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

    def _find_boundaries(
        self, exchange: FollowedExchange, read: ReadPrompts, scope: bytes, sent: float
    ) -> tuple[Boundary, ...]:
        """Return the client's boundaries in ``scope`` where the provider searches, down to the first live one.

        In a known conversation only those positions are tried where its exchanges left a boundary."""
        positions, row = lookup_positions(read.prompt, read.row), read.row or _NO_ROW
        if (parent := exchange.parent) is not None:
            known = {note.position for note in parent.conversation.boundaries}
            known |= {read.prompt.tools.length, read.prompt.history_start}
            positions = tuple(sorted(known.intersection(positions), reverse=True))
        found: list[Boundary] = []
        for position in positions:
            if (prefix := read.prompt.prefix(position)) is None:
                continue
            if (one := self.memory.read_boundary(exchange.owner, scope, prefix)) is None:
                continue
            found.append(Boundary(position, one.tokens, one.used, one.readable_from, one.ttl, one.is_exact))
            if found[-1].is_alive(sent, row) and one.tokens >= (row.minimum or 0):
                break
        return tuple(found)

    def _remember(
        self,
        attempt: FollowedAttempt,
        sent: SentRequest,
        read: ReadPrompts,
        anchor: Anchor | None,
        packed: PackedPrompts,
    ) -> None:
        """Remember the attempt's prompt: in place of its parent's, or as another branch.

        Without an ``anchor``, only requests that continue its response find it."""
        exchange, memory, parent = attempt.exchange, self.memory, attempt.exchange.parent
        before = None if parent is None or parent.is_compacted else parent
        if exchange.id is None:
            exchange.id = before.id if before is not None and before.is_latest else os.urandom(_ID_BYTES)
            exchange.sent = sent.sent
        short = b"" if anchor is None else anchor.digest[:_ANCHOR_BYTES]
        ends = [ExchangeEnd(short, attempt.prompt.end, exchange.sent)]
        boundaries: list[BoundaryNote] = []
        ttls = [one.ttl for one in read.boundaries if one.ttl is not None]
        if before is not None:
            known, until = before.conversation, before.end
            ends[:0] = [one for one in known.ends if one.sent <= until.sent]
            boundaries = [one for one in known.boundaries if one.position <= until.position]
            ttls += [] if known.longest_ttl is None else [known.longest_ttl]
        conversation = KnownConversation(
            ScopeNote.of(attempt.situation.scope),
            ends,
            boundaries,
            sent.edits[:_MOST_EDITS],
            max(ttls) if ttls else None,
            read.own.history_size,
        )
        self._write(exchange.owner, exchange.id, conversation, packed)
        exchange.writer = attempt
        named = [] if anchor is None else [anchor.digest]
        if read.client_prompt is not None:
            named += [one.digest for one in islice(each_anchor(read.prompt, memory.key), 1)]
        if before is None or before.id != exchange.id or before.end.sent // _REFRESH != sent.sent // _REFRESH:
            first = first_anchor(read.own, memory.key)
            named += [] if first is None else [first.digest]
        for one in dict.fromkeys(named):
            memory.add_anchor(exchange.owner, one, exchange.id)
        if sent.session is not None:
            memory.add_anchor(exchange.owner, memory.digest("session", sent.session), exchange.id)

    def forget(self, exchange: FollowedExchange) -> None:
        """Restore the memory from before an exchange that failed: it left nothing in a cache."""
        if exchange.id is None:
            return
        if (parent := exchange.parent) is not None and parent.id == exchange.id:
            if (packed := _pack(parent.prompt, parent.client_prompt)) is not None:
                self._write(exchange.owner, parent.id, parent.conversation, packed)
        else:
            self.memory.remove(exchange.owner, exchange.id)

    # When its response begins and ends

    def note_head(self, attempt: FollowedAttempt, at: float) -> None:
        """Note that a successful response began at ``at``."""
        attempt.head = at

        def change(conversation: KnownConversation) -> None:
            if (end := conversation.end_of(attempt.exchange.sent)) is not None:
                end.head = at

        if attempt.exchange.id is not None:
            self.memory.update(attempt.exchange.owner, attempt.exchange.id, change)

    def predict(self, attempt: FollowedAttempt) -> Prediction:
        """Return the part of the verdict that is known before the response ends."""
        parent = self._parent(attempt)
        return predict(attempt.prompt, attempt.client_prompt, parent, attempt.found, attempt.row, attempt.situation)

    def judge(self, attempt: FollowedAttempt, usage: Usage | None) -> CacheVerdict:
        """Return the verdict for the provider's ``usage``."""
        if attempt.verdict is None or attempt.usage != usage:
            parent, situation = self._parent(attempt), attempt.situation
            if usage is not None and (diagnosis := usage.cache_diagnosis) is not None:
                compares = parent is not None and bool(parent.response) and parent.response == attempt.compared_with
                situation = attrs.evolve(situation, diagnosis=diagnosis, diagnoses_parent=compares)
            attempt.verdict = judge(
                attempt.prompt, attempt.client_prompt, parent, attempt.found, attempt.row, situation, usage
            )
            attempt.usage = usage
        return attempt.verdict

    def settle(
        self, attempt: FollowedAttempt, usage: Usage | None, price: Price | None, response_id: str | None
    ) -> tuple[CacheVerdict, CacheLoss | None]:
        """Return the verdict and its loss at the end of an attempt, and remember the boundaries that it left.

        ``response_id`` is the id by which later requests may continue the response."""
        verdict = self.judge(attempt, usage)
        if usage is not None and usage.cache_read and len(self._reporting) < _MOST_TARGETS:
            self._reporting.add(attempt.account)
        if attempt.head is not None:
            self._leave_boundaries(attempt, usage, response_id)
        if usage is None or not verdict.causes:
            return verdict, None
        return verdict, loss(verdict, usage, price)

    def _leave_boundaries(self, attempt: FollowedAttempt, usage: Usage | None, response_id: str | None) -> None:
        exchange, sent, scope = attempt.exchange, attempt.situation.sent, attempt.situation.scope
        left = boundaries_left(attempt.planned, attempt.prompt, attempt.row, usage)
        for one, tokens, is_exact in left:
            stored = StoredBoundary(tokens, sent, attempt.head, one.ttl, is_exact)
            self.memory.write_boundary(exchange.owner, scope.digest, one.prefix, stored)
        if exchange.id is None:
            return
        response = b""
        if response_id:
            anchor = self._response_anchor(response_id)
            response = anchor[:_ANCHOR_BYTES]
            self.memory.add_anchor(exchange.owner, anchor, exchange.id)
        notes = [
            BoundaryNote(sent, one.position, tokens, sent, attempt.head, one.ttl, is_exact)
            for one, tokens, is_exact in left
        ]

        def change(conversation: KnownConversation) -> None:
            if (end := conversation.end_of(exchange.sent)) is not None:
                end.tokens, end.response, end.head = 0 if usage is None else usage.prompt, response, attempt.head
                latest = {note.position: note for note in (*conversation.boundaries, *notes)}
                conversation.boundaries = sorted(latest.values(), key=lambda note: note.sent)
                if attempt.is_diagnosed and end is conversation.ends[-1]:
                    conversation.response_id = response_id if response_id and len(response_id) <= _MAX_ID else ""

        self._write_of_winner(attempt)
        self.memory.update(exchange.owner, exchange.id, change)

    def _write_of_winner(self, attempt: FollowedAttempt) -> None:
        """Write the prompt of the attempt that succeeded, if another attempt of its exchange was sent later."""
        exchange = attempt.exchange
        if exchange.writer is attempt or exchange.id is None or attempt.packed is None:
            return
        conversation = self.memory.read(exchange.owner, exchange.id)
        if conversation is not None and conversation.end_of(exchange.sent) is conversation.ends[-1]:
            conversation.scope = ScopeNote.of(attempt.situation.scope)
            self._write(exchange.owner, exchange.id, conversation, attempt.packed)
            exchange.writer = attempt

    def _parent(self, attempt: FollowedAttempt) -> Parent | None:
        """Return the parent with its latest numbers. It may have been running when the attempt was sent."""
        found = attempt.exchange.parent
        if found is None:
            return None
        known, conversation, end = found.conversation, found.conversation, found.end
        if not end.tokens:
            now = self.memory.read(attempt.exchange.owner, found.id)
            later = None if now is None else now.end_of(end.sent)
            if now is not None and later is not None:
                conversation, end = now, later
        return Parent(
            found.prompt,
            known.scope.scope(),
            end.position,
            end.tokens,
            conversation.boundaries_until(end.position),
            found.client_prompt,
            end.sent,
            end.head,
            known.edits,
            known.longest_ttl,
            end.response,
        )


def open_tracker(size: int, memory: SharedMemory | None) -> PromptTracker:
    """Return a tracker with ``size`` bytes of the workers' ``memory``, or of memory of this process alone."""
    return PromptTracker(PromptMemory.make_private(size) if memory is None else PromptMemory(memory, size))


def _pack(prompt: PromptDigest, client_prompt: PromptDigest | None) -> PackedPrompts | None:
    """Return both prompts for the memory, ``None`` if they do not fit."""
    if client_prompt is None:
        sent = pack(prompt, MOST_BYTES)
        return PackedPrompts(sent) if sent else None
    sent, client = pack(prompt, MOST_BYTES // 2), pack(client_prompt, MOST_BYTES // 2)
    return PackedPrompts(sent, client) if sent and client else None


def _same(one: PackedBlocks, other: PackedBlocks) -> bool:
    return one.cumulative[-1] == other.cumulative[-1]


def _member(members: Mapping[str, msgspec.Raw], sent: SentRequest, name: str) -> bytes | str | None:
    """Return the member ``name`` of a request, or the header of that name."""
    return sent.headers.get(name) if (raw := members.get(name)) is None else bytes(raw)


def _bytes(raw: msgspec.Raw | None) -> bytes | None:
    return None if raw is None else bytes(raw)
