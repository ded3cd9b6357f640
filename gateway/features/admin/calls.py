"""Calls of handlers of the HTTP API, and their results."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

import attrs

from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.settings import Config
from gateway.config.unlisted import Caller
from gateway.exchange.service import Service
from gateway.features.admin.bodies import check_members, read_object
from gateway.features.admin.errors import conflict
from gateway.features.admin.opening import Admin
from gateway.features.admin.pages import page_of, page_size
from gateway.features.admin.parts.interface import parts_in
from gateway.features.admin.store import RightsStore
from gateway.features.admin.table import AdminRoute
from gateway.http.headers import Headers
from gateway.http.offload import run_in_thread
from gateway.http.threads import OwnThreads
from gateway.named_imports import import_named
from gateway.serving.incoming_request import IncomingRequest
from gateway.stores.errors import Changed, Unavailable
from gateway.stores.record_tables import AuditEntry
from streams.errors import GatewayError

if TYPE_CHECKING:
    from gateway.http.request_scope import RequestScope

T = TypeVar("T")

_NO_PEOPLE: Final = (
    "this configuration stores no changes: set `stored_keys: true`, or `issuers`, and a `state_storage` of sqlite or "
    "postgres"
)


@attrs.frozen(eq=False, repr=False)
class AdminAnswer:
    """A response: ``value`` as JSON, or ``text`` of another type in ``headers``; neither with 204.

    ``stored`` is the text as which the object of the response is stored, from which its version follows."""

    value: Any = None
    status: int = 200
    headers: Headers = ()
    text: str | None = None
    stored: str | None = None

    @classmethod
    def page(cls, data: Sequence[Any], following: str | None = None) -> "AdminAnswer":
        """Return the response with a page of a list; ``following`` is the ``after`` of the next one."""
        return cls({"data": data, "next": following})

    @property
    def tag(self) -> str:
        """The version of its object, empty without one."""
        return "" if self.stored is None else version_tag(self.stored)


class OtherKeys(Protocol):
    """Keys that belong to no client of a list, by their names in the list of all keys."""

    @property
    def keys(self) -> Mapping[str, Any]:
        """The keys by name."""

    def names(self, group: str | None) -> list[str]:
        """Return the names of the keys that the caller sees, all or those of ``group``."""

    def sees(self, name: str) -> bool:
        """Return whether there is a key ``name`` that the caller sees."""

    def creation_of(self, name: str) -> tuple[str, str]:
        """Return the text of when a key was made, and the name of its author."""

    def has_state(self, name: str, state: str) -> bool:
        """Return whether a key has this ``state`` of its row."""

    async def rows(self, names: Sequence[str]) -> Mapping[str, dict[str, Any]]:
        """Return the data of some keys by name."""


class ApiCalls:
    """The additions of a feature to the HTTP API. This base adds nothing."""

    routes: tuple[AdminRoute, ...] = ()

    async def caller(self, config: Config, service: Service, incoming: IncomingRequest) -> Caller | None:
        """Return the caller of a request without a key. Raises as ``identify_caller`` does."""
        return None

    def describe_caller(self, call: "AdminCall") -> Mapping[str, Any]:
        """Return members to add to the description of the caller."""
        return {}

    async def flush(self, service: Service) -> None:
        """Store what this process has not stored yet. Raises ``Unavailable``."""

    def has_key_name(self, config: Config, name: str) -> bool:
        """Return whether ``name`` can only be that of one of the other keys."""
        return False

    async def read_keys(self, call: "AdminCall") -> OtherKeys | None:
        """Return the other keys, ``None`` without any."""
        return None

    async def delete_key(self, call: "AdminCall", name: str) -> AdminAnswer:
        """Revoke the key ``name``, for which ``has_key_name`` is true. Raises ``GatewayError``."""
        raise NotImplementedError

    async def find_client(self, call: "AdminCall", name: str) -> tuple[ClientKey, str] | None:
        """Return the client ``name`` that no list has, and where the file sets its rights. Raises as a call does."""
        return None


def additions_in(service: Service) -> tuple[ApiCalls, ...]:
    """Return the additions of other features to the API of ``service``."""
    parts = parts_in(service.opened.features.values())
    return tuple(cast("ApiCalls", import_named(f"{one.module}:PART")) for one in parts)


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

    async def body(self, *known: str, is_optional: bool = False) -> dict[str, Any]:
        """Return the JSON object in the body, empty without a body that ``is_optional``. Raises ``GatewayError``.

        It may have only the ``known`` members, if there are any."""
        found = await read_object(self.incoming, is_optional=is_optional)
        if known:
            check_members(found, known)
        return found

    @property
    def page_size(self) -> int:
        """The requested number of items of a list. Raises ``GatewayError`` (400)."""
        return page_size(self.query)

    def page_of(self, items: Sequence[T], key: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
        """Return the requested page of ``items`` in the order of ``key``, and the ``after`` of the next one."""
        return page_of(items, self.query, key)

    def check_match(self, text: str | None, kind: str) -> None:
        """Check that the stored ``text`` is the version that the caller read, if it sends one, or that there is none.

        Raises ``GatewayError`` (409)."""
        if text is not None and (self.header("if-none-match") or "").strip() == "*":
            name = next(iter(self.names.values()))
            raise conflict(f"the {kind} {name[:200]!r} exists already: choose another name", "exists")
        if (wanted := self.header("if-match")) is None:
            return
        tags = [one.strip() for one in wanted.split(",")]
        if text is None or ("*" not in tags and version_tag(text) not in tags):
            raise conflict(f"the {kind} has changed since you read it: read it again, and repeat the change", "changed")

    async def apply_rights(self) -> None:
        """Apply a change of the rights of clients in this process now; the others follow within half a second."""
        if self.admin.keys is not None:
            await self.admin.keys.apply_other_changes()

    async def rights(self) -> RightsStore:
        """Return the store of raises and of the audit, with everything that other features store.

        For a call that only reads, these may be missing: a storage that cannot be written may still be read. Raises
        ``GatewayError`` (403) and ``Unavailable``."""
        store = self.admin.store
        if store is None:
            raise GatewayError("permission", _NO_PEOPLE, code="no_storage")
        for part in self.parts:
            try:
                await part.flush(self.service)
            except Unavailable:
                if self.route.changes:
                    raise
        return store

    @property
    def parts(self) -> tuple[ApiCalls, ...]:
        """The additions of other features to the API."""
        return additions_in(self.service)

    @property
    def admin(self) -> Admin:
        """The tables and the stored clients."""
        found = self.service.opened.features.get("admin")
        assert isinstance(found, Admin), "it serves this call"
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


def version_tag(text: str) -> str:
    """Return the version of an object, which is stored as ``text``."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def check_unchanged_since(
    before: T | None, version: Callable[[T | None], object] = lambda stored: stored
) -> Callable[[T | None], None]:
    """Return a check that the stored object is still the one that was read."""

    def check(present: T | None) -> None:
        if version(present) != version(before):
            raise Changed

    return check


def author_of(caller: Caller) -> str:
    return caller.name or caller.credential


def audit_entry(
    caller: Caller, scope: "RequestScope", now: float, verb: str, path: str, status: int = 200
) -> AuditEntry:
    """Return the audit's row of a request by ``caller``."""
    credential = " ".join(filter(None, (caller.credential, caller.credential_id)))
    return AuditEntry(now, author_of(caller), credential, scope.address or "", scope.id, verb, path, status)


_THREADS: Final = OwnThreads("the HTTP API", 2)
"""The threads for work of this API. They are not those of large bodies, so no request of a model waits for it."""


async def in_thread(work: Callable[[], T]) -> T:
    """Return the result of ``work``, which runs in a thread, so that no stream waits for it."""
    async with _THREADS.limiter():
        return await run_in_thread(work)


def client_of(config: Config, name: str | None) -> ClientKey | None:
    """Return the client with this name in the file or the storage."""
    return next((client for client in config.client_keys if client.name == name), None)


def group_of(config: Config, name: str | None) -> ClientGroup | None:
    return next((group for group in config.client_groups if group.name == name), None)
