"""Admission: whose request may begin, and the place that it takes until it ends.

Whoever is refused takes no place: a request counts from the moment when all is known to be well with its head, and
gives its place back when its answer is complete or its scope closes, whatever ends it.
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
    """A request or a websocket's handshake, as it is before it is admitted: its head, and where it came from."""

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
    """Who may come in by one configuration, and who may take a place. ``shares`` are the places of the process,
    ``refused`` the keys that it has refused."""

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
        """Let a request in, and keep a place for it until its end: the name of its client, ``None`` where the door is
        open to all. Raises ``GatewayError``: 401, 429, 503."""
        client = self.authenticate(arrival)
        self.admit_as(self.holder(client, arrival.headers), arrival)
        return client

    def admit_as(self, holder: str, arrival: Arrival) -> None:
        """The same of a request of which it is known who ``holder`` is. Raises ``GatewayError``: 429, 503."""
        if holder != NOBODY:
            CLIENT.set(holder)
            self.take_connection(arrival, holder)
        self.take("in_flight", holder, arrival.scope)

    def authenticate(self, arrival: Arrival) -> str | None:
        """The client of a request that takes no place. Raises ``GatewayError`` (401, 429)."""
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
        """Who holds the places of ``client``, and owns what is stored for it. Without a name it is known by the
        credential that it passes on."""
        if client is not None:
            return client
        return passed_by(headers) if self._by_credential else NOBODY

    def take_connection(self, arrival: Arrival, holder: str) -> None:
        """Make the connection on which a request came in that of ``holder``, whoever had it before. Raises
        ``GatewayError`` (429) for one too many, and ends that."""
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
        """The memory for the body of a request that was admitted."""
        return HeldBody(self._bodies, holder, scope)

    def take(self, share: Share, holder: str, scope: RequestScope) -> None:
        """Keep a place for ``holder`` until the answer of ``scope`` is complete, or the scope closes. Raises
        ``GatewayError`` (429, 503) where there is none."""
        self._limits.check(share, holder)
        scope.hold(self.shares.take(share, holder))
