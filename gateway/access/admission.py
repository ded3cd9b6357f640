"""Admission: which requests may begin, and the place that each takes until it ends.

A refused request takes no place. An admitted one counts as soon as its head is known to be good, and returns its place
when its answer is complete or its scope closes, whatever ends it.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from gateway.access.authentication import Authenticator, passed_by
from gateway.access.body_memory import BodyBudget, HeldBody
from gateway.access.refused_keys import KeyRefused, RefusedKeys
from gateway.access.shares import NOBODY, Share, ShareLimits, Shares
from gateway.config.settings import Config
from gateway.http.certificates import shown_in
from gateway.http.headers import Headers
from gateway.http.offload import CLIENT
from gateway.http.request_scope import CONNECTION, ConnectionPlace, RequestScope
from streams.errors import GatewayError


class Arrival(Protocol):
    """A request or a websocket's handshake before admission: its head, and the connection that it came on."""

    @property
    def scope(self) -> RequestScope: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def asgi(self) -> Mapping[str, Any]:
        """The ASGI scope, with the addresses of both ends in ``client`` and ``server``."""
        ...


def _tell_nobody(event: str, address: str | None, **fields: Any) -> None:
    return


class Admission:
    """The admission of requests by one configuration. ``shares`` counts the places of the process, ``refused`` the keys
    that it has refused."""

    def __init__(
        self, config: Config, authenticator: Authenticator, shares: Shares, refused: RefusedKeys | None = None
    ) -> None:
        self.shares = shares
        self.refused = refused or RefusedKeys(_tell_nobody)
        self._authenticator = authenticator
        self._limits = ShareLimits(config, shares)
        self._bodies = BodyBudget(config, shares.bodies)
        self._by_credential = not config.asks_for_key and any(entry.passthrough_auth for entry in config.entries)

    def admit(self, arrival: Arrival) -> str | None:
        """Authenticate a request, reserve a place for it until its end, and return the name of its client; ``None``
        where no key is needed. Raises ``GatewayError``: 401, 429, 503."""
        client = self.authenticate(arrival)
        self.admit_as(self.holder(client, arrival.headers), arrival)
        return client

    def admit_as(self, holder: str, arrival: Arrival) -> None:
        """Reserve a place for a request of ``holder``, whose key was checked. Raises ``GatewayError``: 429, 503."""
        if holder != NOBODY:
            CLIENT.set(holder)
            self.take_connection(arrival, holder)
        self.take("in_flight", holder, arrival.scope)

    def authenticate(self, arrival: Arrival) -> str | None:
        """Return the client of a request, without a place for it. Raises ``GatewayError`` (401, 429)."""
        try:
            return self._authenticator.authenticate(arrival.headers, shown_in(arrival.asgi))
        except KeyRefused as error:
            raise self.refused.judge(error, arrival.scope.address, arrival.asgi["path"]) from None

    def authenticate_operator(self, arrival: Arrival) -> None:
        """Check that a request may see what concerns all clients. Raises ``GatewayError`` (401, 403, 429, 503)."""
        try:
            self._authenticator.authenticate_operator(arrival.headers, shown_in(arrival.asgi))
        except KeyRefused as error:
            raise self.refused.judge(error, arrival.scope.address, arrival.asgi["path"]) from None

    def holder(self, client: str | None, headers: Headers) -> str:
        """Return the name under which the places of ``client`` count and its state is stored. A client without a name
        is known by the credential that it passes on."""
        if client is not None:
            return client
        return passed_by(headers) if self._by_credential else NOBODY

    def take_connection(self, arrival: Arrival, holder: str) -> None:
        """Count the connection of a request as one of ``holder``, whoever had it before. Raises ``GatewayError`` (429)
        for one too many, and ends that connection."""
        place: ConnectionPlace | None = arrival.asgi["extensions"].get(CONNECTION)
        if place is None or place.holder == holder:
            return
        try:
            self._limits.check("connections", holder)
        except GatewayError as error:
            place.end()
            if arrival.asgi["http_version"] >= "2":  # RFC 9113, section 8.2.2
                raise
            failed = error.failed
            raise GatewayError.of(attrs.evolve(failed, headers=(*failed.headers, ("connection", "close")))) from None
        place.hold(holder, self.shares.take("connections", holder))

    def body(self, holder: str, scope: RequestScope) -> HeldBody:
        """Return the memory for the body of an admitted request."""
        return HeldBody(self._bodies, holder, scope)

    def take(self, share: Share, holder: str, scope: RequestScope) -> None:
        """Reserve a place for ``holder`` until the answer of ``scope`` is complete, or the scope closes. Raises
        ``GatewayError`` (429, 503) where none is free."""
        self._limits.check(share, holder)
        scope.hold(self.shares.take(share, holder))
