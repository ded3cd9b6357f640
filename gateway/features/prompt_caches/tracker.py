"""Follows attempts: remembers their prompts and the boundaries that they leave, and judges the provider's counts.

``PromptTracker.reader`` works in any thread. Everything else belongs to the thread of the event loop."""

import os
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

import msgspec
from msgspec import structs

from gateway.features.prompt_caches.comparisons import PromptComparison
from gateway.features.prompt_caches.earlier_responses import compared_response, continued_response
from gateway.features.prompt_caches.followed import (
    HEADER,
    FollowedAttempt,
    FollowedExchange,
    FoundParent,
    ReadPrompts,
    SentRequest,
)
from gateway.features.prompt_caches.loss import loss, write_premium
from gateway.features.prompt_caches.memory import (
    ANCHOR_BYTES,
    ExchangeEnd,
    KnownConversation,
    Packed,
    PromptMemory,
    StoredBoundary,
    merge_boundaries,
)
from gateway.features.prompt_caches.parents import ParentFinder, is_one_shot
from gateway.features.prompt_caches.positions import first_anchor, last_anchor, lookup_positions
from gateway.features.prompt_caches.prompt_reader import PromptReader
from gateway.features.prompt_caches.prompts import Anchor
from gateway.features.prompt_caches.rates import RecentRequests
from gateway.features.prompt_caches.situations import Boundary, CacheScope, Parent, Situation
from gateway.features.prompt_caches.tables.layouts import LAYOUTS
from gateway.features.prompt_caches.verdicts import judge, predict
from gateway.features.prompt_caches.written_boundaries import boundaries_left, is_covered, split_premium
from gateway.ledger.prompt_cache import CacheLoss, CacheVerdict
from gateway.shared.memory import SharedMemory
from providers.catalog.prices import Price
from providers.catalog.prompt_caching import CachingRow
from streams.events import Usage

_REFRESH: Final = 3_600.0
"""Seconds after which the anchors of a conversation are written again, so that they do not expire before it."""

_MOST_TARGETS: Final = 10_000
_MOST_SCOPES: Final = 256
_LONGEST_TARGET: Final = 100  # characters; the model of a wildcard comes from a client
_MOST_EDITS: Final = 4
_ID_BYTES: Final = 12
_MAX_ID: Final = 128

_NO_ROW: Final = CachingRow()


