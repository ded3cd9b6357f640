"""The reservation of a request: its estimated usage before it is sent."""

import re
from collections.abc import Iterator
from typing import Final

import attrs
import trio

from gateway.allowances.allowance import Allowance
from gateway.allowances.expected import ALLOWED, AT_FIRST, RequestSize
from gateway.allowances.reservation import Payer, Reservation
from gateway.allowances.runs import run_of
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import Form, PlannedRequest
from gateway.http.offload import offload
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.request.parse import Incoming
from gateway.request.prepared import UNSPECIFIED, Prepared, RequestedOutput
from gateway.request.repeatable import is_in_background
from gateway.routing.most_useful import most_useful
from gateway.routing.plan import Outcome, Stage
from gateway.routing.target import Target
from streams.errors import GatewayError
from streams.events import Api

SEARCHED_SIZE: Final = 16 * 1024
"""Bytes of a request beyond which it is searched for files."""

FILE_LENGTH: Final = 2000
"""Characters in a run of base64 beyond which it counts as a file."""

_BASE64: Final = re.compile(rb"[A-Za-z0-9+/=_-]+")
_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/=_-]")
_NEAR: Final = 64
"""Bytes before a place in which a text has another character, so that more need not be copied and searched."""
FILE_TOKENS: Final = 1600
"""Estimated tokens of an image. Other files have a similar number, far fewer than their characters suggest."""


def with_subscription_marks(context: ExchangeContext, request: PlannedRequest) -> PlannedRequest:
    """Return the request with a mark on each target that the client's subscription pays for."""
    if not context.service.router.passes_credentials:
        return request
    return attrs.evolve(request, plan=request.plan.with_each_target(context.with_subscription_mark))


def reservation_for(context: ExchangeContext, request: PlannedRequest, run_id: str | None) -> Reservation | None:
    """Return the reservation of ``request``, which belongs to the run ``run_id``; it is still empty.

    Each attempt adds the expected usage of the request that it sends.

    Returns ``None`` if no limit applies, or if the request only fetches a stored object."""
    allowances, client = context.service.allowances, context.client_request.client
    by_header = _allowances_by_header(context, request.plan.first) if allowances.by_header else ()
    limited = by_header or allowances.of_client(client) or any(map(allowances.of_target, request.plan.targets))
    if not (limited or request.budgets) or request.form is Form.REJECTED:
        return None
    payer, bill, counted_as, begins = Payer(client, run_id), context.bill, request.counted_as, request.begins
    deadline = trio.current_time() + request.plan.deadline - context.service.health.clock()
    return Reservation(allowances, payer, bill, request.budgets, counted_as, by_header, begins, deadline)


def size_of(prepared: Prepared, api: Api) -> RequestSize:
    """Return the size of the request that a provider with ``api`` receives."""
    return _size(prepared, prepared.output_at(api))


def sent_size_of(prepared: Prepared) -> RequestSize:
    """Return the size of a request without the output that a conversation allows, which would have to be decoded."""
    return _size(prepared, prepared.output or UNSPECIFIED)


def _size(prepared: Prepared, output: RequestedOutput) -> RequestSize:
    tokens = output.input
    if tokens is None:
        tokens = sum(map(_body_tokens, (prepared.outgoing.body, *prepared.later_bodies)))
    return RequestSize(tokens, output, prepared.requests)


def _body_tokens(body: bytes) -> int:
    if len(body) <= SEARCHED_SIZE:
        return max(1, len(body) // CHARACTERS_PER_TOKEN)
    return expected_tokens(body)


def _allowances_by_header(context: ExchangeContext, first: Target) -> tuple[Allowance, ...]:
    """Return the allowances of the request's headers that apply to the model of ``first``."""
    names = (first.requested_name, first.entry.name, first.name, first.model)
    return context.service.allowances.by_header.of(names, context.client_request.headers, context.client_request.client)


def expected_background_tokens(incoming: Incoming, output: RequestedOutput) -> int:
    """Return the estimated output tokens of a background request, 0 for any other.

    Its usage stays unknown, because the client may fetch the response elsewhere."""
    if not is_in_background(incoming):
        return 0
    return AT_FIRST if output.max_tokens is None else min(output.max_tokens, ALLOWED)


def expected_tokens(body: bytes) -> int:
    """Return the estimated input tokens of a request with ``body``."""
    files = list(base64_lengths(body))
    return max(1, (len(body) - sum(files)) // CHARACTERS_PER_TOKEN + FILE_TOKENS * len(files))


def base64_lengths(body: bytes, min_length: int = FILE_LENGTH) -> Iterator[int]:
    """Yield the lengths of all runs of at least ``min_length`` base64 characters.

    It only inspects every ``min_length``-th byte, because no such run fits between two of them: 15 MiB of text take
    10 ms instead of half a second."""
    at = min_length - 1
    while at < len(body):
        run = _BASE64.match(body, at)
        if run is None:
            at += min_length
            continue
        end = run.end()
        if end - at + _NEAR < min_length and _NOT_BASE64.search(body, max(0, at - _NEAR), at):  # a word of a text
            at = end + min_length
            continue
        before = _NOT_BASE64.search(body[at - min_length + 1 : at][::-1])
        length = end - at + (min_length - 1 if before is None else before.start())
        if length >= min_length:
            yield length
        at = end + min_length


async def reserve_first(context: ExchangeContext, request: PlannedRequest) -> Reservation | None:
    """Reserve the expected usage of ``request`` before any work for it, so that exceeded limits fail first, in addition
    to what it has reserved.

    The first target that the client's budgets allow counts. Raises ``GatewayError`` if there is none."""
    service = context.service
    if not service.allowances.has_limits and not request.budgets:
        return None
    run = context.record.run = run_of(context.client_request, request.incoming)
    reservation = context.record.reservation = request.reservation or reservation_for(context, request, run)
    if reservation is None:
        return None
    refusals: list[Outcome] = []
    for target in with_subscription_marks(context, request).plan.targets:
        known = service.rejections.known_omissions(target, context.client_request)
        try:
            prepared = await offload(request.incoming.size, request.prepare, target, known)
        except GatewayError as error:
            if error.info.reason is None:  # as in a walk
                raise
            refusals.append(Outcome(target, error.info, Stage.PREPARING))
            continue
        size = await offload(prepared.size, size_of, prepared, target.api)
        if (refusal := await reservation.reserve_client(target, size)) is None:
            return reservation
        refusals.append(Outcome(target, refusal, Stage.WAITING, requests=0))
    raise GatewayError.of(most_useful(refusals))
