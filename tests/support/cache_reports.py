"""How the stand-in reports its prompt caches: in the usage of each provider, and at the path ``/cache``.

``GET /cache`` returns sums. ``POST /cache`` with JSON sets the caches: ``{"advance": 360}`` lets 360 seconds pass,
``{"forget": true}`` removes all entries, and ``{"models": {"claude-sonnet-4-6": "cache/anthropic"}}`` uses a cache for
models with other names."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final

import attrs
import msgspec

from gateway.http.response import JSON_HEADERS, Response
from gateway.mock.faults import Fault, ScriptedAnswer, change_events, edit_usage
from gateway.mock.server import NO_FAULT, ModelCaches
from gateway.serving.incoming_request import IncomingRequest, ignore_arrived
from gateway.serving.route_table import READING, RouteTable
from streams.events import AnswerStart, Api, Event, Usage
from tests.support.cache_rules import Report
from tests.support.imitated_caches import CachedPrompt, PromptCaches

_WRITTEN: Final = "cache_write_tokens"
_DETAILS: Final = ("prompt_tokens_details", "input_tokens_details")


class ImitatedCaches(ModelCaches):
    """The prompt caches of ``cache/`` models, for ``create_mock``. ``clock`` is their time in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._caches = PromptCaches(clock)

    def add_routes(self, routes: RouteTable) -> None:
        routes.add("/cache", cache_view(self._caches), (*READING, "POST"))

    def model_of(self, name: str) -> str:
        return name if (cache := self._caches.select(name)) is None else cache.fault

    def count(self, model: str, api: Api, body: Mapping[str, Any], headers: Mapping[str, str], endpoint: str) -> Fault:
        cache = self._caches.select(model)
        if cache is None:
            return NO_FAULT
        prompt = self._caches.count(cache, api, body, headers, endpoint)
        return Fault(
            "a cached prompt",
            events=lambda events, _: with_cached_usage(events, prompt),
            answer=lambda answer, _: with_reported_usage(answer, prompt),
        )


def with_cached_usage(events: Iterable[Event], prompt: CachedPrompt) -> list[Event]:
    """Return the events of an answer with the counts of ``prompt``, also at the start, as Messages reports them."""
    found = list(events)
    found = [prompt.usage(event) if isinstance(event, Usage) else event for event in found]
    first = next((at for at, event in enumerate(found) if isinstance(event, AnswerStart)), -1)
    found.insert(first + 1, prompt.usage(Usage(output=1)))
    return found


def with_reported_usage(answer: ScriptedAnswer, prompt: CachedPrompt) -> ScriptedAnswer:
    """Return ``answer`` with the members that the imitated provider reports, which begins the cache's entries."""
    answer = attrs.evolve(answer, begin=prompt.begin)
    if prompt.model.rule.counts_written:
        return answer
    return change_events(answer, partial(_edit, partial(_without_written, prompt, prompt.model.rule.report)))


def _edit(edit: Callable[[dict[str, Any]], dict[str, Any]], data: bytes) -> bytes:
    return edit_usage(data, edit) if b'"usage' in data else data


def _without_written(prompt: CachedPrompt, report: Report, usage: dict[str, Any]) -> dict[str, Any]:
    """Return ``usage`` without written tokens, for ``hits`` with DeepSeek's members."""
    for name in _DETAILS:
        if isinstance(details := usage.get(name), dict):
            details.pop(_WRITTEN, None)
    if report == "hits" and "prompt_tokens" in usage:
        usage |= {"prompt_cache_hit_tokens": prompt.read, "prompt_cache_miss_tokens": prompt.tokens - prompt.read}
    return usage


def cache_view(caches: PromptCaches) -> Callable[[IncomingRequest], Awaitable[Response]]:
    """Return the view of ``/cache``."""

    async def answer(incoming: IncomingRequest) -> Response:
        if incoming.asgi["method"] == "POST":
            wanted = msgspec.json.decode(await incoming.read(ignore_arrived), type=dict[str, Any])
            assert wanted.keys() <= {"advance", "forget", "models"}
            caches.use_for(wanted.get("models", {}))
            caches.advance(wanted.get("advance", 0))
            if wanted.get("forget"):
                caches.forget()
        return Response(200, JSON_HEADERS, msgspec.json.encode(caches.report()))

    return answer
