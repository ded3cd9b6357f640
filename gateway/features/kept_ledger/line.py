"""A line of the kept ledger: an exchange's usage and costs, without any content."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from gateway.ledger.bill import AttemptRecord, Charge
from gateway.ledger.record import Ended, Record
from providers.catalog.prices import GRADES, grade_rank
from streams.events import Usage

if TYPE_CHECKING:
    from gateway.features.prompt_caches.interface import CacheLoss, CacheVerdict, JudgedAttempt

UNPRICED: Final = len(GRADES)
"""The grade of an attempt whose price is unknown, and whose cost no sum includes."""

MAX_TEXT: Final = 200  # characters of a text that a client chose
_MAX_TEXT_IN_MEMORY: Final = 4 * MAX_TEXT  # the same in memory, longer so that long keys are found and masked
_NO_USAGE: Final = Usage()

CAUSE_COLUMNS: Final = (("cause", "cause_tokens", "cause_nanos"), ("second_cause", "second_tokens", "second_nanos"))
"""The columns of the name, the missed tokens and the loss of each cause."""

UNIT_COLUMNS: Final[Mapping[str, str]] = {
    "image": "images", "second": "seconds", "character": "characters", "search": "searches", "query": "searches",
    "page": "pages",
}  # fmt: skip
"""The columns of units billed in addition to tokens; two providers' words for a search share one."""


@attrs.frozen(eq=False, repr=False)
class LineAttempt:
    """An attempt of an exchange, with its cost: ``target`` is the configured name, ``model`` the provider's.

    ``grade`` is the rank of a ``GRADES`` entry or ``UNPRICED``, ``None`` if nothing was billed. ``upstream_id`` is the
    provider's id of the request, or of a batch. ``verdict`` is that about the provider's prompt cache, with its
    ``loss``."""

    target: str
    model: str | None
    reason: str
    usage: Usage = _NO_USAGE
    nanos: int = 0
    grade: int | None = None
    upstream_id: str | None = None
    verdict: "CacheVerdict | None" = None
    loss: "CacheLoss | None" = None


@attrs.frozen(eq=False, repr=False)
class LedgerLine:
    """The stored facts about one exchange.

    ``began`` is in microseconds since 1970. ``delivered`` means that the client got part of the response. ``endpoint``
    is the requested endpoint, for conversations their API."""

    began: int
    request: str
    client: str | None
    group: str | None
    run: str | None
    requested_model: str | None
    route: str | None
    attempts: tuple[LineAttempt, ...]
    ended: Ended
    status: int
    estimated: bool = False
    delivered: bool = True
    endpoint: str | None = None
    project: str | None = None


def line_of(record: Record, fields: Mapping[str, Any], began: float, group: str | None = None) -> LedgerLine:
    """Return the ledger line of a settled ``record``.

    ``fields`` are those of its log line. ``began`` is its start in Unix seconds, ``group`` the group of its client."""
    charged = {id(charge.attempt): charge for charge in record.bill.charges()}
    return LedgerLine(
        int(began * 1e6),
        record.id,
        record.client,
        group,
        record.run,
        record.requested_model and record.requested_model[:_MAX_TEXT_IN_MEMORY],
        record.route,
        tuple(
            [
                _attempt(one, charged.get(id(one)), record)
                for one in record.bill.attempt_records
                if one.requests  # a provider received it
            ]
        ),
        fields["ended"],
        fields["status"],
        estimated=bool(fields.get("usage_estimated")),
        delivered=record.delivered,
        endpoint=record.endpoint or record.api,
        project=record.project,
    )


def _upstream_id(attempt: AttemptRecord, record: Record) -> str | None:
    """Return the provider's id of ``attempt``: of a batch that it bills, else of the request, else of the response."""
    if not attempt.committed:
        return attempt.upstream_id
    booked, start = record.bill.booked, record.answer_start
    return (booked and booked.id) or attempt.upstream_id or record.upstream_id or (start and start.id) or None