class PromptTracker:
    """Follows every attempt of a process, and compares its prompt with earlier ones in ``memory``."""

    def __init__(self, memory: PromptMemory) -> None:
        self.memory = memory
        self.reader = PromptReader(memory)
        self.parents = ParentFinder(memory)
        self._reporting: set[bytes] = set()
        self._recent = RecentRequests(memory.clock)
        self._chooses_targets = False
        self._scopes: dict[int, CacheScope] = {}

    # When it was sent

    def continues(self, read: ReadPrompts) -> bool:
        """Return whether the provider adds earlier turns to the request."""
        return continued_response(read.members) is not None

    def open_exchange(self, sent: SentRequest, parent: FoundParent | None) -> FollowedExchange:
        """Return the exchange of a first attempt."""
        return FollowedExchange(self.memory.owner_of(sent.client), parent)

    def follow(self, sent: SentRequest, read: ReadPrompts, exchange: FollowedExchange) -> FollowedAttempt:
        """Return the attempt, and remember its prompt."""
        scope, row = self._scope_of(sent, read), read.row
        rate = 0 if row is None or row.rate is None else self._recent.count(scope.digest + read.stable)
        attempt = self._attempt(sent, read, exchange, scope, rate)
        if read.packed is not None and (read.anchor is not None or self.continues(read)):
            self._remember(attempt, sent, read, read.anchor, read.packed)
        return attempt

    def readable_at(self, sent: SentRequest, read: ReadPrompts, parent: FoundParent | None) -> int:
        """Return the tokens that the cache of a target would serve if ``sent`` went there. Remembers no prompt.

        Only here, boundaries of other clients count. They are shared from the first call on."""
        self._chooses_targets = True
        attempt = self._attempt(
            sent, read, self.open_exchange(sent, parent), self._scope_of(sent, read), 0, is_choice=True
        )
        if not attempt.boundaries:
            return 0
        return self.compare(attempt).readable

    def compare(self, attempt: FollowedAttempt) -> PromptComparison:
        """Return the attempt compared with its parent."""
        parent = self._latest_parent(attempt)
        return PromptComparison(
            attempt.prompt, attempt.client_prompt, parent, attempt.boundaries, attempt.row, attempt.situation
        )

    def _attempt(
        self,
        sent: SentRequest,
        read: ReadPrompts,
        exchange: FollowedExchange,
        scope: CacheScope,
        rate: int,
        *,
        is_choice: bool = False,
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
        found = self._find_boundaries(exchange, read, scope.digest, sent.sent, is_choice=is_choice)
        compared = compared_response(read.members)
        return FollowedAttempt(
            exchange, row, read.prompt, read.client_prompt, situation, sent.account, read.boundaries, read.packed,
            found, compared_with=b"" if compared is None else self.memory.response_anchor(compared)[:ANCHOR_BYTES],
            is_diagnosed=sent.is_diagnosed, is_unkeyed=_is_unkeyed(sent, read),
        )  # fmt: skip

    def _scope_of(self, sent: SentRequest, read: ReadPrompts) -> CacheScope:
        """Return the facts that select the provider's cache for the request, such as its account and cache key."""
        row, own = read.row, read.client_members
        key = _cache_key_name(row)
        separate = (
            None if row is None or key is None or not row.key_separates else _member_or_header(read.members, sent, key)
        )
        salt, tier = read.members.get("cache_salt"), read.members.get("service_tier")
        facts = (
            sent.account, separate, _bytes_or_none(salt), _bytes_or_none(tier), sent.target,
            sent.requested_model, _member_or_header(own, sent, key or "prompt_cache_key"),
            _bytes_or_none(own.get("service_tier")),
        )  # fmt: skip
        if (known := self._scopes.get(name := hash(facts))) is None:
            if len(self._scopes) >= _MOST_SCOPES:
                self._scopes.clear()
            digest = self.memory.digest
            known = self._scopes[name] = CacheScope(
                digest(*facts[:4]), sent.target[:_LONGEST_TARGET], digest(facts[5]), digest(facts[6]), digest(facts[7])
            )
        return known

    def _find_boundaries(
        self, exchange: FollowedExchange, read: ReadPrompts, scope: bytes, sent: float, *, is_choice: bool
    ) -> tuple[Boundary, ...]:
        """Return the client's boundaries in ``scope`` where the provider searches, down to the first live one.

        In a known conversation only those positions are tried where its exchanges left a boundary. For the choice of
        a target, those of all clients count (C3)."""
        positions, row = lookup_positions(read.prompt, read.row), read.row or _NO_ROW
        if (parent := exchange.parent) is not None and not parent.is_similar:
            known = {one.position for one in parent.conversation.boundaries}
            known |= {read.prompt.tools.length, read.prompt.history_start}
            positions = tuple(sorted(known.intersection(positions), reverse=True))
        found: list[Boundary] = []
        for position in positions:
            if (prefix := read.prompt.prefix(position)) is None:
                continue
            one = self.memory.read_boundary(exchange.owner, scope, prefix)
            if is_choice:
                shared = self.memory.read_boundary(self.memory.sharers(scope), scope, prefix)
                one = merge_boundaries(one, shared)
            if one is None:
                continue
            is_unread = one.unread > 0
            found.append(Boundary(position, one.tokens, one.used, one.readable_from, one.ttl, one.is_exact, is_unread))
            if found[-1].is_alive(sent, row) and one.tokens >= (row.minimum or 0):
                break
        return tuple(found)

    def _remember(
        self,
        attempt: FollowedAttempt,
        sent: SentRequest,
        read: ReadPrompts,
        anchor: Anchor | None,
        packed: Packed,
    ) -> None:
        """Remember the attempt's prompt: in place of its parent's, or as another branch.

        Without an ``anchor``, only requests that continue its response find it."""
        exchange, memory, parent = attempt.exchange, self.memory, attempt.exchange.parent
        before = None if parent is None or parent.is_compacted or parent.is_similar else parent
        if exchange.id is None:
            exchange.id = before.id if before is not None and before.is_latest else os.urandom(_ID_BYTES)
            exchange.sent = sent.sent
        short = b"" if anchor is None else anchor.digest[:ANCHOR_BYTES]
        ends = [ExchangeEnd(short, read.until, exchange.sent)]
        boundaries: list[Boundary] = []
        ttls = [one.ttl for one in read.boundaries if one.ttl is not None]
        if before is not None:
            known, until = before.conversation, before.end
            earlier, boundaries = known.ends, [*known.boundaries]
            if not before.is_latest:
                earlier = [one for one in earlier if one.sent <= until.sent]
                boundaries = [one for one in boundaries if one.position <= until.position]
            # An exchange that still runs changes the end in the written conversation, but not the one of the parent.
            ends[:0] = [one if one.tokens else structs.replace(one) for one in earlier]
            ttls += [] if known.longest_ttl is None else [known.longest_ttl]
        conversation = KnownConversation(
            attempt.situation.scope,
            ends,
            boundaries,
            sent.edits[:_MOST_EDITS],
            max(ttls) if ttls else None,
            read.own.history_size,
        )
        memory.write(exchange.owner, exchange.id, conversation, packed)
        exchange.writer = attempt
        named = [one.digest for one in (anchor, read.other_anchor) if one is not None]
        if read.client_prompt is not None and (of_sent := last_anchor(read.prompt, memory.key, read.until)) is not None:
            named.append(of_sent.digest)
        is_due = before is None or before.id != exchange.id or before.end.sent // _REFRESH != sent.sent // _REFRESH
        if is_due:
            first = first_anchor(read.own, memory.key)
            named += [] if first is None else [first.digest]
        if before is None and is_one_shot(read.own):
            named.append(self.parents.one_shot_anchor(sent))
        for one in dict.fromkeys(named):
            memory.add_anchor(exchange.owner, one, exchange.id)
        if sent.session is not None:
            session = memory.digest("session", sent.session)
            if is_due or memory.conversations_at(exchange.owner, session)[:1] != (exchange.id,):
                memory.add_anchor(exchange.owner, session, exchange.id)

    def forget(self, exchange: FollowedExchange) -> None:
        """Restore the memory from before an exchange that failed: it left nothing in a cache."""
        if exchange.id is None:
            return
        if (parent := exchange.parent) is not None and parent.id == exchange.id:
            self.memory.write(exchange.owner, parent.id, parent.conversation, parent.packed)
        else:
            self.memory.remove(exchange.owner, exchange.id)

    # When its response begins and ends

    def note_head(self, attempt: FollowedAttempt, at: float, *, is_whole: bool = False) -> None:
        """Note that a successful response began at ``at``.

        The end of a response that ``is_whole`` follows soon, and other requests learn of its head from that."""
        attempt.head = at
        if is_whole:
            return

        def change(conversation: KnownConversation) -> None:
            if (end := conversation.end_of(attempt.exchange.sent)) is not None:
                end.head = at

        if attempt.exchange.id is not None:
            self.memory.update(attempt.exchange.owner, attempt.exchange.id, change)

    def predict(self, attempt: FollowedAttempt) -> CacheVerdict:
        """Return the part of the verdict that is known before the response ends."""
        return predict(self.compare(attempt))

    def judge(self, attempt: FollowedAttempt, usage: Usage | None) -> CacheVerdict:
        """Return the verdict for the provider's ``usage``."""
        if attempt.verdict is None or attempt.usage is not usage:
            compared = self.compare(attempt)
            if usage is not None and (diagnosis := usage.cache_diagnosis) is not None:
                parent = compared.parent
                compares = parent is not None and bool(parent.response) and parent.response == attempt.compared_with
                situation = structs.replace(attempt.situation, diagnosis=diagnosis, diagnoses_parent=compares)
                compared = structs.replace(compared, situation=situation)
            attempt.verdict, attempt.usage = judge(compared, usage), usage
        return attempt.verdict

    def settle(
        self, attempt: FollowedAttempt, usage: Usage | None, price: Price | None, response_id: str | None
    ) -> tuple[CacheVerdict, CacheLoss | None]:
        """Return the verdict and its loss at the end of an attempt, and remember the boundaries that it left.

        ``response_id`` is the id by which later requests may continue the response."""
        verdict = self.judge(attempt, usage)
        if usage is not None and usage.cache_read and len(self._reporting) < _MOST_TARGETS:
            self._reporting.add(attempt.account)
        unread = 0
        if attempt.head is not None:
            unread = self._leave_boundaries(attempt, usage, price, response_id)
        if unread or attempt.is_unkeyed:
            verdict.unread, verdict.is_unkeyed = unread, attempt.is_unkeyed
        if usage is None or not verdict.causes:
            return verdict, None
        return verdict, loss(verdict, usage, price)

    def _leave_boundaries(
        self, attempt: FollowedAttempt, usage: Usage | None, price: Price | None, response_id: str | None
    ) -> int:
        """Remember the boundaries that the attempt left, and return the change of what unread ones cost."""
        exchange, sent, scope = attempt.exchange, attempt.situation.sent, attempt.situation.scope
        left = boundaries_left(attempt.planned, attempt.prompt, attempt.row, usage)
        premium, reads = 0 if usage is None else write_premium(usage, price), _read_tokens(usage)
        shares = split_premium(premium, reads, [tokens for _, tokens, _ in left])
        row = attempt.row or _NO_ROW
        read = {one.position for one in attempt.boundaries if _reads_first(reads, one, sent, row)}
        if exchange.id is not None:
            noted = [
                Boundary(one.position, tokens, sent, attempt.head, one.ttl, is_exact, share > 0, sent)
                for (one, tokens, is_exact), share in zip(left, shares, strict=True)
            ]
            read |= self._note_end(attempt, usage, noted, response_id)
        prefixes = (attempt.prompt.prefix(position) for position in read)
        recovered = [self.memory.take_unread(exchange.owner, scope.digest, one) for one in prefixes if one is not None]
        for (one, tokens, is_exact), share in zip(left, shares, strict=True):
            stored = StoredBoundary(tokens, sent, attempt.head, one.ttl, is_exact, share)
            self.memory.write_boundary(exchange.owner, scope.digest, one.prefix, stored)
            if self._chooses_targets:
                stored.unread = 0
                self.memory.write_boundary(self.memory.sharers(scope.digest), scope.digest, one.prefix, stored)
        return premium - sum(recovered)

    def _note_end(
        self, attempt: FollowedAttempt, usage: Usage | None, left: Sequence[Boundary], response_id: str | None
    ) -> set[int]:
        """Note the end of an attempt and its boundaries in its conversation. Return the positions first read by it."""
        exchange = attempt.exchange
        assert exchange.id is not None, "it has a conversation"
        response, read = b"", set[int]()
        if response_id:
            anchor = self.memory.response_anchor(response_id)
            response = anchor[:ANCHOR_BYTES]
            if LAYOUTS[attempt.prompt.api].continues:
                self.memory.add_anchor(exchange.owner, anchor, exchange.id)
        reads = _read_tokens(usage)
        parent, scope, sent = exchange.parent, attempt.situation.scope, attempt.situation.sent
        row = attempt.row or _NO_ROW
        is_here = parent is not None and parent.conversation.scope.digest == scope.digest

        def change(conversation: KnownConversation) -> None:
            known = conversation.boundaries
            for number, one in enumerate(known if is_here else ()):
                if one.is_unread and _reads_first(reads, one, sent, row):
                    read.add(one.position)
                    known[number] = structs.replace(one, is_unread=False)
            if (end := conversation.end_of(exchange.sent)) is not None:
                end.tokens, end.response, end.head = 0 if usage is None else usage.prompt, response, attempt.head
                exact = {one.position: one.tokens for one in known if is_here and one.is_exact}
                new = {one.position: _with_count(one, exact.get(one.position)) for one in left}
                known = [one for one in known if one.position not in new]
                conversation.boundaries = sorted([*known, *new.values()], key=attrgetter("written"))
                if attempt.is_diagnosed and end is conversation.ends[-1]:
                    conversation.response_id = response_id if response_id and len(response_id) <= _MAX_ID else ""

        self._write_of_winner(attempt)
        self.memory.update(exchange.owner, exchange.id, change)
        return read

    def _write_of_winner(self, attempt: FollowedAttempt) -> None:
        """Write the prompt of the attempt that succeeded, if another attempt of its exchange was sent later."""
        exchange = attempt.exchange
        if exchange.writer is attempt or exchange.id is None or attempt.packed is None:
            return
        conversation = self.memory.read(exchange.owner, exchange.id)
        if conversation is not None and conversation.end_of(exchange.sent) is conversation.ends[-1]:
            conversation.scope = attempt.situation.scope
            self.memory.write(exchange.owner, exchange.id, conversation, attempt.packed)
            exchange.writer = attempt

    def _latest_parent(self, attempt: FollowedAttempt) -> Parent | None:
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
            known.scope,
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
    return PromptTracker(PromptMemory.make_private(size) if memory is None else PromptMemory.open_shared(memory, size))


def _read_tokens(usage: Usage | None) -> int:
    """Return the tokens that the provider reports as read from its cache."""
    return 0 if usage is None or usage.estimated else usage.cache_read


def _reads_first(read: int, boundary: Boundary, sent: float, row: CachingRow) -> bool:
    """Return whether the response to a request of ``sent`` that read ``read`` tokens first read ``boundary``."""
    is_read = is_covered(boundary.tokens, boundary.is_exact, read)
    return boundary.is_unread and is_read and boundary.is_alive(sent, row)


def _with_count(boundary: Boundary, tokens: int | None) -> Boundary:
    """Return a boundary with the provider's earlier count of ``tokens`` there, instead of an estimate."""
    if tokens is None or boundary.is_exact:
        return boundary
    return structs.replace(boundary, tokens=tokens, is_exact=True)


def _member_or_header(members: Mapping[str, msgspec.Raw], sent: SentRequest, name: str) -> bytes | str | None:
    return sent.headers.get(name) if (raw := members.get(name)) is None else bytes(raw)


def _cache_key_name(row: CachingRow | None) -> str | None:
    """Return the name of the member or header that selects a cache."""
    return None if row is None or row.key_member is None else row.key_member.removeprefix(HEADER)


def _is_unkeyed(sent: SentRequest, read: ReadPrompts) -> bool:
    """Return whether the provider advises a cache key, and the request has none."""
    key = _cache_key_name(read.row)
    if key is None or read.row is None or read.row.key_separates:
        return False
    return _member_or_header(read.members, sent, key) is None


def _bytes_or_none(raw: msgspec.Raw | None) -> bytes | None:
    return None if raw is None else bytes(raw)
