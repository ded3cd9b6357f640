"""Calls of handlers of the HTTP API, and their results."""

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs
import trio
from trio.lowlevel import RunVar

from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.admin.bodies import read_object
from gateway.features.admin.interface import admin_of
from gateway.features.admin.table import AdminRoute
from gateway.features.people.interface import people_of
from gateway.features.people.records import AuditEntry
from gateway.features.people.store import PeopleStore
from gateway.features.people.values import Caller
from gateway.http.headers import Headers
from gateway.http.offload import run_in_thread
from gateway.serving.incoming_request import IncomingRequest
from streams.errors import GatewayError

if TYPE_CHECKING:
    from gateway.features.admin.opening import Admin
    from gateway.http.request_scope import RequestScope

T = TypeVar("T")

_NO_PEOPLE: Final = (
    "this configuration stores no changes: set `stored_keys: true`, or `issuers`, and a `state_storage` of sqlite or "
    "postgres"
)


@attrs.frozen(eq=False, repr=False)
class AdminCall:
    """One call of ``caller``: the values of its path and query, and the service."""

    config: Config
    service: Service
    caller: Caller
    route: AdminRoute
    names: Mapping[str, str]
    query: Mapping[str, str]
    incoming: IncomingRequest
    now: float = attrs.field(factory=time.time)

    async def body(self, *, is_optional: bool = False) -> dict[str, Any]:
        """Return the JSON object in the body, empty without a body that ``is_optional``. Raises ``GatewayError``."""
        return await read_object(self.incoming, is_optional=is_optional)

    async def people(self) -> PeopleStore:
        """Return the store of people and of the audit, with its tables and everyone whom this process has seen.

        Raises ``GatewayError`` (403) and ``Unavailable``."""
        store, people = self.admin.store, people_of(self.service.features)
        if store is None:
            raise GatewayError("permission", _NO_PEOPLE, code="no_storage")
        await store.open()
        if people is not None and people.own_keys is not None:
            await people.own_keys.seen.flush()
        return store

    @property
    def admin(self) -> "Admin":
        """The tables and the stored clients."""
        found = admin_of(self.service.features)
        assert found is not None, "it serves this call"
        return found

    @property
    def person(self) -> str:
        """The caller's name, on a route for people."""
        return self.caller.name or ""

    @property
    def author(self) -> str:
        """The caller for records of changes."""
        return author_of(self.caller)

    def audit_entry(self, status: int) -> AuditEntry:
        """Return the audit's row of this call with the status of its response."""
        path = self.incoming.asgi["path"]
        return audit_entry(self.caller, self.incoming.scope, self.now, self.route.verb, path, status)

    def header(self, name: str) -> str | None:
        """Return a header of the request by its lower-case name."""
        return dict(self.incoming.headers).get(name)


def author_of(caller: Caller) -> str:
    return caller.name or caller.credential


def audit_entry(
    caller: Caller, scope: "RequestScope", now: float, verb: str, path: str, status: int = 200
) -> AuditEntry:
    """Return the audit's row of a request by ``caller``."""
    credential = " ".join(filter(None, (caller.credential, caller.credential_id)))
    return AuditEntry(now, author_of(caller), credential, scope.address or "", scope.id, verb, path, status)


@attrs.frozen(eq=False, repr=False)
class AdminAnswer:
    """A response: ``value`` as JSON, or ``text`` of another type in ``headers``; neither with 204."""

    value: Any = None
    status: int = 200
    headers: Headers = ()
    text: str | None = None


NO_CONTENT = AdminAnswer(status=204)


THREADS: Final = 2
"""The most threads for work of this API. They are not those of large bodies, so no request of a model waits for it."""

_LIMITER = RunVar[trio.CapacityLimiter]("threads of the HTTP API")


async def in_thread(work: Callable[[], T]) -> T:
    """Return the result of ``work``, which runs in a thread, so that no stream waits for it."""
    try:
        limiter = _LIMITER.get()
    except LookupError:
        _LIMITER.set(limiter := trio.CapacityLimiter(THREADS))
    async with limiter:
        return await run_in_thread(work)


def is_person_name(config: Config, name: str) -> bool:
    """Return whether ``name`` can only be the name of a person."""
    issuer, colon, subject = name.partition(":")
    return bool(colon and subject) and any(one.name == issuer for one in config.issuers)


def client_of(config: Config, name: str | None) -> ClientKey | None:
    """Return the client with this name in the file or the storage."""
    return next((client for client in config.client_keys if client.name == name), None)


def group_of(config: Config, name: str | None) -> ClientGroup | None:
    return next((group for group in config.client_groups if group.name == name), None)


async def apply_people(call: AdminCall) -> None:
    """Apply a change of people in this process now; the others follow within half a second."""
    if call.admin.keys is not None:
        await call.admin.keys.apply_other_changes()
