"""``POST /v1/responses/compact``: reduce a conversation to one item, with any provider."""

import time
from contextlib import suppress

import attrs
import msgspec

from gateway.exchange.answering import fold_answer, is_stream
from gateway.exchange.attempt_answer import UnchangedAnswer
from gateway.exchange.exchange import Exchange
from gateway.exchange.planned import PlannedRequest
from gateway.http.offload import offload
from gateway.http.response import JSON_HEADERS, Response
from gateway.request.parse import Incoming
from gateway.request.prepare import prepare, translate
from gateway.request.prepared import Prepared
from gateway.request.public_errors import NO_SUCH_PATH
from gateway.routing.plan import Plan
from gateway.routing.target import Omissions, Target
from providers.responses.answer import compaction_response, find_compaction
from providers.responses.compaction import compaction_request
from providers.responses.tools import own_id
from streams.errors import GatewayError
from streams.events import UNAVAILABLE

CONTINUATION_MEMBERS = ("previous_response_id", "conversation")


async def compact(exchange: Exchange, body: bytes) -> Response:
    """Return the response to ``body``: the provider's own compaction if it has one, else its model's summary."""
    try:
        planned = await exchange.read(body)
        planned = attrs.evolve(planned, incoming=attrs.evolve(planned.incoming, stream=False))
        target = exchange.first_available(planned.plan)
        if (
            target is not None
            and target.lane == "byte"
            and (response := await _provider_compaction(exchange, planned, target)) is not None
        ):
            return response
        return await _summarise(exchange, planned)
    except GatewayError as error:
        return exchange.refuse(error.info)


async def _provider_compaction(exchange: Exchange, planned: PlannedRequest, target: Target) -> Response | None:
    """Return the provider's own compaction.

    Returns ``None`` if the provider has none, or if it is unavailable and another target can write a summary."""
    once = attrs.evolve(planned, plan=Plan.once(target, planned.plan.deadline), suffix="/compact")
    walk = await exchange.start_walk(attrs.evolve(once, prepare=planned.preparation_of_prompt(prepare)))
    try:
        answer = await exchange.read_unchanged(walk)
    except GatewayError as error:
        several = len(planned.plan.candidates) > 1 and error.info.reason in UNAVAILABLE
        if (several or error.info.status in NO_SUCH_PATH) and not _needs_stored_turns(planned.incoming):
            return None
        raise
    with suppress(GatewayError):  # only its cost needs to be readable
        target_request, body = answer.source.target_request, answer.body
        streamed = is_stream(target_request, answer.content_type)
        folded = await offload(len(body), fold_answer, target_request, body, streamed=streamed, texts=False)
        folded.report(exchange.record)
    exchange.record.bill.is_complete = True
    public = await _check_body(exchange, answer, await answer.public_body())
    return exchange.respond(public, 200, (*JSON_HEADERS, *answer.client_headers))


def _needs_stored_turns(incoming: Incoming) -> bool:
    """Return whether the provider stores a part of the conversation, without which a summary is incomplete."""
    values = (incoming.members.get(name, b"null") for name in CONTINUATION_MEMBERS)
    return any(bytes(raw) != b"null" for raw in values) or b'"item_reference"' in incoming.body


def _write_summary(incoming: Incoming, target: Target, omissions: Omissions) -> Prepared:
    return translate(compaction_request(incoming.request), target, omissions)


async def _summarise(exchange: Exchange, planned: PlannedRequest) -> Response:
    """Return a model's summary as a compaction. Raises ``GatewayError``: 502 if the summary is incomplete."""
    plan = planned.plan.with_each_target(lambda target: attrs.evolve(target, lane="hub"))
    walk = await exchange.start_walk(attrs.evolve(planned, plan=plan, prepare=planned.preparation(_write_summary)))
    whole = await exchange.read_unchanged(walk)
    streamed = is_stream(whole.source.target_request, whole.content_type)
    folded = fold_answer(whole.source.target_request, whole.body, streamed=streamed)
    folded.report(exchange.record)
    if (error := folded.fold.error) is not None:
        checks, failure = whole.source.target_request.checks, GatewayError.of(error)
        raise failure if checks is None else await checks.check_error(failure)
    answer = folded.fold.answer()
    compaction = compaction_response(own_id("resp_"), int(time.time()), find_compaction(answer), answer.usage)
    exchange.record.reason, exchange.record.bill.is_complete = answer.end.reason, True
    public = await _check_body(exchange, whole, msgspec.json.encode(compaction))
    return exchange.respond(public, 200, (*JSON_HEADERS, *whole.client_headers))


async def _check_body(exchange: Exchange, answer: UnchangedAnswer, body: bytes) -> bytes:
    """Return ``body``, made from ``answer``, as its checks release it. Raises ``GatewayError`` for a refusal."""
    if (checks := answer.source.target_request.checks) is None:
        return body
    return await checks.check_body(exchange.context.codec.api, body, exchange.context.observers)
