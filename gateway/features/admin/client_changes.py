"""Changes of stored clients with their rows in the audit, by commands and by the HTTP API."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from gateway.features.admin.key_changes import audited_client, described_settings
from gateway.features.admin.key_store import ItemChange, KeyEvent
from gateway.stores.database import Session
from gateway.stores.record_tables import AuditEntry, RightsTables


def client_change(
    entry: AuditEntry,
    event: KeyEvent,
    name: str,
    before: str | None,
    written: Mapping[str, Any] | None,
    digests: Sequence[str] = (),
) -> ItemChange:
    """Return the change that stores ``written`` for a client, whose stored text must be ``before``.

    ``None`` for either means no client: the change removes or creates it. ``digests`` are those of new keys."""
    text = None if written is None else json.dumps(written, ensure_ascii=False)
    about = described_settings(name, before if text is None else text)

    def write_audit(session: Session) -> None:
        tables = RightsTables(session)
        tables.lock()
        tables.add_audit(entry, audited_client(name, before), audited_client(name, text))

    certificate = (written or {}).get("client", {}).get("certificate")
    own = () if certificate is None else (f'"certificate": {json.dumps(certificate, ensure_ascii=False)}',)
    return ItemChange(event, name, before, text, about, (*digests, *own), write_audit)
