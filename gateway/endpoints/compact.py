"""``POST /v1/responses/compact``: a conversation in one item, from any provider."""

import time

import attrs
import msgspec

from gateway.exchange.attempt import NO_SUCH_PATH
from gateway.exchange.exchange import JSON_HEADERS, Exchange
from gateway.http.response import Response
from gateway.request.parse import Incoming
from gateway.request.translate import translate
from gateway.routing.target import Target
from providers.responses import compacted, compaction_of, compaction_request
from providers.responses.ids import own_id
from streams.errors import GatewayError

CONTINUES = ("previous_response_id", "conversation")


async def compact(exchange: Exchange, body: bytes) -> Response:
    """The response to ``body``: the provider's own compaction where it has one, else a summary by its model."""
    try:
        incoming, target = await exchange.read(body)
        incoming = attrs.evolve(incoming, stream=False)
        if target.lane == "byte" and (response := await _native(exchange, incoming, target)) is not None:
            return response
        return await _summarised(exchange, incoming, target)
    except GatewayError as error:
        return exchange.refuse(error.failed)


async def _native(exchange: Exchange, incoming: Incoming, target: Target) -> Response | None:
    """The provider's own answer, ``None`` if it has none."""
    calling = exchange.call(incoming, target)
    try:
        response, body = await calling.fetch("/compact")
    except GatewayError as error:
        if error.failed.status in NO_SUCH_PATH and not _refers(incoming):
            return None
        raise
    calling.hear(response)
    exchange.record.whole = True
    return exchange.respond(calling.redact(body), 200, (*JSON_HEADERS, *calling.passed))


def _refers(incoming: Incoming) -> bool:
    """True if the conversation is with the provider: a summary of the rest would be taken for one of it all."""
    named = (incoming.members.get(name, b"null") for name in CONTINUES)
    return any(bytes(raw) != b"null" for raw in named) or b'"item_reference"' in incoming.body


async def _summarised(exchange: Exchange, incoming: Incoming, target: Target) -> Response:
    """Raises ``GatewayError``: 502 if the model gives no whole summary."""
    target = attrs.evolve(target, lane="hub")
    prepared = translate(compaction_request(incoming.request), target, exchange.learned(target))
    calling = exchange.call(incoming, target, prepared)
    answer = exchange.fold(calling, *await calling.fetch()).answer()
    told = compacted(own_id("resp_"), int(time.time()), compaction_of(answer), answer.usage)
    exchange.record.reason, exchange.record.whole = answer.end.reason, True
    return exchange.respond(msgspec.json.encode(told), 200, (*JSON_HEADERS, *calling.passed))
