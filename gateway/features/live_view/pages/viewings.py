"""The audit of the live view: who opened it or a stream, and whose request it was."""

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from gateway.allowances.call_rates import count_call
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.live_view.live import FoundExchange
from gateway.serving.incoming_request import IncomingRequest
from gateway.stores.errors import Unavailable
from gateway.viewing.callers import NOBODY, counted_name
from gateway.viewing.visitors import Visitor
from streams.errors import GatewayError

log = logging.getLogger("trigate")

_ALL_CLIENTS: Final = "*"
_NO_AUDIT: Final = "the gateway cannot write its audit at the moment, so it shows no stream: try again in a few seconds"


async def audit_list(service: Service, incoming: IncomingRequest, visitor: Visitor) -> None:
    """Note that ``visitor`` opened the live view. Raises ``GatewayError`` (429) if it opens too much."""
    try:
        await _audit(service, incoming, "ui_opened", visitor, incoming.scope.id, visitor.client or _ALL_CLIENTS)
    except Unavailable as error:  # it shows no texts, and an operator needs it during an outage
        log.warning("the stored audit lacks a viewer of the live view: %s", error)


async def audit_stream(service: Service, incoming: IncomingRequest, visitor: Visitor, exchange: FoundExchange) -> None:
    """Note that ``visitor`` opened the stream of ``exchange``.

    Raises ``GatewayError`` (429, 503): the gateway shows no stream that the audit does not list."""
    try:
        await _audit(service, incoming, "ui_stream_opened", visitor, exchange.id, exchange.client)
    except Unavailable:
        raise GatewayError("overloaded", _NO_AUDIT, headers=(("retry-after", "1"),)) from None


async def _audit(
    service: Service, incoming: IncomingRequest, event: str, visitor: Visitor, request_id: str, owner: str | None
) -> None:
    caller, scope = visitor.caller or NOBODY, incoming.scope
    await count_call(service.allowances.counters, counted_name(caller), "views")
    fields = {
        "client": caller.name, "role": None if visitor.caller is None else caller.role, "by": visitor.by,
        "credential": caller.credential_id, "request": service.ledger.mask(request_id), "owner": owner,
    }  # fmt: skip
    try:
        await _store(service, incoming, caller, {"event": event, **fields})
    finally:
        service.ledger.audit.log_event(event, address=scope.address, path=incoming.asgi["path"], **fields)


async def _store(service: Service, incoming: IncomingRequest, caller: Caller, fields: Mapping[str, Any]) -> None:
    """Add a row to the stored audit, if there is one. Raises ``Unavailable``."""
    if "admin" not in service.opened.features:
        return
    from gateway.features.admin.interface import admin_of, audit_entry  # only a gateway with an audit needs it

    admin = admin_of(service.opened.features)
    if admin is not None and admin.store is not None:
        entry = audit_entry(caller, incoming.scope, time.time(), "GET", incoming.asgi["path"])
        await admin.store.add_audit(entry, None, fields)
