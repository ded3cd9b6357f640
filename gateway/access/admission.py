"""Admission: decides which requests may begin, and counts each until it ends.

A refused request counts nowhere. An admitted one counts as soon as its head is valid, until its response is complete or
its scope closes."""

from collections.abc import Mapping
from typing import Any, Protocol

import attrs

from gateway.access.authentication import Authenticator, credential_pseudonym
from gateway.access.body_memory import AnswerMemory, BodyBudget, HeldBody, HeldPieces
from gateway.access.held_bytes import ByteShares
from gateway.access.refused_keys import KeyRefused, RefusedKeys
from gateway.access.shares import CONNECTIONS, IN_FLIGHT, NOBODY, WEBSOCKETS, ShareLimit, Shares, half_for_each
from gateway.config.settings import Config
from gateway.http.certificates import certificate_names
from gateway.http.headers import Headers
from gateway.http.offload import CLIENT
from gateway.http.request_scope import CONNECTION, ConnectionPlace, RequestScope
from streams.errors import GatewayError


class Arrival(Protocol):
    """A request or a websocket handshake before admission."""

    @property
    def scope(self) -> RequestScope: ...

    @property
    def headers(self) -> Headers: ...

    @property
    def asgi(self) -> Mapping[str, Any]:
        """The ASGI scope; ``client`` and ``server`` have the addresses of both ends."""


def _log_nothing(event: str, address: str | None, **fields: Any) -> None:
    return


class Admission:
    """The admission of requests by one configuration.

    ``shares`` counts the requests and connections of the process, ``refused`` the keys that the process rejected."""

    def __init__(
        self, config: Config, authenticator: Authenticator, shares: Shares, refused: RefusedKeys | None = None
    ) -> None:
        self.shares = shares
        self.refused = refused or RefusedKeys(_log_nothing)
        self._authenticator = authenticator
        self.websockets = ShareLimit(WEBSOCKETS, config, shares, half_for_each(config, config.limits.in_flight))
        """The limit on websockets, for ``take``."""
        in_flight, connections = config.limits.in_flight, config.limits.connections or 0
        self.requests = ShareLimit(IN_FLIGHT, config, shares, half_for_each(config, in_flight), in_flight)
        # The servers limit all connections together.
        self._connections = ShareLimit(CONNECTIONS, config, shares, half_for_each(config, connections))
        self._bodies = BodyBudget(config, shares.bodies)
        self.spool = ByteShares(config, "spool")
        """The clients' shares of ``limits.spool``."""
        self._by_credential = not config.asks_for_key and any(entry.passthrough_auth for entry in config.entries)

    def admit(self, arrival: Arrival) -> str | None:
        """Authenticate a request, count it until it ends, and return its client's name.

        Return ``None`` if no key is required. Raises ``GatewayError`` (401, 429, 503)."""
        client = self.authenticate(arrival)
        self.admit_as(self.holder(client, arrival.headers), arrival)
        return client

    def admit_as(self, holder: str, arrival: Arrival) -> None:
        """Count a request of ``holder``, whose key was checked. Raises ``GatewayError`` (429, 503)."""
        if holder != NOBODY:
            CLIENT.set(holder)
            self.take_connection(arrival, holder)
        self.take(self.requests, holder, arrival.scope)

    def authenticate(self, arrival: Arrival) -> str | None:
        """Return the client of a request without counting the request. Raises ``GatewayError`` (401, 429)."""
        try:
            return self._authenticator.authenticate(arrival.headers, certificate_names(arrival.asgi))
        except KeyRefused as error:
            raise self.refused.judge(error, arrival.scope.address, arrival.asgi["path"]) from None

    async def prepare(self, arrival: Arrival) -> None:
        """Wait until ``authenticate`` can judge the token of a request, two seconds at most. Never raises."""
        await self._authenticator.prepare(arrival.headers, certificate_names(arrival.asgi))

    def authenticate_operator(self, arrival: Arrival) -> None:
        """Check that a request may see data of all clients. Raises ``GatewayError`` (401, 403, 429, 503)."""
        try:
            self._authenticator.authenticate_operator(arrival.headers, certificate_names(arrival.asgi))
        except KeyRefused as error:
            raise self.refused.judge(error, arrival.scope.address, arrival.asgi["path"]) from None

    def holder(self, client: str | None, headers: Headers) -> str:
        """Return the name under which requests of ``client`` count and its state is stored.

        A client without a name is identified by the provider credential that it sends."""
        if client is not None:
            return client
        return credential_pseudonym(headers) if self._by_credential else NOBODY

    def take_connection(self, arrival: Arrival, holder: str) -> None:
        """Count the request's connection for ``holder``, whichever client it counted for before.

        If ``holder`` has too many connections, end this one and raise ``GatewayError`` (429)."""
        place: ConnectionPlace | None = arrival.asgi["extensions"].get(CONNECTION)
        if place is None or place.holder == holder:
            return
        try:
            release = self._connections.take(holder)
        except GatewayError as error:
            place.end()
            if arrival.asgi["http_version"] >= "2":  # RFC 9113, section 8.2.2
                raise
            info = error.info
            raise GatewayError.of(attrs.evolve(info, headers=(*info.headers, ("connection", "close")))) from None
        place.hold(holder, release)

    def body(self, holder: str, scope: RequestScope) -> HeldBody:
        """Return the memory account for the body of an admitted request."""
        return HeldBody(self._bodies, holder, scope)

    def answer(self, holder: str, scope: RequestScope) -> AnswerMemory:
        """Return the memory account for a response that is read completely."""
        return AnswerMemory(self._bodies, holder, scope)

    def pieces(self, holder: str) -> HeldPieces:
        """Return the memory account for a response that is kept for several requests, the first one of ``holder``."""
        return HeldPieces(self._bodies, holder)

    def take(self, limit: ShareLimit, holder: str, scope: RequestScope) -> None:
        """Count one thing with this ``limit`` for ``holder`` until the response of ``scope`` is complete, or the scope
        closes or releases its places.

        Raises ``GatewayError`` (429, 503) if none is free."""
        scope.hold_place(limit.take(holder))
