"""Follows attempts: remembers their prompts and the boundaries that they leave, and judges the provider's counts.

``PromptReader.read`` works in any thread. Everything else belongs to the thread of the event loop."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import structs

from gateway.features.prompt_caches.comparisons import PromptComparison
from gateway.features.prompt_caches.conversations import (
    Boundary,
    CacheScope,
    ExchangeEnd,
    KnownConversation,
    Parent,
    RememberedPrompts,
    Situation,
)
from gateway.features.prompt_caches.interface import CacheLoss, CacheVerdict
from gateway.features.prompt_caches.memory import PromptMemory
from gateway.features.prompt_caches.parents import ParentFinder, is_one_shot
from gateway.features.prompt_caches.positions import first_anchor, last_anchor, lookup_positions, lookup_ranges
from gateway.features.prompt_caches.reading import HEADER
from gateway.features.prompt_caches.requests import PromptReader, ReadPrompts, SentRequest, compared_response
from gateway.features.prompt_caches.structures import MutableStructure
from gateway.features.prompt_caches.tables.layouts import LAYOUTS
from gateway.features.prompt_caches.verdicts import judge, loss, predict, write_premium
from gateway.shared.memory import SharedMemory
from providers.catalog.prices import Price
from providers.catalog.prompt_caching import CachingRow
from streams.events import Usage

_REFRESH: Final = 3_600.0
"""Seconds after which the anchors of a conversation are written again, so that they do not expire before it."""

_MOST_TARGETS: Final = 10_000
_MOST_SCOPES: Final = 256
_LONGEST_TARGET: Final = 100  # characters; the model of a wildcard comes from a client
_FACT: Final = 8  # bytes of the digest of a fact that is compared with the one before
_MOST_EDITS: Final = 4
_ID_BYTES: Final = 12
_MAX_ID: Final = 128
_MINUTE: Final = 60.0
_MOST_PREFIXES: Final = 10_000
_BYTES_PER_TOKEN: Final = 4
_SURE: Final = 0.95
"""The share of an estimated number of tokens from which on it counts as read."""


class RecentRequests:
    """Counts of requests by prefix in this process, in the current minute and the one before."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: OrderedDict[bytes, tuple[int, int, int]] = OrderedDict()

    def count(self, prefix: bytes) -> int:
        """Count a request with ``prefix``, and return how many there were in the last minute, this one included.

        Requests of the minute before count in proportion."""
        minute, second = divmod(self._clock(), _MINUTE)
        number, now, before = self._counts.pop(prefix, (int(minute), 0, 0))
        if number != int(minute):
            now, before = 0, now if number == int(minute) - 1 else 0
        self._counts[prefix] = int(minute), now + 1, before
        if len(self._counts) > _MOST_PREFIXES:
            self._counts.popitem(last=False)
        return now + 1 + int(before * (1 - second / _MINUTE))


class FollowedExchange(MutableStructure, gc=True):
    """The attempts of one exchange, which have the same parent and write the same conversation."""

    tracker: "PromptTracker"
    owner: bytes
    parent: Parent | None = None
    id: bytes | None = None
    """The conversation that the exchange writes."""
    sent: float = 0.0
    """When its first attempt was sent, by which the conversation finds its end."""
    writer: "FollowedAttempt | None" = None
    """The attempt whose prompt the conversation has."""


