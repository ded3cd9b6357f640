"""The response to a recorded request: its headers, and the error in its client's API."""

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Final

import attrs

from gateway.http.headers import Headers, header_safe, paths_header
from gateway.http.request_scope import RequestScope
from gateway.http.response import JSON_HEADERS, Response, ResponseBody
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import ArrivedRequest, Record
from gateway.seams.observers import observers_of
from providers.apis import CODECS
from providers.neutral.hints import with_explanation
from streams.events import Api, ErrorInfo


def open_record(
    api: Api,
    ledger: Ledger,
    scope: RequestScope,
    *,
    served: bool = True,
    endpoint: str | None = None,
    arrival: ArrivedRequest | None = None,
) -> Record:
    """Return a new record of the request with ``scope``, which is settled when its last task has ended."""
    record = ledger.open(scope.id, api, served=served, endpoint=endpoint, arrival=arrival)
    record.address = scope.address
    scope.on_close(partial(ledger.settle, record))
    return record


def make_response(
    record: Record, body: bytes | ResponseBody, status: int, headers: Headers, *, is_answer: bool = False
) -> Response:
    """Return the response to the request of ``record``, with the headers of every response. ``is_answer``: it is what
    the model or another endpoint has responded."""
    record.mark_answered(status)
    if record.notes:
        for note in record.notes.values():
            if note.forbids_storing:
                headers = (*(pair for pair in headers if pair[0] != "cache-control"), ("cache-control", "no-store"))
    observers, is_whole = observers_of(record), isinstance(body, bytes)
    observers.note_response(status, headers, body if isinstance(body, bytes) else None, is_answer=is_answer)
    if record.forms is not None:
        headers = record.forms.headers(status, headers)
    own = own_headers(record)
    if is_whole:  # the cost of a stream is unknown when its headers are sent
        own = (*own, *cost_headers(record))
    return Response(status, (*headers, *own, *observers.headers(record, is_whole=is_whole)), body)


def error_response(record: Record, error: ErrorInfo, *, headers: Headers = ()) -> Response:
    """Record ``error`` and return it in the client's API with ``headers`` added; the provider's own body if it fits
    unchanged."""
    if record.forms is not None:
        error = record.forms.error(error)
    record.error = error
    codec = CODECS[record.api]
    written = {name for name, _ in codec.wire.error_headers(error)}
    own = tuple(pair for pair in error.headers if pair[0] not in written)
    body = error.body or codec.write_error(error, record.id)
    return attrs.evolve(make_response(record, body, error.status, (*own, *JSON_HEADERS, *headers)), error=error)


MAX_TRIED_HEADER: Final = 1000
LONGEST_WORD: Final = 100
"""Characters of the attempts in a header."""


def tried_header(attempts: Sequence[AttemptRecord]) -> str | None:
    """Return the attempts of an exchange in order, as ``place=reason``; only the last ones if there are many."""
    parts = [f"{one.target}={one.reason}" for one in attempts]
    while len(text := ", ".join(parts)) > MAX_TRIED_HEADER:
        del parts[0]
    return text or None


def cost_headers(record: Record) -> Headers:
    """Return the cost of all attempts of an exchange in dollars, and its grade.

    Returns nothing without a price, and only the grade if a subscription paid."""
    cost = record.bill.cost() if record.bill.attempt_records else None
    if cost is None:
        return ()
    dollars = () if cost.grade == "subscription" else (("x-trigate-cost", cost.dollars),)
    return (*dollars, ("x-trigate-cost-grade", cost.grade))


def _header_safe(values: dict[str, str]) -> dict[str, str]:
    """Return ``values`` encoded so that no name from a client or the configuration can end its header."""
    together = "".join(values.values())
    if header_safe(together) is together:  # as nearly all are
        return values
    return {name: header_safe(value) for name, value in values.items()}


def own_headers(record: Record) -> Headers:
    """Return the headers that trigate adds to every response of an exchange."""
    dropped = record.dropped and tuple(chain.from_iterable(map(with_explanation, record.dropped)))
    own = {
        **dict.fromkeys(CODECS[record.api].wire.id_headers, record.id),
        "x-trigate-lane": record.lane,
        "x-trigate-attempts": str(record.attempts),
        "x-trigate-dropped": paths_header(dropped) if dropped else None,
        "x-trigate-adapted": paths_header(record.adapted) if record.adapted else None,
        "x-trigate-target": record.target,
        "x-trigate-model": record.model,
        "x-trigate-tried": tried_header(record.bill.attempt_records),
        "x-trigate-upstream-request-id": record.upstream_id,
        "x-trigate-unknown-end": None if record.unknown_end is None else record.unknown_end[:LONGEST_WORD],
    }
    if record.notes:
        for note in record.notes.values():
            own |= note.headers()
    left: Headers = ()
    if record.reservation is not None:
        left = record.reservation.budget_headers(delivered=record.delivered, failed=record.error is not None)
    if record.error is not None:
        left = (*left, *CODECS[record.api].wire.error_headers(record.error))
    return (*_header_safe({name: value for name, value in own.items() if value is not None}).items(), *left)
