"""The reservation of a request: what is expected of it, from what is known before it is sent."""

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
"""Bytes of a request from which on it is looked through for files."""

LONG: Final = 2000
"""Bytes of base64 from which on they are taken for a file."""

_OTHER: Final = re.compile(rb"[^A-Za-z0-9+/=_-]")
FILE: Final = 1600
"""Tokens of an image, about; other files are of that order, and far from what their characters would be."""


async def reserve_for(context: ExchangeContext, request: PlannedRequest, run: str | None) -> Reservation | None:
    """Return the reservation of ``request``, which belongs to ``run`` and has taken nothing yet; ``None`` where no
    limit applies, or where the request only fetches a stored object."""
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
    """The allowances that its headers name. Its model has several names: what was asked for, and what that is."""
    names = (first.asked, first.entry.name, first.name, first.model)
    return context.service.allowances.by_header.of(names, context.asked.headers)


def expected_alone(incoming: Incoming) -> int:
    """The tokens of an answer that its provider makes in the background, about: whoever fetches it later may do so
    anywhere. 0 for one that it does not."""
    if not is_in_background(incoming):
        return 0
    most = requested_output(incoming).most
    return AT_FIRST if most is None else min(most, ALLOWED)


def expected_tokens(body: bytes, earlier: int) -> int:
    """The tokens of a request, about."""
    files = list(files_in(body))
    return max(1, (len(body) + earlier - sum(files)) // CHARACTERS_PER_TOKEN + FILE * len(files))


def files_in(body: bytes, least: int = LONG) -> Iterator[int]:
    """The lengths of all runs of base64 of at least so many bytes. One byte in ``least`` is looked at: no such run has
    room between two, and 15 MiB of words take 10 ms in place of half a second."""
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
