"""The start of the page about usage: today, seven days and this month, and a chart of the last thirty days."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import attrs

from gateway.config.kinds import zone_of
from gateway.features.people.console.api_calls import PageCall
from gateway.features.people.console.parts import shown_by
from gateway.features.people.html import Html
from gateway.viewing.money import SIGNS, short_dollar_text, short_number
from providers.catalog.prices import worst_grade

_DAYS: Final = 30
_HEIGHT: Final = 100


@attrs.frozen
class Tile:
    """The sum of a period for readers, with the query that selects it."""

    title: str
    amount: str
    counts: str
    query: Mapping[str, str]
    is_chosen: bool


@attrs.frozen
class Bar:
    """A day of the chart: its height, and its date with its amount."""

    height: int
    text: str


def days_query(call: PageCall) -> dict[str, str]:
    """Return the query for the sums of each day that the overview needs."""
    today = _today(call)
    return {"by": "day", "since": str(min(today.replace(day=1), today - timedelta(days=_DAYS - 1)))}


def overview(call: PageCall, report: Mapping[str, Any], query: Mapping[str, str]) -> Html:
    """Return the section for a ``report`` by day. ``query`` is that of the report below it."""
    today, rows = _today(call), {date.fromisoformat(row["day"]): row for row in report["data"]}
    others = {name: value for name, value in query.items() if name not in ("month", "since", "until", "format")}
    periods: tuple[tuple[str, date, dict[str, str]], ...] = (
        ("Today", today, {"since": "today"}),
        ("Seven days", today - timedelta(days=6), {"since": "7d"}),
        ("This month", today.replace(day=1), {"month": f"{today:%Y-%m}"}),
    )
    chosen = {name: query[name] for name in ("month", "since", "until") if name in query} or periods[-1][2]
    tiles = [
        Tile(title, *_texts([row for day, row in rows.items() if day >= since]), {**others, **when}, chosen == when)
        for title, since, when in periods
    ]
    shown = [today - timedelta(days=ago) for ago in range(_DAYS - 1, -1, -1)]
    unit = "usd" if any(Decimal(row["usd"]) for row in rows.values()) else "tokens"
    values = [_value(rows.get(day), unit) for day in shown]
    most = max(values)
    bars = [
        Bar(max(1, round(value / most * _HEIGHT)) if value else 0, f"{day}: {_value_text(value, unit)}")
        for day, value in zip(shown, values, strict=True)
    ]
    title = "Dollars a day" if unit == "usd" else "Tokens a day"
    return shown_by("usage", "overview", call, tiles, title, bars if most else [], _value_text(most, unit))


def _today(call: PageCall) -> date:
    return datetime.now(zone_of(call.config.timezone)).date()


def _texts(rows: list[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the amount of dollars of ``rows``, and their requests and tokens."""
    usd = sum([Decimal(row["usd"]) for row in rows], Decimal())
    grade = worst_grade([row["grade"] for row in rows]) if rows else "exact"
    is_plan = not usd and any(row["grade"] == "subscription" for row in rows)
    requests, tokens = sum(row["requests"] for row in rows), sum(row["input"] + row["output"] for row in rows)
    amount = "plan" if is_plan else f"{SIGNS[grade]}{short_dollar_text(usd)}"
    return amount, f"{requests:,} {'request' if requests == 1 else 'requests'}, {short_number(tokens)} tokens"


def _value(row: Mapping[str, Any] | None, unit: str) -> Decimal:
    if row is None:
        return Decimal()
    return Decimal(row["usd"]) if unit == "usd" else Decimal(row["input"] + row["output"])


def _value_text(value: Decimal, unit: str) -> str:
    return short_dollar_text(value) if unit == "usd" else f"{short_number(int(value))} tokens"
