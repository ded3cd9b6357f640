"""The reservation of a request: its estimated usage before it is sent."""

import re
from collections.abc import Iterator
from typing import Final

from gateway.allowances.allowance import Allowance
from gateway.allowances.expected import ALLOWED, AT_FIRST, requested_output
from gateway.allowances.reservation import Payer, Reservation
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import Form, PlannedRequest
from gateway.http.offload import offload
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.request.parse import Incoming
from gateway.request.repeatable import is_in_background
from gateway.routing.target import Target

SEARCHED_SIZE: Final = 16 * 1024
"""Bytes of a request beyond which it is searched for files."""

FILE_LENGTH: Final = 2000
"""Characters in a run of base64 beyond which it counts as a file."""

_NOT_BASE64: Final = re.compile(rb"[^A-Za-z0-9+/=_-]")
FILE_TOKENS: Final = 1600
"""Estimated tokens of an image. Other files have a similar number, far fewer than their characters suggest."""


async def reserve_for(context: ExchangeContext, request: PlannedRequest, run: str | None) -> Reservation | None:
    """Return the reservation of ``request``, which belongs to ``run``; nothing is reserved yet.

    Returns ``None`` if no limit applies, or if the request only fetches a stored object."""
    allowances, client, incoming = context.service.allowances, context.client_request.client, request.incoming
    by_header = _allowances_by_header(context, request.plan.first) if allowances.by_header else ()
    limited = by_header or allowances.of_client(client) or any(map(allowances.of_target, request.plan.targets))
    if not (limited or request.budgets) or request.form is Form.AS_ASKED:
        return None
    bill = context.record.bill
    tokens = bill.estimated_input()
    if len(incoming.body) > SEARCHED_SIZE:
        tokens = await offload(len(incoming.body), expected_tokens, incoming.body, incoming.earlier_size)
    asks = requested_output(incoming) if request.asks is None else request.asks
    payer, counted_as, begins = Payer(client, run), request.counted_as, request.begins
    return Reservation(allowances, payer, bill, tokens, asks, request.budgets, counted_as, by_header, begins)


def _allowances_by_header(context: ExchangeContext, first: Target) -> tuple[Allowance, ...]:
    """Return the allowances of the request's headers that apply to the model of ``first``."""
    names = (first.requested_name, first.entry.name, first.name, first.model)
    return context.service.allowances.by_header.of(names, context.client_request.headers, context.client_request.client)


def expected_background_tokens(incoming: Incoming) -> int:
    """Return the estimated output tokens of a request that runs in the background, otherwise 0.

    Another process may fetch the response later."""
    if not is_in_background(incoming):
        return 0
    most = requested_output(incoming).most
    return AT_FIRST if most is None else min(most, ALLOWED)


def expected_tokens(body: bytes, earlier: int) -> int:
    """Return the estimated input tokens of a request; ``earlier`` is the size of its earlier turns in bytes."""
    files = list(base64_lengths(body))
    return max(1, (len(body) + earlier - sum(files)) // CHARACTERS_PER_TOKEN + FILE_TOKENS * len(files))


def base64_lengths(body: bytes, least: int = FILE_LENGTH) -> Iterator[int]:
    """Yield the lengths of all runs of at least ``least`` base64 characters.

    It only inspects every ``least``-th byte, because no such run fits between two of them; 15 MiB of text take 10 ms
    instead of half a second."""
    at = least - 1
    while at < len(body):
        other = _NOT_BASE64.search(body, at)
        end = len(body) if other is None else other.start()
        if end == at:
            at += least
            continue
        before = _NOT_BASE64.search(body[at - least + 1 : at][::-1])
        length = end - at + (least - 1 if before is None else before.start())
        if length >= least:
            yield length
        at = end + least
