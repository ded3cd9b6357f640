"""Raises in the memory of a process, followed in the store, and the way in which it follows other rows.

``FollowedKeys`` reads them together with the stored keys several times a second. A change by this process applies
immediately (``FollowedKeys.apply_changes``). While the store is unavailable, the last known ones stay in effect."""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeVar

import attrs

from configfile.keys import part_of
from configfile.wording import Wrong
from gateway.allowances.allowance import Holder
from gateway.config.allowances import Currency, SpendingBudget
from gateway.config.amounts import Period, read_budget
from gateway.config.clients import ClientGroup, ClientKey
from gateway.features.admin.feature import RaiseRights
from gateway.features.admin.store import RAISES, Raise
from gateway.stores.database import Session
from gateway.stores.record_tables import CLOCK_SKEW, Position, RightsTables, replace_row

T = TypeVar("T")

_MOST_CHANGES: Final = 1000
"""The number of changes from which on everything is read again."""

_SINCE: Final = """
    SELECT number, mark, name, kind FROM {people_changes} WHERE number >= :number ORDER BY number LIMIT :most
"""


@attrs.frozen(repr=False)
class RightsNews:
    """The rows that have changed since a position; if ``is_complete``, all rows.

    ``names`` are the clients whose rows have changed, or may have, and ``confirmed`` those that their issuer has only
    confirmed anew. ``others`` are the rows of another feature."""

    position: Position
    is_complete: bool
    names: frozenset[str]
    raises: Mapping[str, Raise]
    others: Any = None
    confirmed: frozenset[str] = frozenset()


class FollowedRights:
    """The raises in a database, as last read.

    ``clock`` returns Unix time. Only the trio thread uses it, except for ``read``. A subclass follows more rows: it
    extends ``read_others`` and ``apply_others``."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._position: Position | None = None
        self._applied_at = 0.0
        self._raises: dict[str, Raise] = {}
        self._listeners: list[Callable[[frozenset[str]], object]] = []

    @property
    def is_read(self) -> bool:
        """Whether the rows were read once. Before, a person's credential cannot be judged (503)."""
        return self._position is not None

    def raise_of(self, holder: str) -> Raise | None:
        """Return the raise of a client, or of ``group:NAME``, if it has not ended."""
        found = self._raises.get(holder)
        return None if found is None or found.until <= self.clock() else found

    @property
    def raises(self) -> Mapping[str, Raise]:
        """All raises by holder; some may have ended."""
        return MappingProxyType(self._raises)

    def on_change(self, listener: Callable[[frozenset[str]], object]) -> None:
        """Call ``listener(names)`` after each change with the people and holders that it concerns."""
        self._listeners.append(listener)

    def read_others(self, tables: RightsTables, names: frozenset[str] | None, now: float) -> tuple[Any, frozenset[str]]:
        """Return the other rows of the clients ``names``, or all for ``None``, with the clients that have some."""
        return None, frozenset()

    def apply_others(self, news: RightsNews) -> frozenset[str]:
        """Use the rows that ``read_others`` returned. Return the clients that had some before, if all are replaced."""
        return frozenset()

    def read(self, session: Session) -> RightsNews | None:
        """Return the rows that have changed since the last ``apply``, ``None`` without any. Runs in a thread."""
        now = self.clock()
        was_set_back = now < self._applied_at - CLOCK_SKEW  # rows that had expired by the clock are needed again
        return self.news_since(RightsTables(session), None if was_set_back else self._position, now)

    def news_since(self, tables: RightsTables, known: Position | None, now: float) -> RightsNews | None:
        """Return the rows that have changed since the position ``known``, ``None`` without any.

        Everything is read if ``known`` is not in the table: the database was replaced by a backup, or by a new one."""
        position = tables.position()  # read first: later changes appear with the next position
        if position == known:
            return None
        names, confirmed = _names_since(tables, known)
        if names is None:
            raises = {one.holder: one for one in tables.list(RAISES)}
        else:
            found = (tables.find(RAISES, holder=name) for name in names)
            raises = {one.holder: one for one in found if one is not None}
        others, holders = self.read_others(tables, names, now)
        return RightsNews(position, names is None, names or frozenset(raises) | holders, raises, others, confirmed)

    def apply(self, news: RightsNews | None) -> None:
        """Use the rows that ``read`` returned."""
        if news is None or (not news.is_complete and news.position == self._position):
            return
        self._applied_at = self.clock()
        names = news.names | (frozenset(self._raises) if news.is_complete else frozenset())  # rows that were removed
        for name in names:
            replace_row(self._raises, name, news.raises)
        names |= self.apply_others(news)
        self._position = news.position
        for listener in self._listeners:
            listener(names - news.confirmed)


def _names_since(tables: RightsTables, known: Position | None) -> tuple[frozenset[str] | None, frozenset[str]]:
    """Return the clients with changes since the position ``known``, and those that were only confirmed anew; ``None``
    and none if everything must be read."""
    if known is None or not known.number:
        return None, frozenset()
    found = tables.select(_SINCE, number=known.number, most=_MOST_CHANGES)
    if not found or found[0][:2] != (known.number, known.mark) or len(found) >= _MOST_CHANGES:
        return None, frozenset()
    changed = frozenset(name for _, _, name, kind in found[1:] if kind != "confirmed")
    names = frozenset(name for _, _, name, _ in found[1:])
    return names, names - changed


# The amounts of budgets


def highest_amount(settings: ClientKey | ClientGroup, budget: SpendingBudget) -> int | None:
    """Return the amount to which a raise may lift ``budget``, ``None`` if it may not."""
    period = (budget.currency, budget.period)
    found = part_of(settings, RaiseRights).raise_to
    return next((one.most for one in found if (one.currency, one.period) == period), None)


def raised_amount(source: FollowedRights | None, holder: Holder, budget: SpendingBudget, most: int) -> int:
    """Return the amount of ``budget`` with the present raise of ``holder``, which ``most`` bounds."""
    found = None if source is None else source.raise_of(_name_in_raises(holder))
    if found is None:
        return budget.most
    raised = _amounts_in(found.budgets).get((budget.currency, budget.period), 0)
    return max(budget.most, min(raised, most))


def _name_in_raises(holder: Holder) -> str:
    return f"group:{holder.name}" if holder.kind == "client_groups" else holder.name


@lru_cache(1024)
def _amounts_in(budgets: tuple[str, ...]) -> Mapping[tuple[Currency, Period], int]:
    """Return the raised amounts by currency and period. Amounts that cannot be read raise nothing."""
    found: dict[tuple[Currency, Period], int] = {}
    for text in budgets:
        try:
            budget = read_budget(text)
        except Wrong:
            continue
        found[budget.currency, budget.period] = budget.most
    return found
