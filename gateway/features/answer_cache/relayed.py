"""The cache's rules for responses to relayed requests, of endpoints that only query a model.

A list of embeddings is one cached response: mixing cached and fresh vectors has assigned them to the wrong texts
elsewhere (BerriAI/litellm#2990, #29284, run-llama/llama_index#19537)."""

import re
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final

import attrs

from gateway.exchange.target_request import TargetRequest
from gateway.features.answer_cache.settings import CacheUse
from gateway.http.headers import Headers
from gateway.relay.answers import AnswerFilter
from gateway.relay.relaying import RelayedRequest
from gateway.request.parse import Incoming
from gateway.request.wire import MediaTypes, upstream_request
from gateway.upstream.http11 import BodySource
from gateway.upstream.request import UpstreamRequest
from providers.endpoints.endpoint import EndpointName
from providers.neutral.draft import Draft
from streams.errors import GatewayError
from streams.framing import FramingError

CACHED_ENDPOINTS: Final[frozenset[EndpointName]] = frozenset(
    ("embeddings", "completions", "fim", "rerank", "score", "moderations", "pooling", "classify", "predict",
     "similarity", "chat_moderations", "classifications", "chat_classifications")
)  # fmt: skip
"""Endpoints whose responses may be cached."""

SAMPLED_ENDPOINTS: Final[frozenset[EndpointName]] = frozenset(("completions", "fim"))
"""Cached endpoints whose responses depend on a temperature."""

_JSON_MEDIA: Final = MediaTypes("application/json", "application/json")
_FINISH_REASONS: Final = re.compile(rb'"finish_reason"\s*:\s*"(\w+)"')


@attrs.frozen
class RelayedAnswers:
    """The cache's rules for the responses to ``relayed``, a request to ``endpoint``: an ``AnswerKind``."""

    relayed: RelayedRequest
    endpoint: str
    can_change_form: ClassVar[bool] = False

    def may_be_cached(self, target_request: TargetRequest, use: CacheUse, max_size: int) -> bool:
        planned, incoming = self.relayed.planned, target_request.request.incoming
        if self.endpoint not in CACHED_ENDPOINTS or planned.upload is not None or not 0 < incoming.size <= max_size:
            return False
        if target_request.prepared.later_bodies:
            return False
        return use.when == "always" or self.endpoint not in SAMPLED_ENDPOINTS or _has_zero_temperature(incoming)

    def request(self, target_request: TargetRequest) -> UpstreamRequest:
        planned, prepared = self.relayed.planned, target_request.prepared
        return upstream_request(
            prepared.outgoing,
            target_request.target,
            target_request.sent,
            False,
            planned.suffix,
            method=planned.method,
            media=_JSON_MEDIA,
        )

    def judge(self, target_request: TargetRequest, content_type: str) -> Callable[[bytes], bool]:
        limited = bytes(target_request.request.incoming.members.get("max_tokens", b"null")) != b"null"
        return partial(
            _is_cacheable, self.relayed.filter(target_request.target), (("content-type", content_type),), limited
        )

    def with_own_members(
        self, target_request: TargetRequest, body: BodySource, content_type: str, event_limit: int
    ) -> BodySource:
        return body  # no response repeats members of its request


def _has_zero_temperature(incoming: Incoming) -> bool:
    return bool(Draft(incoming.json).value("temperature") == 0)


def _is_cacheable(filter: AnswerFilter, headers: Headers, limited: bool, body: bytes) -> bool:
    """Return whether ``filter`` accepts ``body`` as a complete response that may be cached.

    A response that ends at ``max_tokens`` may be, if the request is ``limited`` by it."""
    try:
        filter.head(200, headers)
        filter.take(body)
        filter.close()
    except (GatewayError, FramingError):
        return False
    return set(_FINISH_REASONS.findall(body)) <= ({b"stop", b"length"} if limited else {b"stop"})
