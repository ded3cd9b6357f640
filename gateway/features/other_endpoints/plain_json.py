"""Endpoints with JSON requests and responses, in which only the model's name changes: moderations, scores,
classifications, token vectors, and others in providers' rows."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

import attrs

from gateway.relay.answers import AnswerFilter, ResponseReader, ScannedAnswer
from gateway.relay.relaying import InboundRequest, RelayedRequest, replace_model
from gateway.routing.target import Target
from providers.endpoints.endpoint import EndpointName
from providers.endpoints.media_tokens import read_usage
from streams.events import Usage

FREE: Final[frozenset[EndpointName]] = frozenset(("moderations", "chat_moderations"))
"""Endpoints whose responses cost nothing unless they report usage, or the configuration sets a price."""

_END: Final = 1024  # bytes
_PAGES: Final = re.compile(rb'"pages_processed"\s*:\s*(\d{1,6})\b')


async def read_plain_json(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a JSON request whose response passes unchanged."""
    incoming = await inbound.read_json()
    incoming, plan = await inbound.locate(incoming, inbound.plan(inbound.model_of(incoming)))
    incoming = await inbound.apply_edits(incoming, plan)
    planned = inbound.plan_json(incoming, plan, partial(replace_model, incoming))
    if inbound.endpoint.name == "ocr":
        event_limit = inbound.context.service.settings.limits.event
        return RelayedRequest(planned, lambda target: ScannedAnswer(PageReader(), event_limit))

    def filter(target: Target) -> AnswerFilter:
        is_free = inbound.endpoint.name in FREE and (target.price is None or target.price.origin != "config")
        return inbound.unchanged_filters(partial(UsageMemberReader, is_free=is_free))(target)

    return RelayedRequest(planned, filter)


class UsageMemberReader(ResponseReader):
    """A reader of the member ``usage`` in a JSON response; without it, a ``free`` endpoint costs nothing."""

    usage: Usage | None = None

    def __init__(self, *, is_free: bool = False) -> None:
        self.usage = Usage(reported_nanos=0) if is_free else None

    def read_whole(self, value: object) -> None:
        if isinstance(value, dict):
            self.usage = read_usage(value.get("usage")) or self.usage


class PageReader(UsageMemberReader):
    """A reader of the pages that a document had, at the end of a response of any length
    (https://docs.mistral.ai/capabilities/document_ai/basic_ocr)."""

    _end = b""

    def scan(self, piece: bytes) -> None:
        self._end = (self._end + piece[-_END:])[-_END:]

    def close(self, *, streamed: bool) -> None:
        if (found := _PAGES.search(self._end)) is not None:  # in a text, the quotation mark would be escaped
            self.usage = attrs.evolve(self.usage or Usage(), units=(("page", int(found[1])),))