class FollowedAttempt(MutableStructure, gc=True):
    """An attempt whose prompts were read, with everything that its verdict depends on.

    ``boundaries`` are those in memory at which its provider searches. ``head`` is when its successful response began.
    ``compared_with`` is a digest of the response's id with which the provider compares it, b"" without one.
    ``is_unkeyed``: its provider advises a cache key, and it has none. ``verdict`` is that for ``usage``."""

    exchange: FollowedExchange
    read: ReadPrompts
    situation: Situation
    account: bytes
    boundaries: tuple[Boundary, ...] = ()
    head: float | None = None
    compared_with: bytes = b""
    is_diagnosed: bool = False
    is_unkeyed: bool = False
    verdict: CacheVerdict | None = None
    usage: Usage | None = None

    @property
    def row(self) -> CachingRow:
        """The provider's rules."""
        return self.read.row


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

    def open_exchange(self, sent: SentRequest, parent: Parent | None) -> FollowedExchange:
        """Return the exchange of a first attempt."""
        return FollowedExchange(self, self.memory.owner_of(sent.client), parent)

    def follow(self, sent: SentRequest, read: ReadPrompts, exchange: FollowedExchange) -> FollowedAttempt:
        """Return the attempt, and remember its prompt. Without an anchor, only its response's id leads to it."""
        scope = self._scope_of(sent, read)
        rate = 0 if read.row.rate is None else self._recent.count(scope.digest + read.stable)
        attempt = self._attempt(sent, read, exchange, scope, rate)
        if read.remembered is not None and (read.anchor is not None or read.earlier is not None):
            self._remember(attempt, sent, read.remembered)
        return attempt

    def readable_at(self, sent: SentRequest, read: ReadPrompts, parent: Parent | None) -> int:
        """Return the tokens that the cache of a target would serve if ``sent`` went there. Remembers no prompt.

        Only here, boundaries of other clients count. They are shared from the first call on."""
        self._chooses_targets = True
        exchange = self.open_exchange(sent, parent)
        attempt = self._attempt(sent, read, exchange, self._scope_of(sent, read), 0, is_choice=True)
        return self.compare(attempt).readable if attempt.boundaries else 0

    def compare(self, attempt: FollowedAttempt) -> PromptComparison:
        """Return the attempt compared with its parent."""
        read, exchange = attempt.read, attempt.exchange
        parent = exchange.parent
        if parent is not None and not parent.end.tokens:  # it may have been running when the attempt was sent
            now = self.memory.conversations.read(exchange.owner, parent.id)
            if now is not None and (end := now.end_of(parent.end.sent)) is not None:
                parent = structs.replace(parent, latest=now, end=end)
        return PromptComparison(
            read.prompt, read.client_prompt, parent, attempt.boundaries, read.row, attempt.situation
        )

    def _attempt(
        self, sent: SentRequest, read: ReadPrompts, exchange: FollowedExchange, scope: CacheScope, rate: int, *,
        is_choice: bool = False,
    ) -> FollowedAttempt:  # fmt: skip
        reports = read.row.reports != "flag" or sent.account in self._reporting
        situation = Situation(scope, sent.sent, reports, sent.move, sent.edits, rate)
        found = self._find_boundaries(exchange, read, scope.digest, sent.sent, is_choice=is_choice)
        compared = compared_response(read.members)
        return FollowedAttempt(
            exchange, read.without_members(), situation, sent.account, found,
            compared_with=b"" if compared is None else self.memory.response_anchor(compared),
            is_diagnosed=sent.is_diagnosed, is_unkeyed=_is_unkeyed(sent, read),
        )  # fmt: skip

    def _scope_of(self, sent: SentRequest, read: ReadPrompts) -> CacheScope:
        """Return the facts that select the provider's cache for the request, such as its account and cache key."""
        row, own, key = read.row, read.client_members, _cache_key_name(read.row)
        separates = row.key_separates and key is not None
        facts = (
            sent.account, _member_or_header(read.members, sent, key or "") if separates else None,
            _bytes_or_none(read.members.get("cache_salt")), _bytes_or_none(read.members.get("service_tier")),
            sent.target, sent.requested_model, _member_or_header(own, sent, key or "prompt_cache_key"),
            _bytes_or_none(own.get("service_tier")),
        )  # fmt: skip
        if (known := self._scopes.get(name := hash(facts))) is None:
            if len(self._scopes) >= _MOST_SCOPES:
                self._scopes.clear()
            client_facts = [self.memory.digest(fact, size=_FACT) for fact in facts[5:]]
            known = self._scopes[name] = CacheScope(
                self.memory.digest(*facts[:4]), sent.target[:_LONGEST_TARGET], *client_facts
            )
        return known

    def _find_boundaries(
        self, exchange: FollowedExchange, read: ReadPrompts, scope: bytes, sent: float, *, is_choice: bool
    ) -> tuple[Boundary, ...]:
        """Return the client's boundaries in ``scope`` where the provider searches, down to the first live one.

        In a known conversation only those positions are tried where its exchanges left a boundary. For the choice of
        a target, those of all clients count."""
        prompt, row, found = read.prompt, read.row, list[Boundary]()
        if (parent := exchange.parent) is None or parent.is_similar:
            positions = lookup_positions(prompt, row)
        else:
            ranges = lookup_ranges(prompt, row)
            known = {one.position for one in parent.conversation.boundaries} | {prompt.tool_count, prompt.history_start}
            reached = {one for each in ranges for one in known if one in each}
            positions = tuple(sorted(reached - {0}, reverse=True))
        for position in positions:
            if (prefix := prompt.prefix(position)) is None:
                continue
            one = self.memory.read_boundary(exchange.owner, scope, prefix)
            if is_choice:
                shared = self.memory.read_boundary(self.memory.sharers(scope), scope, prefix)
                one = one.merge(shared) if one is not None and shared is not None else one or shared
            if one is None:
                continue
            found.append(structs.replace(one, position=position))
            if one.is_alive(sent, row) and one.tokens >= (row.minimum or 0):
                break
        return tuple(found)

    def _remember(self, attempt: FollowedAttempt, sent: SentRequest, prompts: RememberedPrompts) -> None:
        """Remember the attempt's prompt: in place of its parent's, or as another branch."""
        exchange, memory, read = attempt.exchange, self.memory, attempt.read
        parent = exchange.parent
        before = None if parent is None or parent.is_compacted or parent.is_similar else parent
        if exchange.id is None:
            exchange.id = before.id if before is not None and before.is_latest else os.urandom(_ID_BYTES)
            exchange.sent = sent.sent
        ttls = [ttl for _, ttl in read.boundaries if ttl is not None]
        ends, boundaries = tuple[ExchangeEnd, ...](), tuple[Boundary, ...]()
        if before is not None:
            known, until = before.conversation, before.end
            ends, boundaries = known.ends, known.boundaries
            if not before.is_latest:
                ends = tuple(one for one in ends if one.sent <= until.sent)
                boundaries = tuple(one for one in boundaries if one.position <= until.position)
            ttls += [] if known.longest_ttl is None else [known.longest_ttl]
        end = ExchangeEnd(b"" if read.anchor is None else read.anchor.digest, read.until, exchange.sent)
        conversation = KnownConversation(
            attempt.situation.scope, (*ends, end), boundaries, sent.edits[:_MOST_EDITS], max(ttls, default=None),
            read.own.history_size,
        )  # fmt: skip
        memory.conversations.write(exchange.owner, exchange.id, conversation, prompts)
        exchange.writer = attempt
        is_due = before is None or before.id != exchange.id or before.end.sent // _REFRESH != sent.sent // _REFRESH
        self._add_anchors(exchange.owner, exchange.id, sent, read, is_due=is_due, is_first=before is None)

    def _add_anchors(
        self, owner: bytes, id: bytes, sent: SentRequest, read: ReadPrompts, *, is_due: bool, is_first: bool
    ) -> None:
        """Let the anchors of a request lead to its conversation. Those that earlier requests have are written again
        only if that ``is_due``."""
        memory, found = self.memory, [read.anchor, read.other_anchor]
        if read.client_prompt is not None:
            found.append(last_anchor(read.prompt, memory.key, read.until))
        if is_due:
            found.append(first_anchor(read.own, memory.key))
        named = [one.digest for one in found if one is not None]
        if is_first and is_one_shot(read.own):
            named.append(self.parents.one_shot_anchor(sent))
        if sent.session is not None:
            session = memory.digest("session", sent.session)
            if is_due or memory.conversations_at(owner, session)[:1] != (id,):
                named.append(session)
        for one in dict.fromkeys(named):
            memory.add_anchor(owner, one, id)

    def forget(self, exchange: FollowedExchange) -> None:
        """Restore the memory from before an exchange that failed: it left nothing in a cache."""
        if exchange.id is None:
            return
        if (parent := exchange.parent) is not None and parent.id == exchange.id:
            self.memory.conversations.write(exchange.owner, parent.id, parent.conversation, parent.prompts)
        else:
            self.memory.conversations.remove(exchange.owner, exchange.id)

    # When its response begins and ends

    def note_head(self, attempt: FollowedAttempt, at: float, *, is_whole: bool = False) -> None:
        """Note that a successful response began at ``at``.

        The end of a response that ``is_whole`` follows soon, and other requests learn of its head from that."""
        attempt.head, exchange = at, attempt.exchange
        if exchange.id is not None and not is_whole:
            self.memory.conversations.update(
                exchange.owner, exchange.id, lambda known: known.with_end(exchange.sent, head=at)
            )

    def predict(self, attempt: FollowedAttempt) -> CacheVerdict:
        """Return the part of the verdict that is known before the response ends."""
        return predict(self.compare(attempt))

    def judge(self, attempt: FollowedAttempt, usage: Usage | None) -> CacheVerdict:
        """Return the verdict for the provider's ``usage``."""
        if attempt.verdict is None or attempt.usage is not usage:
            compared = self.compare(attempt)
            if usage is not None and (diagnosis := usage.cache_diagnosis) is not None:
                parent = compared.parent
                compares = parent is not None and bool(parent.end.response) and (
                    parent.end.response == attempt.compared_with
                )  # fmt: skip
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
        unread = 0 if attempt.head is None else self._leave_boundaries(attempt, usage, price, response_id)
        if unread or attempt.is_unkeyed:
            verdict.unread, verdict.is_unkeyed = unread, attempt.is_unkeyed
        if usage is None or not verdict.causes:
            return verdict, None
        return verdict, loss(verdict, usage, price)

    def _leave_boundaries(
        self, attempt: FollowedAttempt, usage: Usage | None, price: Price | None, response_id: str | None
    ) -> int:
        """Remember the boundaries that the attempt left, and return the change of what unread ones cost."""
        exchange, prompt, scope = attempt.exchange, attempt.read.prompt, attempt.situation.scope.digest
        left = self._boundaries_left(attempt, usage)
        premium, reads = 0 if usage is None else write_premium(usage, price), _read_tokens(usage)
        shares = _split_premium(premium, reads, [one.tokens for one in left])
        left = [structs.replace(one, unread=share) if share else one for one, share in zip(left, shares, strict=True)]
        read = {one.position for one in attempt.boundaries if one.unread and _reads_first(reads, one, attempt)}
        if exchange.id is not None:
            read |= self._note_end(attempt, usage, left, response_id)
        prefixes = (prompt.prefix(position) for position in read)
        recovered = [self.memory.take_unread(exchange.owner, scope, one) for one in prefixes if one is not None]
        for one in left:
            if (prefix := prompt.prefix(one.position)) is None:
                continue
            one = structs.replace(one, position=0)
            self.memory.write_boundary(exchange.owner, scope, prefix, one)
            if self._chooses_targets:
                shared = structs.replace(one, unread=0)
                self.memory.write_boundary(self.memory.sharers(scope), scope, prefix, shared)
        return premium - sum(recovered)

    def _boundaries_left(self, attempt: FollowedAttempt, usage: Usage | None) -> list[Boundary]:
        """Return the boundaries that a successful attempt left.

        The provider counts the tokens up to the deepest one. For others, the tokens are interpolated by bytes."""
        prompt, row, lifetimes = attempt.read.prompt, attempt.row, attempt.read.boundaries
        if not lifetimes:
            return []
        deepest = lifetimes[-1][0]
        size = prompt.size_at(deepest)
        if usage is None or usage.estimated or not usage.prompt:
            tokens, is_exact = size // _BYTES_PER_TOKEN, False
        elif row.reports == "exact":
            tokens, is_exact = usage.cache_read + usage.cache_write, True
        else:
            step, is_exact = row.step or 1, deepest == prompt.end
            share = 1.0 if is_exact else size / max(1, prompt.size)
            tokens = int(usage.prompt * share) // step * step
        if not tokens or tokens < (row.minimum or 0):
            return []
        found = []
        for position, lifetime in lifetimes:
            is_last, ttl = position == deepest, None if lifetime is None else int(lifetime)
            own = tokens if is_last else tokens * prompt.size_at(position) // max(1, size)
            if own >= max(1, row.minimum or 0):
                found.append(Boundary(position, own, attempt.situation.sent, attempt.head, ttl, is_exact and is_last))
        return found

    def _note_end(
        self, attempt: FollowedAttempt, usage: Usage | None, left: Sequence[Boundary], response_id: str | None
    ) -> set[int]:
        """Note the end of an attempt and its boundaries in its conversation. Return the positions first read by it."""
        exchange, scope, response, read = attempt.exchange, attempt.situation.scope, b"", set[int]()
        assert exchange.id is not None, "it has a conversation"
        continues = LAYOUTS[attempt.read.prompt.api].continues
        if response_id and (continues or attempt.row.diagnosis_member is not None):
            response = self.memory.response_anchor(response_id)
            if continues:
                self.memory.add_anchor(exchange.owner, response, exchange.id)
        reads, parent = _read_tokens(usage), exchange.parent
        is_here = parent is not None and parent.conversation.scope.digest == scope.digest

        def change(known: KnownConversation) -> KnownConversation:
            boundaries = list(known.boundaries)
            for number, one in enumerate(boundaries if is_here else ()):
                if one.unread and _reads_first(reads, one, attempt):
                    read.add(one.position)
                    boundaries[number] = structs.replace(one, unread=0)
            if known.end_of(exchange.sent) is None:
                return structs.replace(known, boundaries=tuple(boundaries))
            exact = {one.position: one.tokens for one in boundaries if is_here and one.is_exact}
            new = {one.position: _with_count(one, exact.get(one.position)) for one in left}
            boundaries = [*(one for one in boundaries if one.position not in new), *new.values()]
            own = known.response_id
            if attempt.is_diagnosed and known.ends[-1].sent == exchange.sent:
                own = response_id if response_id and len(response_id) <= _MAX_ID else ""
            tokens = 0 if usage is None else usage.prompt
            changed = known.with_end(exchange.sent, tokens=tokens, response=response, head=attempt.head)
            return structs.replace(changed, boundaries=tuple(boundaries), response_id=own)

        self._write_of_winner(attempt)
        self.memory.conversations.update(exchange.owner, exchange.id, change)
        return read

    def _write_of_winner(self, attempt: FollowedAttempt) -> None:
        """Write the prompt of the attempt that succeeded, if another attempt of its exchange was sent later."""
        exchange, prompts = attempt.exchange, attempt.read.remembered
        if exchange.writer is attempt or exchange.id is None or prompts is None:
            return
        known = self.memory.conversations.read(exchange.owner, exchange.id)
        if known is not None and known.end_of(exchange.sent) is known.ends[-1]:
            known = structs.replace(known, scope=attempt.situation.scope)
            self.memory.conversations.write(exchange.owner, exchange.id, known, prompts)
            exchange.writer = attempt


