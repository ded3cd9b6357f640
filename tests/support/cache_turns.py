"""A client's requests to one provider with a prompt cache, as the memory of the gateway records them."""

from typing import Any

import attrs
import msgspec

from gateway.features.prompt_caches.comparisons import PromptComparison
from gateway.features.prompt_caches.conversations import (
    Boundary,
    CacheScope,
    ExchangeEnd,
    KnownConversation,
    Parent,
    Situation,
)
from gateway.features.prompt_caches.interface import CacheVerdict
from gateway.features.prompt_caches.positions import boundary_positions, lifetime_of, lookup_positions, marks
from gateway.features.prompt_caches.prompts import PromptDigest, pack_prompts, unpack_prompts
from gateway.features.prompt_caches.verdicts import judge, predict
from providers.catalog.prompt_caching import CachingRow
from streams.events import Api, Usage
from tests.support.cached_prompts import read, row_of

BYTES = 4
"""Bytes of a token."""


@attrs.frozen
class Sent:
    """A request that was sent."""

    prompt: PromptDigest
    client_prompt: PromptDigest | None
    scope: CacheScope
    boundaries: tuple[Boundary, ...]
    sent: float
    edits: tuple[str, ...]
    longest_ttl: float | None

    @property
    def tokens(self) -> int:
        """The tokens of the whole prompt."""
        return self.prompt.size // BYTES


class CacheTurns:
    """Requests of one client, one after the other. Each continues the previous one, unless a test selects another.

    ``verdict`` and ``prediction`` are those of the last request."""

    def __init__(self, api: Api, row: CachingRow | None = None) -> None:
        self.api = api
        self.row = row_of(api) if row is None else row
        self.now = 1000.0
        self.sent: list[Sent] = []
        self.verdict = CacheVerdict()
        self.prediction = CacheVerdict()
        self._entries: dict[tuple[bytes, bytes | None], Boundary] = {}

    def send(
        self,
        body: dict[str, Any],
        read_tokens: int | None = None,
        *,
        after: float = 10.0,
        parent: Sent | None = None,
        client_body: dict[str, Any] | None = None,
        client_api: Api | None = None,
        scope: CacheScope | None = None,
        headers: dict[str, str] | None = None,
        head_after: float | None = 1.0,
        usage: Usage | None = None,
        **facts: Any,
    ) -> Sent:
        """Send ``body`` some seconds ``after`` the last request, and judge it.

        The provider reads ``read_tokens``, by default everything that is readable. ``head_after`` are the seconds until
        the head of its response."""
        self.now += after
        prompt = read(self.api, body, self.row, headers=headers)
        client_prompt = None if client_body is None else read(client_api or self.api, client_body, self.row)
        parent = parent or (self.sent[-1] if self.sent else None)
        scope = scope or CacheScope(b"scope", "provider/model")
        is_compacted = facts.pop("is_compacted", False)
        known = None if parent is None else as_parent(parent, is_compacted=is_compacted)
        situation = Situation(scope, self.now, **facts)
        found = tuple(self._find_boundaries(prompt, scope))
        compared = PromptComparison(prompt, client_prompt, known, found, self.row, situation)
        self.prediction = predict(compared)
        tokens = prompt.size // BYTES
        count = self.prediction.readable if read_tokens is None else read_tokens
        usage = usage or Usage(input=tokens - count, cache_read=count, reports_cache_read=True)
        self.verdict = judge(compared, usage)
        sent = self._record(prompt, client_prompt, scope, parent, facts.get("edits", ()), head_after)
        self.sent.append(sent)
        return sent

    @property
    def causes(self) -> list[str]:
        """The causes of the last verdict, the larger first."""
        return [cause.word for cause in self.verdict.causes]

    @property
    def at(self) -> str | None:
        """The position of the last verdict's larger cause."""
        return None if self.verdict.cause is None else self.verdict.cause.at

    def _find_boundaries(self, prompt: PromptDigest, scope: CacheScope) -> list[Boundary]:
        found = []
        for position in lookup_positions(prompt, self.row):
            entry = self._entries.get((scope.digest, prompt.prefix(position)))
            if entry is not None:
                found.append(msgspec.structs.replace(entry, position=position))
        return found

    def _record(
        self, prompt: PromptDigest, client_prompt: PromptDigest | None, scope: CacheScope, parent: Sent | None,
        edits: tuple[str, ...], head_after: float | None,
    ) -> Sent:  # fmt: skip
        head = None if head_after is None else self.now + head_after
        words = dict(marks(prompt, self.row))
        boundaries = []
        for position in boundary_positions(prompt, self.row):
            ttl = lifetime_of(prompt, self.row, words.get(position)) if position in words else None
            tokens = prompt.size_at(position) // BYTES
            key = (scope.digest, prompt.prefix(position))
            known = self._entries.get(key)
            first = head if known is None or known.readable_from is None else known.readable_from
            boundary = Boundary(position, tokens, self.now, first, ttl, is_exact=position == prompt.end)
            boundaries.append(boundary)
            self._entries[key] = boundary
        lifetimes = [one.ttl for one in boundaries if one.ttl is not None]
        lifetimes += [] if parent is None or parent.longest_ttl is None else [parent.longest_ttl]
        return Sent(prompt, client_prompt, scope, tuple(boundaries), self.now, edits, max(lifetimes, default=None))


def as_parent(sent: Sent, *, is_compacted: bool = False) -> Parent:
    """Return a request as the memory returns it, packed and unpacked."""
    prompt = sent.prompt.to_remember()
    client_prompt = None if sent.client_prompt is None else sent.client_prompt.to_remember()
    assert prompt is not None
    heads = [one.readable_from for one in sent.boundaries]
    head = None if None in heads else max((one for one in heads if one is not None), default=0.0)
    end = ExchangeEnd(b"", prompt.end, sent.sent, head, sent.tokens)
    known = KnownConversation(sent.scope, (end,), sent.boundaries, sent.edits, sent.longest_ttl)
    return Parent(b"", known, unpack_prompts(pack_prompts(prompt, client_prompt)), end, is_compacted=is_compacted)
