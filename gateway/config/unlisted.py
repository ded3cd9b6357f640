"""Clients that no list has, because their credentials name them, and callers of the gateway's own paths."""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol, TypeVar

import attrs

from gateway.config.clients import ClientKey, Role
from gateway.http.headers import Headers

V = TypeVar("V")


@attrs.frozen(repr=False)
class Caller:
    """The sender of a request for a path of the gateway's own: its client's name, and the rights that it has now.

    ``credential`` is the kind of its credential: ``key`` for a client key, ``operator`` for the ``ui_key``, or that of
    a feature. ``credential_id`` is the name of the key, or another id that is not secret. ``name`` is ``None`` for the
    operator's keys."""

    name: str | None
    role: Role
    group: str | None
    credential: str
    credential_id: str | None = None

    @property
    def sees_all(self) -> bool:
        """Whether the caller sees the objects of all groups."""
        return self.role in ("auditor", "admin")

    def sees_group(self, group: str | None) -> bool:
        """Return whether the caller sees the objects of ``group``: a lead those of its own."""
        return self.sees_all or (self.role == "lead" and group is not None and group == self.group)


@attrs.frozen(repr=False)
class SentRights:
    """The unlisted client that sent a request as its ``caller``. The credential is valid until ``expiry`` (Unix
    seconds)."""

    caller: Caller
    expiry: float


class UnlistedClients(Protocol):
    """The unlisted clients of one configuration. A request's ``keys`` are the credentials in its usual headers."""

    async def prepare(self, headers: Headers, keys: Collection[str]) -> None:
        """Wait, for two seconds at most, until ``identify`` can judge the token in a request. Never raises."""

    def identify(self, headers: Headers, keys: Collection[str]) -> str | None:
        """Return the name of the client whose token is in a request, ``None`` if no credential is a token.

        Raises ``GatewayError`` (401, 403, 503)."""

    def seconds_left(self, headers: Headers, keys: Collection[str]) -> float:
        """Return the seconds until the valid token in a request expires, infinity without one."""

    def sent_rights(self, name: str) -> SentRights | None:
        """Return the rights of the client ``name`` in the current request, ``None`` unless it is unlisted and sent the
        request."""

    def admit_by_name(self, name: str) -> bool | None:
        """Let a client send the current request without a token, because a URL of the gateway permits it.

        Return whether it may, and ``None`` for names that no unlisted client can have."""

    def owns(self, credential: str) -> bool:
        """Return whether ``credential`` is for this gateway, valid or not, so that no provider may see it."""

    def table(
        self, values: Mapping[str, V], make: Callable[[ClientKey], V | None], *, is_own: bool = False
    ) -> Mapping[str, V]:
        """Return ``values`` by client name with those of unlisted clients, which ``make`` returns.

        With ``is_own`` each of them has a value of its own; otherwise all of a rule share one."""

    def label_of(self, name: str) -> str | None:
        """Return the name under which metrics count an unlisted client together with others; ``None`` for others."""
