"""Token counts before a request: ``POST /v1/messages/count_tokens`` and ``POST /v1/responses/input_tokens``."""

from typing import Final

import attrs

from gateway.allowances.reservation import CountedAs
from gateway.exchange.exchange import Exchange
from gateway.exchange.planned import PlannedRequest
from gateway.http.offload import offload
from gateway.http.response import JSON_HEADERS, Response
from gateway.request.parse import Incoming
from gateway.request.prepare import prepare, translate_count
from gateway.request.prepared import Prepared
from gateway.request.public_errors import NO_SUCH_PATH
from gateway.routing.fallback import fall_back
from gateway.routing.plan import Candidate, Plan
from gateway.routing.target import Omissions, Target
from providers.apis import CODECS
from providers.neutral.tokens import estimate, read_count_answer
from streams.errors import GatewayError
from streams.events import UNAVAILABLE, ErrorInfo


async def count_tokens(exchange: Exchange, body: bytes) -> Response:
    """Return the response to ``body``: the provider's count if it has one, else a high estimate marked as such.

    The count is never 0, which switches a client's compaction off."""
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
        tokens = await offload(incoming.size, estimate, request, planned.plan.first.letters_per_token)
    return exchange.respond(CODECS[incoming.api].write_count_answer(tokens), 200, headers)


def _write_count(incoming: Incoming, target: Target, omissions: Omissions) -> Prepared:
    return translate_count(incoming.count_request, target, omissions)


_REJECTIONS: Final = (400, 413, 422)


def _is_rejected(error: ErrorInfo) -> bool:
    """Return whether a provider rejects the request itself: servers that count accept fewer members than for answers
    (anthropics/claude-code#63532), and a prompt may be too long."""
    return error.status in _REJECTIONS and error.reason not in UNAVAILABLE


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
        preparation = planned.preparation_of_prompt(_write_count)
    # It repeats the request only without rejected parts.
    plan = Plan((Candidate(target),), fall_back, deadline=planned.plan.deadline)
    once = attrs.evolve(planned, plan=plan, prepare=preparation, suffix=suffix)
    walk = None
    try:
        walk = await exchange.start_walk(attrs.evolve(once, counted_as=CountedAs.REQUEST))
        answer = await exchange.read_unchanged(walk)
    except GatewayError as error:
        several = len(planned.plan.candidates) > 1
        is_unavailable = several and error.info.reason in UNAVAILABLE
        checks = exchange.context.checks
        is_own = walk is None or (checks is not None and checks.refusal is not None)  # the gateway refuses the request
        is_rejected = not is_own and _is_rejected(error.info)
        is_no_count = error.info.reason == "bad_answer"
        if error.info.status in NO_SUCH_PATH or is_unavailable or is_rejected or is_no_count:
            return None
        raise
    return read_count_answer(answer.body) or None
