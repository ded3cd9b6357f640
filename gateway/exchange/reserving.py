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

LOOKED_THROUGH: Final = 16 * 1024
"""Bytes of a request from which on it is searched for files."""

LONG: Final = 2000
"""Characters of base64 from which on they count as a file."""

_OTHER: Final = re.compile(rb"[^A-Za-z0-9+/=_-]")
FILE: Final = 1600
"""Estimated tokens of an image. Other files have a similar number, far fewer than their characters suggest."""


async def reserve_for(context: ExchangeContext, request: PlannedRequest, run: str | None) -> Reservation | None:
    """Return the reservation of ``request``, which belongs to ``run``; nothing is reserved yet.

    Returns ``None`` if no limit applies, or if the request only fetches a stored object."""
    allowances, client, incoming = context.service.allowances, context.asked.client, request.incoming
    by_header = _by_header(context, request.plan.first) if allowances.by_header else ()
    limited = by_header or allowances.of_client(client) or any(map(allowances.of_target, request.plan.targets))
    if not (limited or request.budgets) or request.form is Form.AS_ASKED:
        return None
    bill = context.record.bill
    tokens = bill.tokens_asked()
    if len(incoming.body) > LOOKED_THROUGH:
        tokens = await offload(len(incoming.body), expected_tokens, incoming.body, incoming.earlier_size)
    asks = requested_output(incoming) if request.asks is None else request.asks
    payer, counted_as, begins = Payer(client, run), request.counted_as, request.begins
    return Reservation(allowances, payer, bill, tokens, asks, request.budgets, counted_as, by_header, begins)


def _by_header(context: ExchangeContext, first: Target) -> tuple[Allowance, ...]:
    """Return the allowances that its headers name, under any of its model's names."""
    names = (first.asked, first.entry.name, first.name, first.model)
    return context.service.allowances.by_header.of(names, context.asked.headers)


def expected_alone(incoming: Incoming) -> int:
    """Return the estimated tokens of a response that is created in the background, otherwise 0.

    Another process may fetch it later."""
    if not is_in_background(incoming):
        return 0
    most = requested_output(incoming).most
    return AT_FIRST if most is None else min(most, ALLOWED)


def expected_tokens(body: bytes, earlier: int) -> int:
    """Return the estimated tokens of a request."""
    files = list(files_in(body))
    return max(1, (len(body) + earlier - sum(files)) // CHARACTERS_PER_TOKEN + FILE * len(files))


def files_in(body: bytes, least: int = LONG) -> Iterator[int]:
    """Yield the lengths of all runs of at least ``least`` base64 characters.

    It only inspects every ``least``-th byte, because no such run fits between two of them; 15 MiB of text take 10 ms
    instead of half a second."""
    at = least - 1
    while at < len(body):
        other = _OTHER.search(body, at)
        end = len(body) if other is None else other.start()
        if end == at:
            at += least
            continue
        before = _OTHER.search(body[at - least + 1 : at][::-1])
        length = end - at + (least - 1 if before is None else before.start())
        if length >= least:
            yield length
        at = end + least
