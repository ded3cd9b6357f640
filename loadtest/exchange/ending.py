"""The end of an exchange: its classification, its ``retry-after``, and its record."""

import email.utils
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import attrs

from loadtest.exchange.content import AnswerContent, error_message
from loadtest.exchange.plain_text import plain_text
from loadtest.exchange.record import End, ExchangeRecord, Problem
from loadtest.plan.load_endpoints import LOAD_ENDPOINTS, LoadApi

if TYPE_CHECKING:
    from loadtest.exchange.exchange import TimedExchange
    from loadtest.exchange.judging import StreamVerdict
    from loadtest.requests.sources import PlanPosition


STATUSES: Final = (429, 503)
LONGEST: Final = 60.0
"""The longest wait in seconds. Some servers request days (earendil-works/pi#4991)."""


def parse_retry_after(status: int, headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds to wait from ``now`` on, or ``None`` without a valid ``retry-after`` header."""
    said = headers.get("retry-after", "").strip()
    if status not in STATUSES or not said:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", said):
        return float(said)
    try:
        date = email.utils.parsedate_to_datetime(said)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    date = date.replace(tzinfo=UTC) if date.tzinfo is None else date
    return max(0.0, math.ceil((date - (now or datetime.now(UTC))).total_seconds()))


SHORT: Final = 100  # characters of short texts
ROUTE: Final = "x-trigate-"
REQUEST_IDS: Final = ("x-trigate-request-id", "x-request-id", "request-id", "x-amzn-requestid")


def end_of(exchange: "TimedExchange", judged: "StreamVerdict | None") -> tuple[End, Problem | None]:
    """Return the kind of end of the exchange, and its problem. ``judged`` is the verdict on a complete answer."""
    problem = exchange.problem
    if problem is not None:
        return ("unfinished", problem) if problem.kind == "unfinished" else ("error", problem)
    if exchange.client_left:
        return "cancelled", None
    if judged is None:
        return "interrupted", None
    if judged.outcome == "too large":
        return "error", Problem("too large", exchange.phase, judged.found)
    if judged.outcome == "failed":
        said = judged.reading
        return "error", Problem(f"error event: {said.error or 'error'}", exchange.phase, said.message)
    if exchange.request.stream and not judged.reading.has_content:
        shown = f": {text}" if (text := error_message(exchange.body)) else ""
        return "error", Problem(
            "no stream", exchange.phase, f"the HTTP response ended normally, but without an answer{shown}"
        )
    if judged.outcome == "cut":
        return "error", Problem(
            "cut", exchange.phase, "the HTTP response ended normally, but before the end of the answer"
        )
    if judged.rule:
        return "error", Problem(f"grammar: {judged.rule}", exchange.phase, judged.found)
    if is_empty(exchange.request.api, judged.reading):
        return "error", Problem("empty answer", exchange.phase, "the answer has neither content nor a finish reason")
    return "whole", None


def is_empty(api: LoadApi, reading: AnswerContent) -> bool:
    """Return whether an answer of a model is empty, such as a Chat response without choices.

    An answer with a finish reason and no text is not empty: models give such answers.
    """
    has_text = api == "completions" or api not in LOAD_ENDPOINTS
    return has_text and not reading.contents and not reading.finish


def record_of(
    exchange: "TimedExchange",
    position: "PlanPosition",
    begin: float,
    end: End,
    problem: Problem | None,
    waived: Sequence[str] = (),
) -> ExchangeRecord:
    """Return the record of a finished exchange. Its times count from ``begin``, a trio time."""

    def since(at: float | None) -> float | None:
        return None if at is None else at - begin

    headers = exchange.headers
    return ExchangeRecord(
        number=position.number,
        request=exchange.request.name,
        api=exchange.request.api,
        streamed=exchange.request.stream,
        manner=exchange.manner,
        turn=position.turn,
        step=position.step,
        planned=exchange.planned - begin,
        queued=exchange.queued,
        began=exchange.began - begin,
        connected=exchange.connected,
        sent=since(exchange.sent),
        first_byte=since(exchange.first_byte),
        first_event=since(exchange.first_event),
        contents=tuple(at - begin for at in exchange.contents),
        first_output=since(exchange.first_output),
        end_event=since(exchange.end_event),
        ended=exchange.ended - begin,
        status=exchange.status,
        end=end,
        problem=problem
        and attrs.evolve(problem, kind=plain_text(problem.kind, SHORT), detail=plain_text(problem.detail)),
        tokens=exchange.tokens,
        asked_input=position.asked_input,
        asked_output=position.asked_output,
        finish=plain_text(exchange.finish, SHORT),
        request_id=plain_text(next((headers[name] for name in REQUEST_IDS if name in headers), ""), SHORT),
        route=tuple((name, plain_text(value, SHORT)) for name, value in headers.items() if name.startswith(ROUTE)),
        retry_after=parse_retry_after(exchange.status, headers),
        resent=exchange.resent,
        version=exchange.version,
        events=exchange.events,
        reads=exchange.reads,
        received=exchange.received,
        waived=tuple(waived),
        characters=position.characters,
        left_open=exchange.left_open,
    )
