"""Sums of ledger lines that do not fit into memory while the database is unavailable."""

from collections.abc import Mapping
from typing import Any, Final

from gateway.kept_ledger.columns import (
    AMOUNTS,
    CAUSE_AMOUNTS,
    DAY,
    GROUP_BY,
    LOST_COUNT,
    OTHER_NAME,
    PROMPT_CACHE_AMOUNTS,
    QUARTER,
    QUARTER_SUM,
    empty_sum,
)
from gateway.kept_ledger.line import UNPRICED, LedgerLine, rows_of

MAX_SUMS: Final = 10_000
"""The most sums with names of targets and models in a process, and as many again without."""

_SUCCESSFUL_ENDS: Final = ("complete", "client_disconnected")
_SUCCESSFUL_REASONS: Final = ("ok", "hedge_lost", "client_left", "refused")


class OverflowSums:
    """Sums of lines over quarters of an hour, without runs, in bounded memory."""

    def __init__(self) -> None:
        self._sums: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.lost = 0

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, line: LedgerLine) -> None:
        """Add the tokens and costs of ``line`` to a sum, or count it as lost if there is no room for another sum."""
        for row in rows_of(line, 0):
            row["run"] = None
            if (found := self._sum_for(row)) is not None:
                _add_row(found, row)
            elif row["attempt"] == 0:
                self.count_lost(line)

    def take_rows(self, number: int) -> list[Mapping[str, Any]]:
        """Return and remove the sums as table rows numbered after ``number``."""
        rows: list[Mapping[str, Any]] = [
            {**row, "line": number + place} for place, row in enumerate(self._sums.values(), 1)
        ]
        self._sums = {}
        return rows

    def _sum_for(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return the sum to which ``row`` belongs, a new one if there is room, else ``None``."""
        if _sum_key(row) not in self._sums and len(self._sums) >= MAX_SUMS:
            for name in ("target", "model"):
                row[name] = row[name] and OTHER_NAME
        key = _sum_key(row)
        if key not in self._sums:
            if len(self._sums) >= 2 * MAX_SUMS:
                return None
            self._sums[key] = empty_sum(QUARTER_SUM, row["began"], row)
        return self._sums[key]

    def count_lost(self, line: LedgerLine) -> None:
        """Count ``line`` among the exchanges of its day with unknown usage."""
        self.lost += 1
        began, key = line.began, (line.began // DAY,)
        if key not in self._sums:
            self._sums[key] = {**empty_sum(LOST_COUNT, began, {}), "grade": UNPRICED}
        found = self._sums[key]
        found["exchanges"] += 1
        found["began"], found["last"] = min(found["began"], began), max(found["last"], began)


def _sum_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["began"] // QUARTER, *[row.get(name) for name in GROUP_BY])


def _add_row(found: dict[str, Any], row: Mapping[str, Any]) -> None:
    for name in AMOUNTS:
        found[name] += row[name]
    for name in (*PROMPT_CACHE_AMOUNTS, *CAUSE_AMOUNTS):
        if row.get(name) is not None:
            found[name] = (found[name] or 0) + row[name]
    first, attempted = row["attempt"] == 0, row["target"] is not None
    found["exchanges"] += first
    found["failures"] += first and row["ended"] not in _SUCCESSFUL_ENDS
    found["attempts"] += attempted
    found["attempt_failures"] += attempted and row["reason"] not in _SUCCESSFUL_REASONS
    found["estimated"] |= row["estimated"]
    for name in ("grade", "prompt_cache_grade"):
        found[name] = max((one for one in (found[name], row.get(name)) if one is not None), default=None)
    found["began"], found["last"] = min(found["began"], row["began"]), max(found["last"], row["began"])
