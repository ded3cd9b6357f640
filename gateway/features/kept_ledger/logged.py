"""Lines of the kept ledger from the lines of the log, for those that a killed process did not store.

The log has the cost of all attempts together, which the last attempt gets here, and no run."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

import attrs
import msgspec

from gateway.features.kept_ledger.line import UNPRICED, LedgerLine, LineAttempt
from gateway.viewing.periods import microseconds
from providers.catalog.prices import NANOS, grade_rank
from streams.events import Usage
from streams.surrogates import decode_or

_START: Final = b'{"event":'
_ANY: Final = msgspec.json.Decoder()

NameOf: TypeAlias = Callable[[str], str]
"""Returns the name of the entry for a target ``provider/model``."""


@attrs.frozen(eq=False, repr=False)
class Logged:
    """A line of a log: its Unix time ``at`` in microseconds, to the second, and the ledger's line of an exchange."""

    at: int
    line: LedgerLine | None


def read_logged(texts: Iterable[bytes], name_of: NameOf, groups: Mapping[str, str]) -> Iterator[Logged]:
    """Yield the lines of this gateway in the lines ``texts`` of a log, with the exchanges that the ledger stores.

    Text before the JSON, as of a container's log, is skipped. ``groups`` has the groups of clients."""
    for text in texts:
        _, start, rest = text.partition(_START)
        fields: Any = decode_or(_ANY.decode, start + rest, None)
        try:
            at = microseconds(datetime.fromisoformat(fields["at"]))
            is_kept = fields["event"] == "exchange" and ("model" in fields or fields["attempts"])
            yield Logged(at, _line_of(fields, at, name_of, groups) if is_kept else None)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):  # no line of this gateway
            continue


def number_of(line: LedgerLine) -> int:
    """Return the number of ``line`` in the table, the same each time."""
    return int.from_bytes(hashlib.sha256(f"{line.began} {line.request}".encode()).digest()[:8]) >> 1


def _line_of(fields: Mapping[str, Any], at: int, name_of: NameOf, groups: Mapping[str, str]) -> LedgerLine:
    client = fields.get("client")
    return LedgerLine(
        at - int(fields["duration_ms"] * 1000),
        fields["request_id"],
        client,
        client and groups.get(client),
        None,
        fields.get("model"),
        fields.get("route"),
        _attempts_of(fields, name_of),
        fields["ended"],
        fields["status"],
        estimated=fields.get("usage_estimated", False),
        delivered="first_byte_ms" in fields,
        endpoint=fields.get("endpoint", fields["api"]),
        project=fields.get("project"),
    )


def _attempts_of(fields: Mapping[str, Any], name_of: NameOf) -> tuple[LineAttempt, ...]:
    if not fields["attempts"]:
        return ()
    target = fields["target"]
    last = LineAttempt(
        name_of(target),
        target.partition("/")[2],
        "ok",
        _usage_of(fields),
        round(fields.get("cost_usd", 0) * NANOS),
        _grade_of(fields),
        fields.get("upstream_request_id"),
    )
    tried = fields.get("tried") or [{"target": last.target, "reason": "ok"}]
    earlier = (LineAttempt(one["target"], None, one["reason"], _usage_of(one)) for one in tried[:-1])
    return (*earlier, attrs.evolve(last, target=tried[-1]["target"], reason=tried[-1]["reason"]))


def _usage_of(fields: Mapping[str, Any]) -> Usage:
    read, written = fields.get("cached_tokens", 0), fields.get("cache_write_tokens", 0)
    return Usage(
        input=fields.get("input_tokens", 0) - read - written,
        cache_read=read,
        cache_write=written,
        output=fields.get("output_tokens", 0),
        units=tuple(fields.get("units", {}).items()),
    )


def _grade_of(fields: Mapping[str, Any]) -> int | None:
    """Return the grade's rank, that of an unknown price for tokens without a cost."""
    if (grade := fields.get("cost_grade")) is not None:
        return grade_rank(grade)
    return UNPRICED if "input_tokens" in fields else None
