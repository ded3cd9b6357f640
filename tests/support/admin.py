"""A gateway with a client and a person of each role, for tests of ``/me`` and ``/admin/v1``.

```python
with admin_gateway(tmp_path) as admin:
    admin.call("lead", "PUT", "/admin/v1/keys/evals", {"group": "research", "until": soon()})
```
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import trio

from gateway.stores.sqlite import SqliteDatabase
from tests.support.features import has_feature, members_of, rows_of
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, Reply, config
from tests.support.oidc import OidcProvider, open_provider
from tests.support.own_log import flush_audit

if TYPE_CHECKING:
    from gateway.features.people.store import PeopleStore

EVERY_ROUTE: Final = (
    *(row for one in rows_of("admin", "gateway.features.admin.table") for row in import_module(one).ROUTES),
    *(
        row
        for one in (rows_of("people", "gateway.features.people.api.part") if has_feature("admin") else ())
        for row in import_module(one).PART.routes
    ),
)
"""The calls of the HTTP API."""

T = TypeVar("T")

SETUP: Final = 12
"""More admins, so that preparations are within the rate of each."""

ENTRIES: Final = (
    {"model": "openai/small", "access_key": "k", "price": "free"},
    {"model": "openai/large", "access_key": "k", "price": "free"},
)
_NAMES: Final = ("user", "lead", "other-lead", "auditor", "admin", "operator", "stranger", "passed")
KEYS: Final[Mapping[str, str]] = {
    name: f"key-of-{name}-0123456789" for name in (*_NAMES, *(f"setup-{number}" for number in range(SETUP)))
}
"""The keys by caller; ``stranger`` has one that the gateway does not know."""

GROUPS: Final = (
    {"name": "research", "models": ["small"], "budgets": ["3000 usd/month"],
     **members_of("admin", raise_to=["5000 usd/month"])},
    {"name": "ci", "budgets": ["50 usd/day"]},
)  # fmt: skip


def admin_config(folder: Path, entries: Sequence[Mapping[str, Any]] = ENTRIES, **more: Any) -> dict[str, Any]:
    """Return a configuration with a client of each role, and stored keys in a file in ``folder``."""
    clients = [
        {"name": "user", "key": KEYS["user"], "group": "research", "budgets": ["20 usd/day"],
         **members_of("admin", raise_to=["60 usd/day"]), "ratelimits": {"requests": "60/m"}},
        {"name": "lead", "key": KEYS["lead"], "role": "lead", "group": "research"},
        {"name": "other-lead", "key": KEYS["other-lead"], "role": "lead", "group": "ci"},
        {"name": "auditor", "key": KEYS["auditor"], "role": "auditor"},
        {"name": "admin", "key": KEYS["admin"], "role": "admin"},
        {"name": "passed", "key": KEYS["passed"], "group": "ci", "models": ["large"]},
        *({"name": name, "key": key, "role": "admin"} for name, key in KEYS.items() if name.startswith("setup-")),
    ]  # fmt: skip
    storage = {"type": "sqlite", "path": str(folder / "state.sqlite")}
    settings = {
        **members_of("admin", stored_keys=True),
        "state_storage": storage,
        "client_groups": list(GROUPS),
        **members_of("mcp", mcp_servers=[{"name": "tools", "base_url": "http://127.0.0.1:9/mcp"}]),
        "client_keys": clients,
        "ui_key": KEYS["operator"],
        "audit": str(folder / "audit.jsonl"),
    }
    return config(entries, **{name: value for name, value in {**settings, **more}.items() if value is not None})


ADMIT: Final = (
    {"when": {"groups": "admins"}, "role": "admin"},
    {"when": {"groups": "auditors"}, "role": "auditor", "models": []},
    {"when": {"groups": "leads"}, "role": "lead", "group": "research"},
    {"when": {"groups": "ml"}, "group": "research", "budgets": ["20 usd/day"], "raise_to": ["60 usd/day"],
     "own_keys": {"most": 3, "longest": "30d"}},
    {"when": {}, "models": []},
)  # fmt: skip
"""The rules of the issuer ``okta``."""

PEOPLE: Final[Mapping[str, str]] = {
    "person": "ml", "lead person": "leads", "auditor person": "auditors", "admin person": "admins",
}  # fmt: skip
"""The group of each person who calls; its claim ``sub`` is the first word with ``-1``."""


@attrs.frozen
class AdminGateway:
    """A gateway with ``admin_config`` in ``folder``, and its identity provider."""

    gateway: Gateway
    folder: Path
    identity: OidcProvider

    def call(self, caller: str | None, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send a request with the credential of ``caller``: a name in ``KEYS`` or ``PEOPLE``, or a key."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.gateway.request(method, path, body, {**self.credential(caller), **named})

    def credential(self, caller: str | None) -> dict[str, str]:
        """Return the headers with the credential of ``caller``."""
        if caller is None:
            return {}
        key = self.token(caller) if caller in PEOPLE else KEYS.get(caller, caller)
        return {"authorization": f"Bearer {key}"}

    def token(self, caller: str) -> str:
        """Return a token of one of ``PEOPLE``."""
        return self.identity.token(sub=f"{caller.split()[0]}-1", groups=[PEOPLE[caller]])

    def note_person(self, name: str, group: str | None = "research", role: str = "user", claim: str = "ml") -> None:
        """Store a person as seen now."""
        from gateway.features.people.records import SeenPerson  # which may be deleted

        issuer, _, subject = name.partition(":")
        now = time.time()
        claims = {"sub": subject, "groups": [claim]}
        self.stored(lambda store: store.note_people(
            (SeenPerson(name, issuer, f"{subject}@example.com", claims, group, role, now, now, now),)
        ))  # fmt: skip

    def stored(self, work: "Callable[[PeopleStore], Awaitable[T]]") -> T:
        """Return the result of ``work`` with the store of people."""

        async def run() -> T:
            from gateway.features.people.store import PeopleStore  # which may be deleted

            store = PeopleStore(SqliteDatabase(self.folder / "state.sqlite"))
            try:
                return await work(store)
            finally:
                await store.database.aclose()

        return trio.run(run)

    def audit_rows(self) -> list[tuple[Any, ...]]:
        """Return who, method, path and status of the stored audit's rows."""
        with contextlib.closing(sqlite3.connect(self.folder / "state.sqlite")) as db:
            return db.execute("SELECT who, method, path, status FROM audit ORDER BY number").fetchall()

    def audit_lines(self) -> list[dict[str, Any]]:
        """Return the lines of the audit about requests, once all are written."""
        flush_audit()
        lines = map(json.loads, (self.folder / "audit.jsonl").read_text().splitlines())
        return [line for line in lines if line["event"] == "admin_request"]


@contextlib.contextmanager
def admin_gateway(folder: Path, **more: Any) -> Iterator[AdminGateway]:
    """Serve ``admin_config`` until the end of the block."""
    with open_provider() as identity:
        issuer = {"name": "okta", "issuer": identity.issuer, "audience": ["trigate"], "admit": list(ADMIT)}
        with gateway_thread(admin_config(folder, **{**members_of("people", issuers=[issuer]), **more})) as gateway:
            yield AdminGateway(gateway, folder, identity)


def soon(days: float = 30) -> str:
    """Return a time so many days ahead."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
