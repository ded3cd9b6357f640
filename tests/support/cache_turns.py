"""A client's requests to one provider with a prompt cache, followed as in a gateway."""

from typing import Any

from msgspec import structs

from gateway.features.prompt_caches.conversations import CacheScope
from gateway.features.prompt_caches.interface import CacheVerdict
from gateway.features.prompt_caches.memory import PromptMemory
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.requests import ReadPrompts, SentRequest
from gateway.features.prompt_caches.tracker import FollowedAttempt, PromptTracker
from providers.catalog.prompt_caching import CachingRow
from streams.events import Api, Usage
from tests.support.cached_prompts import read_members, row_of, sent_request

BYTES = 4
"""Bytes of a token."""


class _ScopedTracker(PromptTracker):
    """A tracker of requests whose ``scope`` a test sets."""

    scope = CacheScope(b"scope", "provider/model")

    def _scope_of(self, sent: SentRequest, read: ReadPrompts) -> CacheScope:
        return self.scope


class CacheTurns:
    """Requests of one client, one after the other. ``verdict`` and ``prediction`` are those of the last request."""

    def __init__(self, api: Api, row: CachingRow | None = None) -> None:
        self.api = api
        self.row = row_of(api) if row is None else row
        self.now = 1000.0
        self.tracker = _ScopedTracker(PromptMemory.make_private(2**22, lambda: self.now))
        self.sent: list[FollowedAttempt] = []
        self.verdict = CacheVerdict()
        self.prediction = CacheVerdict()

    def send(
        self,
        body: dict[str, Any] | bytes,
        read_tokens: int | None = None,
        *,
        after: float = 10.0,
        client_body: dict[str, Any] | None = None,
        client_api: Api | None = None,
        scope: CacheScope = _ScopedTracker.scope,
        headers: dict[str, str] | None = None,
        head_after: float = 1.0,
        usage: Usage | None = None,
        edits: tuple[str, ...] = (),
        move: str = "",
        session: str | None = None,
        **facts: Any,
    ) -> int:
        """Send ``body`` some seconds ``after`` the last request, judge it, and return its tokens.

        The provider reads ``read_tokens``, by default everything that is readable. ``head_after`` are the seconds until
        the head of its response."""
        self.now += after
        self.tracker.scope = scope
        own = None if client_body is None else read_members(client_body)
        sent = sent_request(
            self.api, body, self.now, headers=headers or {}, row=self.row, client_api=client_api or self.api,
            client_members=own, session=session, edits=edits, move=move,
        )  # fmt: skip
        read = self.tracker.reader.read(self.tracker.reader.open(sent))
        assert read is not None
        exchange = self.tracker.open_exchange(sent, self.tracker.parents.find(sent, read))
        attempt = self.tracker.follow(sent, read, exchange)
        attempt.situation = structs.replace(attempt.situation, **facts)
        self.sent.append(attempt)
        self.prediction = self.tracker.predict(attempt)
        step = self.row.step or 1
        tokens = read.prompt.size // BYTES // step * step
        count = self.prediction.readable if read_tokens is None else read_tokens
        is_written = self.row.reports == "exact" and read.boundaries
        written = max(read.prompt.size_at(read.until) // BYTES - count, 0) if is_written else 0
        usage = usage or Usage(
            input=tokens - count - written, cache_read=count, cache_write=written, reports_cache_read=True
        )
        self.tracker.note_head(attempt, self.now + head_after)
        self.verdict, _ = self.tracker.settle(attempt, usage, None, None)
        return tokens

    @property
    def prompt(self) -> PromptDigest:
        """The last prompt."""
        return self.sent[-1].read.prompt

    @property
    def causes(self) -> list[str]:
        """The causes of the last verdict, the larger first."""
        return [cause.word for cause in self.verdict.causes]

    @property
    def at(self) -> str | None:
        """The position of the last verdict's larger cause."""
        return None if self.verdict.cause is None else self.verdict.cause.at
