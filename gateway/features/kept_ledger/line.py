"""A line of the kept ledger: an exchange's usage and costs, without any content."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from gateway.ledger.bill import AttemptRecord, Charge
from gateway.ledger.record import Ended, Record
from providers.catalog.prices import GRADES, grade_rank
from streams.events import Usage

if TYPE_CHECKING:
    from gateway.features.prompt_caches.interface import JudgedAttempt

UNPRICED: Final = len(GRADES)
"""The grade of an attempt whose price is unknown, and whose cost no sum includes."""

MAX_TEXT: Final = 200  # characters of a text that a client chose
_MAX_TEXT_IN_MEMORY: Final = 4 * MAX_TEXT  # the same in memory, longer so that long keys are found and masked
_NO_USAGE: Final = Usage()
_NO_CAUSES: Final = (None, None)
_NO_VERDICT: Final[Mapping[str, Any]] = {}  # the columns are then NULL

UNIT_COLUMNS: Final[Mapping[str, str]] = {
    "image": "images", "second": "seconds", "character": "characters", "search": "searches", "query": "searches",
    "page": "pages",
}  # fmt: skip
"""The columns of units billed in addition to tokens; two providers' words for a search share one."""


@attrs.frozen(eq=False, repr=False)
class LineCause:
    """A cause of missed tokens, with its tokens and its loss in nano-dollars."""

    name: str
    tokens: int
    nanos: int = 0


@attrs.frozen(eq=False, repr=False)
class LinePromptCache:
    """The verdict about the provider's prompt cache: the tokens that it could serve, served and did not serve.

    ``nanos`` is the loss. ``grade`` is its rank, as in ``LineAttempt``, ``None`` without a loss. ``idle`` is the number
    of seconds after which an entry of the cache had expired. ``unread`` and ``is_unkeyed`` are as in ``CacheVerdict``.
    Sums keep neither ``idle`` nor ``is_unkeyed``."""

    could: int
    read: int | None
    missed: int
    nanos: int = 0
    grade: int | None = None
    causes: tuple[LineCause, ...] = ()
    idle: int | None = None
    unread: int = 0
    is_unkeyed: bool = False


@attrs.frozen(eq=False, repr=False)
class LineAttempt:
    """An attempt of an exchange, with its cost: ``target`` is the configured name, ``model`` the provider's.

    ``grade`` is the rank of a ``GRADES`` entry or ``UNPRICED``, ``None`` if nothing was billed. ``upstream_id`` is the
    provider's id of the request, or of a batch."""

    target: str
    model: str | None
    reason: str
    usage: Usage = _NO_USAGE
    nanos: int = 0
    grade: int | None = None
    upstream_id: str | None = None
    prompt_cache: LinePromptCache | None = None


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
                if not (one.committed and record.bill.from_cache)  # no provider received a request
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


def _line_prompt_cache(judged: "JudgedAttempt") -> LinePromptCache:
    verdict, lost = judged.verdict, judged.loss
    shares = (0,) * len(verdict.causes) if lost is None else lost.shares
    return LinePromptCache(
        verdict.could,
        verdict.read,
        verdict.missed,
        0 if lost is None else lost.nanos,
        grade_rank(lost.grade) if lost is not None else UNPRICED if verdict.missed else None,
        tuple([LineCause(one.name, one.tokens, nanos) for one, nanos in zip(verdict.causes, shares, strict=True)]),
        None if verdict.idle is None else round(verdict.idle),
        verdict.unread,
        verdict.is_unkeyed,
    )


def _attempt(attempt: AttemptRecord, charge: Charge | None, record: Record) -> LineAttempt:
    judged: JudgedAttempt | None = attempt.notes.get("prompt_caches") if attempt.notes else None
    prompt_cache = None if judged is None else _line_prompt_cache(judged)
    upstream_id = _upstream_id(attempt, record)
    upstream_id = upstream_id and upstream_id[:_MAX_TEXT_IN_MEMORY]
    target, model = attempt.target[:_MAX_TEXT_IN_MEMORY], attempt.model and attempt.model[:_MAX_TEXT_IN_MEMORY]
    if charge is None:
        return LineAttempt(target, model, attempt.reason, upstream_id=upstream_id, prompt_cache=prompt_cache)
    cost = charge.cost
    return LineAttempt(
        target,
        model,
        attempt.reason,
        charge.usage,
        0 if cost is None else cost.nanos,
        UNPRICED if cost is None else grade_rank(cost.grade),
        upstream_id,
        prompt_cache,
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
        **_prompt_cache_columns(None if attempt is None else attempt.prompt_cache),
    }  # fmt: skip


def _prompt_cache_columns(verdict: LinePromptCache | None) -> Mapping[str, Any]:
    if verdict is None:
        return _NO_VERDICT
    first, second = (*verdict.causes, *_NO_CAUSES)[:2]
    return {
        "prompt_cache_could": verdict.could, "prompt_cache_read": verdict.read, "prompt_cache_missed": verdict.missed,
        "prompt_cache_nanos": verdict.nanos, "prompt_cache_grade": verdict.grade, "prompt_cache_idle": verdict.idle,
        "prompt_cache_unread": verdict.unread, "prompt_cache_unkeyed": int(verdict.is_unkeyed),
        "cause": first and first.name, "cause_tokens": first and first.tokens, "cause_nanos": first and first.nanos,
        "second_cause": second and second.name, "second_tokens": second and second.tokens,
        "second_nanos": second and second.nanos,
    }  # fmt: skip


def _units(usage: Usage) -> dict[str, int]:
    """Return the units billed in addition to tokens, by column."""
    return {UNIT_COLUMNS[unit]: number for unit, number in usage.units if unit in UNIT_COLUMNS} if usage.units else {}


def _storable(text: str | None, mask: Callable[[str], str] = str) -> str | None:
    """Return ``text`` masked, shortened, and without characters that PostgreSQL rejects."""
    if text is None:
        return None
    text = mask(text[:_MAX_TEXT_IN_MEMORY])[:MAX_TEXT]
    return text.replace("\0", "").encode(errors="replace").decode()