def open_tracker(size: int, memory: SharedMemory | None) -> PromptTracker:
    """Return a tracker with ``size`` bytes of the workers' ``memory``, or of memory of this process alone."""
    return PromptTracker(PromptMemory.make_private(size) if memory is None else PromptMemory.open_shared(memory, size))


def _read_tokens(usage: Usage | None) -> int:
    """Return the tokens that the provider reports as read from its cache."""
    return 0 if usage is None or usage.estimated else usage.cache_read


def _reads_first(read: int, boundary: Boundary, attempt: FollowedAttempt) -> bool:
    """Return whether the response to an attempt, which read ``read`` tokens, read ``boundary``, which was unread."""
    least = boundary.tokens if boundary.is_exact else boundary.tokens * _SURE
    return 0 < least <= read and boundary.is_alive(attempt.situation.sent, attempt.row)


def _split_premium(premium: int, read: int, tokens: Sequence[int]) -> list[int]:
    """Return the share in ``premium`` of each boundary that a request left, by the tokens that it wrote there.

    ``premium`` is what all of them cost more than plain input, ``tokens`` are those up to each boundary, in order. The
    request has read the first ``read`` tokens."""
    if not premium or not tokens or tokens[-1] <= read:
        return [0] * len(tokens)
    ends = [max(one, read) for one in tokens]
    known = [premium * (end - read) // (ends[-1] - read) for end in ends]
    return [one - before for before, one in zip((0, *known), known, strict=False)]


def _with_count(boundary: Boundary, tokens: int | None) -> Boundary:
    """Return a boundary with the provider's earlier count of ``tokens`` there, instead of an estimate."""
    if tokens is None or boundary.is_exact:
        return boundary
    return structs.replace(boundary, tokens=tokens, is_exact=True)


def _member_or_header(members: Mapping[str, msgspec.Raw], sent: SentRequest, name: str) -> bytes | str | None:
    return sent.headers.get(name) if (raw := members.get(name)) is None else bytes(raw)


def _cache_key_name(row: CachingRow) -> str | None:
    """Return the name of the member or header that selects a cache."""
    return None if row.key_member is None else row.key_member.removeprefix(HEADER)


def _is_unkeyed(sent: SentRequest, read: ReadPrompts) -> bool:
    """Return whether the provider advises a cache key, and the request has none."""
    key = _cache_key_name(read.row)
    if key is None or read.row.key_separates:
        return False
    return _member_or_header(read.members, sent, key) is None


def _bytes_or_none(raw: msgspec.Raw | None) -> bytes | None:
    return None if raw is None else bytes(raw)
