"""The audit: every change over HTTP or by a command, with its author, for 400 days."""

import json
from typing import Any

from configfile.wording import time_text
from gateway.features.admin.calls import AdminAnswer, AdminCall, in_thread
from gateway.features.admin.pages import is_newest_first, read_period
from gateway.features.admin.store import LAST_NUMBER
from gateway.stores.record_tables import AuditEntry
from streams.errors import invalid


async def list_audit(call: AdminCall) -> AdminAnswer:
    """List the changes, the oldest first unless the caller wants the newest."""
    newest = is_newest_first(call.query, "oldest")
    size, after = call.page_size, call.query.get("after", str(LAST_NUMBER) if newest else "0")
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise invalid("after must be the value of next in an earlier page", "after")
    since, until = read_period(call.query, call.config)
    store, who, search = await call.rights(), call.query.get("who"), call.query.get("search", "")
    found = await store.audit(int(after), since, until, size + 1, newest=newest, who=who, search=search)
    page = found[:size]
    rows = await in_thread(lambda: [_row(one) for one in page])
    return AdminAnswer.page(rows, str(page[-1].number) if len(found) > size else None)


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": time_text(entry.at),
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