def _attempt(attempt: AttemptRecord, charge: Charge | None, record: Record) -> LineAttempt:
    judged: JudgedAttempt | None = attempt.notes.get("prompt_caches") if attempt.notes else None
    verdict, loss = (None, None) if judged is None else (judged.verdict, judged.loss)
    upstream_id = _upstream_id(attempt, record)
    upstream_id = upstream_id and upstream_id[:_MAX_TEXT_IN_MEMORY]
    target, model = attempt.target[:_MAX_TEXT_IN_MEMORY], attempt.model and attempt.model[:_MAX_TEXT_IN_MEMORY]
    if charge is None:
        return LineAttempt(target, model, attempt.reason, upstream_id=upstream_id, verdict=verdict, loss=loss)
    cost = charge.cost
    return LineAttempt(
        target,
        model,
        attempt.reason,
        charge.usage,
        0 if cost is None else cost.nanos,
        UNPRICED if cost is None else grade_rank(cost.grade),
        upstream_id,
        verdict,
        loss,
    )


def rows_of(line: LedgerLine, number: int, mask: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """Return a line's rows in the table: one for each attempt, or a single one if there was none.

    ``mask`` masks keys in texts that a client chose."""
    common = {
        "began": line.began, "line": number, "request": _storable(line.request, mask), "client": _storable(line.client),
        "client_group": _storable(line.group), "run": _storable(line.run, mask),
        "project": _storable(line.project, mask),
        "asked": _storable(line.requested_model, mask), "route": _storable(line.route, mask),
        "estimated": int(line.estimated), "delivered": int(line.delivered), "status": line.status,
        "ended": line.ended, "endpoint": line.endpoint,
    }  # fmt: skip
    attempts = line.attempts or (None,)
    return [{**common, "attempt": place, **_attempt_columns(one)} for place, one in enumerate(attempts)]


def id_rows_of(line: LedgerLine, number: int, mask: Callable[[str], str] = str) -> list[dict[str, Any]]:
    """Return the rows with the providers' ids of a line's attempts."""
    return [
        {"began": line.began, "line": number, "attempt": place, "upstream_request_id": _storable(one.upstream_id, mask)}
        for place, one in enumerate(line.attempts)
        if one.upstream_id
    ]


def _attempt_columns(attempt: LineAttempt | None) -> dict[str, Any]:
    usage = _NO_USAGE if attempt is None else attempt.usage
    return {
        "target": attempt and _storable(attempt.target), "model": attempt and _storable(attempt.model),
        "reason": attempt and attempt.reason, "input": usage.input, "cache_read": usage.cache_read,
        "cache_write": usage.cache_write, "output": usage.output, "nanos": 0 if attempt is None else attempt.nanos,
        "grade": attempt and attempt.grade, **dict.fromkeys(UNIT_COLUMNS.values(), 0), **_units(usage),
        **({} if attempt is None or attempt.verdict is None else _prompt_cache_columns(attempt.verdict, attempt.loss)),
    }  # fmt: skip


def _prompt_cache_columns(verdict: "CacheVerdict", loss: "CacheLoss | None") -> dict[str, Any]:
    """Return the columns of a verdict about a prompt cache; without one they are NULL.

    Sums keep neither ``prompt_cache_idle`` nor ``prompt_cache_unkeyed``."""
    grade = grade_rank(loss.grade) if loss is not None else UNPRICED if verdict.missed else None
    found: dict[str, Any] = {
        "prompt_cache_could": verdict.could, "prompt_cache_read": verdict.read, "prompt_cache_missed": verdict.missed,
        "prompt_cache_nanos": 0 if loss is None else loss.nanos, "prompt_cache_grade": grade,
        "prompt_cache_idle": None if verdict.idle is None else round(verdict.idle),
        "prompt_cache_unread": verdict.unread, "prompt_cache_unkeyed": int(verdict.is_unkeyed),
    }  # fmt: skip
    for number, (names, cause) in enumerate(zip(CAUSE_COLUMNS, verdict.causes, strict=False)):
        found |= zip(names, (cause.name, cause.tokens, 0 if loss is None else loss.shares[number]), strict=True)
    return found


def _units(usage: Usage) -> dict[str, int]:
    """Return the units billed in addition to tokens, by column."""
    return {UNIT_COLUMNS[unit]: number for unit, number in usage.units if unit in UNIT_COLUMNS} if usage.units else {}


def _storable(text: str | None, mask: Callable[[str], str] = str) -> str | None:
    """Return ``text`` masked, shortened, and without characters that PostgreSQL rejects."""
    if text is None:
        return None
    text = mask(text[:_MAX_TEXT_IN_MEMORY])[:MAX_TEXT]
    return text.replace("\0", "").encode(errors="replace").decode()
