"""The tokens of a request, counted before it is sent: ``POST /v1/messages/count_tokens`` and
``POST /v1/responses/input_tokens``."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec

from gateway.exchange.attempt import NO_SUCH_PATH
from gateway.exchange.exchange import JSON_HEADERS, Exchange
from gateway.http.response import Response
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.translate import translate
from gateway.routing.target import Target
from providers.messages import read_count_request, write_count_request
from providers.neutral.codec import Outgoing
from providers.neutral.request import Request
from providers.neutral.tokens import estimate
from providers.responses import count_body
from streams.errors import GatewayError
from streams.events import Api

_COUNTED = (
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation",
)  # fmt: skip
"""What OpenAI's count of tokens takes of a request."""

_PATHS: Mapping[Api, str] = {"messages": "/count_tokens", "responses": "/input_tokens"}
_CALLS: Mapping[Api, Callable[[Incoming], Request]] = {
    "messages": lambda incoming: read_count_request(incoming.values()),
    "responses": lambda incoming: incoming.request,
}
_ANSWERS: Mapping[Api, Callable[[int], Mapping[str, Any]]] = {
    "messages": lambda tokens: {"input_tokens": tokens},
    "responses": count_body,
}


async def count(exchange: Exchange, body: bytes) -> Response:
    """The response to ``body``: the provider's own count where it has one, else an estimate that errs high and says
    that it is one."""
    try:
        incoming, target = await exchange.read(body)
        incoming = attrs.evolve(incoming, stream=False)
        call = _CALLS[incoming.api](incoming)
        tokens = await _counted(exchange, incoming, target, call)
    except GatewayError as error:
        return exchange.refuse(error.failed)
    exchange.record.whole = True
    headers = JSON_HEADERS if tokens is not None else (*JSON_HEADERS, ("x-trigate-estimated", "1"))
    answer = _ANSWERS[incoming.api](estimate(call) if tokens is None else tokens)
    return exchange.respond(msgspec.json.encode(answer), 200, headers)


async def _counted(exchange: Exchange, incoming: Incoming, target: Target, request: Request) -> int | None:
    """The provider's count, ``None`` if it does not count."""
    exchange.record.lane = target.lane
    if target.lane == "byte":
        calling = exchange.call(incoming, target)
    elif target.api == "messages":
        calling = exchange.call(incoming, target, Prepared(write_count_request(request, target.recipient)))
    elif target.api == incoming.api:  # its turns are kept here
        whole = translate(request, target)
        alone = attrs.evolve(whole, outgoing=_counted_alone(whole.outgoing))
        calling = exchange.call(incoming, target, alone)
    else:
        return None
    try:
        _, body = await calling.fetch(_PATHS[target.api])
    except GatewayError as error:
        if error.failed.status in NO_SUCH_PATH:
            return None
        raise
    return _tokens(body)


def _counted_alone(outgoing: Outgoing) -> Outgoing:
    """A request without what is about its answer, which the count does not take."""
    members = msgspec.json.decode(outgoing.body, type=dict[str, msgspec.Raw])
    counted = {name: raw for name, raw in members.items() if name in _COUNTED}
    return attrs.evolve(outgoing, body=msgspec.json.encode(counted))


def _tokens(body: bytes) -> int | None:
    try:
        answer: Any = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return None
    tokens = answer.get("input_tokens") if isinstance(answer, dict) else None
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None
