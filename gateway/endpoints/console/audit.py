"""The section about the audit: the changes over HTTP and by commands, and the viewers of streams."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from gateway.config.zones import zone_of
from gateway.endpoints.console.api_calls import PageCall
from gateway.endpoints.console.parts import NOTHING, Column, details, field, filters, moment, next_page, section, table
from gateway.endpoints.console.paths import AUDIT
from gateway.endpoints.html import Html, html

_COLUMNS: Final = (
    Column("Time"), Column("Who"), Column("Change"), Column("Status", True), Column("Address"), Column("Credential"),
)  # fmt: skip
_DAYS: Final = timedelta(days=7)
"""The period that the page shows at first."""


async def changes(call: PageCall) -> Html:
    """Return the changes of a period, the oldest first."""
    today = datetime.now(zone_of(call.config.timezone)).date()
    query = {"since": str(today - _DAYS)} if "since" not in call.query else {}
    query |= {name: call.query[name] for name in ("since", "until", "after") if call.query.get(name)}
    answer = await call.read("/admin/v1/audit", query)
    rows = [_row(row) for row in answer.value["data"]]
    shown = table("Changes, the oldest first", _COLUMNS, rows, empty="Nothing was changed or viewed in this period.")
    head = "Changes, and viewers of streams, the oldest first"
    return section(head, _filters(query), shown, next_page(AUDIT, answer, query))


def _filters(query: Mapping[str, str]) -> Html:
    return filters(
        AUDIT, field("since", "since", "Since", query.get("since", "")[:10], kind="date"),
        field("until", "until", "Until", query.get("until", "")[:10], kind="date"),
    )  # fmt: skip


def _row(row: Mapping[str, Any]) -> Sequence[object]:
    values = [_value(name, row[key]) for name, key in (("Before", "before"), ("After", "after")) if row[key]]
    change = html(
        "<bdi>{method} {path}</bdi>{values}", method=row["method"], path=row["path"],
        values=details("Values", *values) if values else NOTHING,
    )  # fmt: skip
    return moment(row["at"]), row["who"], change, row["status"], row["address"], row["credential"]


def _value(name: str, value: Any) -> Html:
    """Return the object before or after a change. It contains no secret."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    return html('<p>{name}:</p><pre tabindex="0">{text}</pre>', name=name, text=text)
