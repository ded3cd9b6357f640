"""The tokens of a request, counted before it is sent, as ``POST /v1/messages/count_tokens`` does and
``POST /v1/responses/input_tokens``."""

import attrs

from gateway.exchange.attempt import NO_SUCH_PATH
from gateway.exchange.exchange import JSON_HEADERS, Exchange
from gateway.http.response import Response
from gateway.request.parse import Incoming
from gateway.request.translate import translate_count
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.neutral.tokens import estimate, read_count_answer
from streams.errors import GatewayError


async def count(exchange: Exchange, body: bytes) -> Response:
    """The response to ``body``: the provider's own count where it has one, else an estimate that errs high and says
    that it is one."""
    try:
        incoming, target = await exchange.read(body)
        incoming = attrs.evolve(incoming, stream=False)
        request = incoming.count_request
        tokens = await _counted(exchange, incoming, target)
    except GatewayError as error:
        return exchange.refuse(error.failed)
    exchange.record.whole = True
    headers = JSON_HEADERS if tokens is not None else (*JSON_HEADERS, ("x-trigate-estimated", "1"))
    answer = CODECS[incoming.api].write_count_answer(estimate(request) if tokens is None else tokens)
    return exchange.respond(answer, 200, headers)


async def _counted(exchange: Exchange, incoming: Incoming, target: Target) -> int | None:
    """The provider's count, ``None`` if it does not count."""
    exchange.record.lane = target.lane
    prepared = None
    if target.lane == "hub" and (prepared := translate_count(incoming.count_request, target)) is None:
        return None
    calling = exchange.call(incoming, target, prepared)
    try:
        _, body = await calling.fetch(CODECS[target.api].wire.suffix("count"))
    except GatewayError as error:
        if error.failed.status in NO_SUCH_PATH:
            return None
        raise
    return read_count_answer(body)
