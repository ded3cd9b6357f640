"""Token counts before a request: ``POST /v1/messages/count_tokens`` and ``POST /v1/responses/input_tokens``."""

import attrs

from gateway.allowances.reservation import CountedAs
from gateway.exchange.exchange import Exchange
from gateway.exchange.planned import PlannedRequest, as_prepared
from gateway.http.offload import offload
from gateway.http.response import JSON_HEADERS, Response
from gateway.request.parse import Incoming
from gateway.request.prepare import prepare, translate_count
from gateway.request.prepared import Prepared
from gateway.request.public_errors import NO_SUCH_PATH
from gateway.routing.plan import Plan
from gateway.routing.target import NOTHING, Omissions, Target
from providers.apis import CODECS
from providers.neutral.tokens import estimate, read_count_answer
from streams.errors import GatewayError
from streams.events import UNAVAILABLE


async def count_tokens(exchange: Exchange, body: bytes) -> Response:
    """Return the response to ``body``: the provider's count if it has one, else a high estimate marked as such."""
    exchange.record.bill.billed = False
    try:
        planned = await exchange.read(body)
        incoming = attrs.evolve(planned.incoming, stream=False)
        counted = planned.with_instructions(incoming)
        request = await offload(incoming.size, lambda: counted.count_request)
        tokens = await _provider_count(exchange, attrs.evolve(planned, incoming=incoming))
    except GatewayError as error:
        return exchange.refuse(error.info)
    exchange.record.bill.is_complete = True
    headers = JSON_HEADERS if tokens is not None else (*JSON_HEADERS, ("x-trigate-estimated", "1"))
    if tokens is None:
        tokens = await offload(incoming.size, estimate, request)
    return exchange.respond(CODECS[incoming.api].write_count_answer(tokens), 200, headers)


class _NoCountError(Exception):
    """The error for a provider's API that counts no tokens."""


def _write_count(incoming: Incoming, target: Target, omissions: Omissions) -> Prepared:
    if (prepared := translate_count(incoming.count_request, target)) is None:
        raise _NoCountError
    return prepared


async def _provider_count(exchange: Exchange, planned: PlannedRequest) -> int | None:
    """Return the count of the first available target, ``None`` if it does not count.

    If it fails, the client gets an estimate, just as its requests go to the next target."""
    target = exchange.first_available(planned.plan)
    if target is None:
        return None
    exchange.record.lane = target.lane
    if (suffix := target.suffix_of("count")) is None:
        return None
    preparation = planned.preparation_of_prompt(prepare)
    if target.lane == "hub" or planned.has_instructions(target):  # Gemini accepts no instructions next to contents
        write = planned.preparation_of_prompt(_write_count)
        try:
            prepared = await offload(planned.incoming.size, write, target, NOTHING)
        except _NoCountError:
            return None
        preparation = as_prepared(prepared)
    once = attrs.evolve(planned, plan=Plan.once(target), prepare=preparation, suffix=suffix)
    walk = await exchange.start_walk(attrs.evolve(once, counted_as=CountedAs.REQUEST))
    try:
        answer = await exchange.read_unchanged(walk)
    except GatewayError as error:
        several = len(planned.plan.candidates) > 1
        if error.info.status in NO_SUCH_PATH or (several and error.info.reason in UNAVAILABLE):
            return None
        raise
    return read_count_answer(answer.body)
