"""The ledger: settles each exchange exactly once and writes its log line."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import msgspec
import trio

from gateway.http.headers import LONGEST_PATH, MOST_PATHS, first_paths
from gateway.ledger.bill import AttemptRecord, Bill
from gateway.ledger.figures import Figures
from gateway.ledger.record import UNOBSERVED, ArrivedRequest, Ended, Record, RecordObservers, project_of
from gateway.logs.audit import Audit
from gateway.logs.loggers import EXCHANGES
from gateway.logs.masking import Mask, without_quotations
from providers.catalog.prices import NANOS, USUAL_TIERS, has_tier_price
from streams.events import Api, ErrorInfo

LONGEST = 1000  # characters of a message in a log line
LONGEST_NAME = 200  # characters of a name or an id in a log line
MOST_TRIED = 20  # attempts in a log line
LONGEST_TIER = 40  # characters of a provider's word in a warning
MOST_TIERS = 100  # different warnings
LONGEST_LINE = 16 * 1024  # bytes
USUAL_WORDS = frozenset(
    (
        None, "stop", "length", "tool_calls", "function_call", "content_filter", "end_turn", "stop_sequence",
        "max_tokens", "tool_use", "completed", "max_output_tokens", "STOP", "MAX_TOKENS",
    )
)  # fmt: skip
"""Providers' words for the end of an answer that the log line omits, because ``reason`` has the same meaning."""
_NAMES: Final = ("model", "target", "provider_reason", "served_model", "route", "upstream_request_id")
"""The fields with names or ids of clients and providers, which are masked and cut if they are long."""
_NO_FIELDS: Mapping[str, Any] = {}
_MASKED_LENGTH = 4096  # characters of a text that are masked before the text is cut


FormatLine: TypeAlias = Callable[[Mapping[str, Any], Mask, bool], str]
"""Returns the text of a line for people; true if an observer keeps the error with the provider's own message."""

log = logging.getLogger(EXCHANGES)
operator_log = logging.getLogger("trigate.ledger")


