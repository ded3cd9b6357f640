"""The audit: every change over HTTP or by a command, with its author, for 400 days."""

import json
from datetime import UTC, datetime
from typing import Any

from configfile.wording import spell_time
from gateway.config.kinds import zone_of
from gateway.features.admin.calls import AdminAnswer, AdminCall
from gateway.ledger.periods import read_time
from gateway.stores.record_tables import AuditEntry
from streams.errors import invalid

_FOREVER = 1e12


async def list_audit(call: AdminCall) -> AdminAnswer:
    """List the changes, the oldest first."""
    size, after = call.page_size, call.query.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise invalid("after must be the value of next in an earlier page", "after")
    now = datetime.now(zone_of(call.config.timezone))
    since = read_time(call.query["since"], now, "since").timestamp() if "since" in call.query else 0.0
    until = read_time(call.query["until"], now, "until", end=True).timestamp() if "until" in call.query else _FOREVER
    store = await call.rights()
    found = await store.audit(int(after), since, until, size + 1)
    page = found[:size]
    return AdminAnswer.page([_row(one) for one in page], str(page[-1].number) if len(found) > size else None)


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": spell_time(datetime.fromtimestamp(entry.at, UTC)),
        "who": entry.who,
        "credential": entry.credential,
        "address": entry.address,
        "request": entry.request_id,
        "method": entry.method,
        "path": entry.path,
        "status": entry.status,
        "before": _json(entry.before),
        "after": _json(entry.after),
    }


def _json(text: str | None) -> Any:
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
