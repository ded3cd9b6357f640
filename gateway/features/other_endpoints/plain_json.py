"""Endpoints with JSON requests and responses, in which only the model's name changes: moderations, scores,
classifications, token vectors, and others in providers' rows."""

from collections.abc import Mapping
from functools import partial
from typing import Final

from gateway.relay.answers import ResponseReader
from gateway.relay.relaying import InboundRequest, RelayedRequest, replace_model
from providers.endpoints.endpoint import EndpointName
from providers.endpoints.media_tokens import read_usage
from streams.events import Usage

FREE: Final[frozenset[EndpointName]] = frozenset(("moderations", "chat_moderations"))
"""Endpoints whose responses cost nothing unless they report usage."""


async def read_plain_json(inbound: InboundRequest, names: Mapping[str, str]) -> RelayedRequest:
    """Read a JSON request whose response passes unchanged."""
    incoming = await inbound.read_json()
    incoming, plan = await inbound.locate(incoming, inbound.plan(inbound.model_of(incoming)))
    incoming = await inbound.apply_edits(incoming, plan)
    is_free = inbound.endpoint.name in FREE
    planned = inbound.plan_json(incoming, plan, partial(replace_model, incoming))
    return RelayedRequest(planned, inbound.unchanged_filters(partial(UsageMemberReader, is_free=is_free)))


class UsageMemberReader(ResponseReader):
    """A reader of the member ``usage`` in a JSON response; without it, a ``free`` endpoint costs nothing."""

    usage: Usage | None = None

    def __init__(self, *, is_free: bool = False) -> None:
        self.usage = Usage(reported_nanos=0) if is_free else None

    def read_whole(self, value: object) -> None:
        if isinstance(value, dict):
            self.usage = read_usage(value.get("usage")) or self.usage