class Ledger:
    """Settles records and writes one log line for each.

    ``format_line`` makes lines for people; without it they are JSON. ``open_records`` are the records of running
    exchanges. ``mask`` removes secrets from lines. ``audit`` records events that belong to no exchange. ``observe``
    starts the observers of each exchange. ``figures`` are those of other events."""

    def __init__(self, format_line: FormatLine | None = None) -> None:
        self._format_line = format_line
        self.mask = Mask()
        self.audit = Audit()
        self.count = 0
        self.figures = Figures()
        self.open_records: set[Record] = set()
        self._tiers_without_price: set[tuple[str, str]] = set()
        self.observe: Callable[[Record, ArrivedRequest | None], RecordObservers] = lambda record, arrival: UNOBSERVED
        self.finishers: list[Callable[[float], Awaitable[None]]] = []
        """Called with a limit in seconds when the process ends, after its last exchange."""

    def open(
        self,
        id: str,
        api: Api,
        *,
        served: bool = True,
        endpoint: str | None = None,
        arrival: ArrivedRequest | None = None,
    ) -> Record:
        """Return the record of a new exchange, which ``settle`` closes. ``served``: the path exists. ``endpoint`` names
        the endpoint of a request that is not a conversation. ``arrival`` is set if a trace may continue in it."""
        record = Record(id, api, served=served, endpoint=endpoint)
        self.open_records.add(record)
        if arrival is not None:
            record.project = project_of(arrival.headers)
        record.observers = self.observe(record, arrival)
        return record

    async def finish(self, seconds: float) -> None:
        """Call the ``finishers`` simultaneously, each with the limit ``seconds``."""
        async with trio.open_nursery() as nursery:
            for finisher in tuple(self.finishers):
                nursery.start_soon(finisher, seconds)

    def flush(self) -> None:
        """Settle all open records before the process exits."""
        for record in tuple(self.open_records):
            record.shut_down = True
            self.settle(record, disconnected=True)

    def settle(self, record: Record, disconnected: bool) -> None:
        """Settle ``record``, write its log line and call its observers; nothing if it is settled already.

        ``disconnected``: the client disconnected before the response was complete."""
        if record.settled:
            return
        record.settled = record.bill.settled = True
        self.open_records.discard(record)
        self.count += 1
        more = record.observers.fields(record)
        if record.reservation is not None:
            record.reservation.settle(delivered=record.delivered)
            record.waited += record.reservation.wait_seconds
        usage = record.bill.usage
        if usage is not None and usage.tier is not None and usage.tier not in USUAL_TIERS:
            self._warn_of_tiers(record)
        line = self.line(record, disconnected, more)
        encoded = msgspec.json.encode(line)
        if len(encoded) > LONGEST_LINE:  # a JSON escape takes up to six bytes per character
            line = {name: value[:LONGEST_NAME] if isinstance(value, str) else value for name, value in line.items()}
            encoded = msgspec.json.encode(line)
        if self._format_line is None:
            log.info(encoded.decode())
        else:
            log.info(self._format_line(line, self.mask, record.observers.keeps_errors))
        record.observers.note_end(record, line)

    def _warn_of_tiers(self, record: Record) -> None:
        """Warn once of each target's service tier without a price; the tier is that of the response."""
        for charge in record.bill.charges():
            tier, price, target = charge.usage.tier, charge.attempt.price, charge.attempt.target
            if tier is None or price is None or charge.usage.reported_nanos is not None or has_tier_price(price, tier):
                continue
            tier, known = self.mask(tier[:LONGEST_TIER]), self._tiers_without_price
            if (target, tier) not in known and len(known) < MOST_TIERS:
                known.add((target, tier))
                operator_log.warning(
                    "%s: the service tier %r has no price, so its cost is estimated at the standard price: set "
                    "price.tiers.%s for this entry", target, tier, tier,
                )  # fmt: skip

    def line(self, record: Record, disconnected: bool, more: Mapping[str, Any] = _NO_FIELDS) -> dict[str, Any]:
        """Return the fields of the log line that have a value, with ``more`` from observers."""
        error, ended = record.error, record.ending(disconnected)
        usage, estimated = record.bill.usage_or_estimate()
        cost = record.bill.cost() if record.attempts or record.bill.from_cache else None
        fields: dict[str, Any] = {
            "event": "exchange",
            "at": _format_second(int(time.time())),
            "request_id": record.id,
            "client": record.client,
            "address": record.address,
            "project": record.project,
            "api": record.api if record.served else "none",
            "endpoint": record.endpoint,
            "model": record.requested_model,
            **record.labels,
            "target": record.target,
            "provider_api": record.provider_api,
            "lane": record.lane,
            "stream": record.stream,
            "status": _status(record.status, ended),
            "ended": ended,
            "reason": record.reason,
            "provider_reason": record.provider_reason if record.provider_reason not in USUAL_WORDS else None,
            "served_model": usage.fallback_model if usage is not None and usage.steps else None,
            "first_byte_ms": _ms(record.first_byte),
            "duration_ms": _ms(time.perf_counter() - record.began),
            "input_tokens": usage and usage.prompt,
            "cached_tokens": usage and usage.cache_read,
            "cache_write_tokens": usage and (usage.cache_write or None),
            "output_tokens": usage and usage.output,
            "units": dict(usage.units) if usage is not None and usage.units else None,
            **(self._details(record) if record.details else _NO_FIELDS),
            "usage_complete": usage is not None and record.bill.is_complete and not estimated
            if record.attempts
            else None,
            "usage_estimated": estimated or None,
            "cost_usd": None if cost is None or cost.grade == "subscription" else cost.nanos / NANOS,
            "cost_grade": cost and cost.grade,
            "computed_usd": None if cost is None or cost.computed is None else cost.computed / NANOS,
            **(_notes(record) if record.notes else _NO_FIELDS),
            **more,
            "attempts": record.attempts,
            "route": record.route,
            "waited_ms": _ms(record.waited) if record.waited else None,
            "tried": [self._attempt(one, record.bill) for one in record.bill.attempt_records[-MOST_TRIED:]]
            if adds_information(record.bill.attempt_records)
            else None,
            # If the client stopped reading, timing decides whether it still received the error.
            "error": "overloaded" if ended == "shutdown" else error and error.kind,
            "message": error and self._message(error),
            "upstream_request_id": record.upstream_id or (record.answer_start and record.answer_start.id) or None,
            "dropped": self._paths(record.dropped) if record.dropped else None,
            "adapted": self._paths(record.adapted) if record.adapted else None,
            "repaired": self._paths(record.repaired) if record.repaired else None,
            "operator": self._paths(record.by_operator) if record.by_operator else None,
        }
        for name in _NAMES:
            if (text := fields[name]) is not None and len(text) > LONGEST_NAME:
                fields[name] = self._mask_and_cut(text, LONGEST_NAME)
        return {name: value for name, value in fields.items() if value is not None}

    def _details(self, record: Record) -> Mapping[str, Any]:
        """Return the fields of features, whose texts come from clients."""
        return {
            field: {name: self._mask_and_cut(text, LONGEST_NAME) for name, text in facts.items()} or None
            for field, facts in record.details.items()
        }

    def _mask_and_cut(self, text: str | None, longest: int = LONGEST) -> str | None:
        """Return a client's or a provider's text, masked and then cut. A cut key would escape the mask."""
        return text if text is None or len(text) <= longest else self.mask(text[:_MASKED_LENGTH])[:longest] + "…"

    def _attempt(self, one: AttemptRecord, bill: Bill) -> dict[str, Any]:
        charge = None if one.committed else bill.charge(one)
        fields = {
            "target": self._mask_and_cut(one.target, LONGEST_NAME),
            "api": one.api,
            "lane": one.lane,
            "cause": one.cause,
            "reason": one.reason,
            "status": one.status,
            "head_ms": _ms(one.head),
            "content_ms": _ms(one.content),
            "duration_ms": _ms(one.seconds),
            "input_tokens": charge and charge.usage.prompt,
            "output_tokens": charge.usage.output if charge is not None and one.usage is not None else None,
            "usage": None if one.unknown_usage is None or one.usage is not None else "unknown",
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _message(self, error: ErrorInfo) -> str | None:
        """Return the error's message; without quotes of the request unless the level is ``debug``."""
        if log.isEnabledFor(logging.DEBUG):
            return self._mask_and_cut(error.message)
        return self._mask_and_cut(without_quotations(self.mask(error.loggable_message[:_MASKED_LENGTH])))

    def _paths(self, paths: tuple[str, ...]) -> str:
        longest = max(map(len, paths[:MOST_PATHS]))
        if longest > LONGEST_PATH:
            paths = (*(self.mask(path[:_MASKED_LENGTH]) for path in paths[:MOST_PATHS]), *paths[MOST_PATHS:])
        return ",".join(first_paths(paths))


def adds_information(tried: tuple[AttemptRecord, ...]) -> bool:
    """Return whether the attempts add information to the log line: a single successful attempt adds none."""
    return len(tried) > 1 or (bool(tried) and tried[0].reason != "ok")


def _notes(record: Record) -> Mapping[str, Any]:
    """Return the fields in the notes of features."""
    fields: dict[str, Any] = {}
    for note in record.notes.values():
        fields |= note.fields(record.bill)
    return fields


@lru_cache(maxsize=1)
def _format_second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _status(sent: int | None, ended: Ended) -> int:
    """Return the status that the client received or would have received."""
    if ended == "client_disconnected":
        return 499  # nginx's status for a client that closed the connection
    return sent or (503 if ended == "shutdown" else 500)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
