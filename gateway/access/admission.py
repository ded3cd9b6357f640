"""Admission: whose request may begin, and the places that it takes until it ends.

Whoever is refused takes no place: a request counts from the moment when all is known to be well with its head, and
gives its place back when its answer is complete or its scope closes, whatever ends it.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Literal, Protocol, TypeAlias

from gateway.access.authentication import Authenticator
from gateway.config.settings import Config
from gateway.http.headers import Headers
from gateway.http.request_scope import RequestScope
from streams.errors import GatewayError

Share: TypeAlias = Literal["in_flight"]
"""The kinds of places."""

_WAIT: Final = (("retry-after", "1"),)
_FULL: Final = "the gateway serves as many requests as its limits.in_flight allows"


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


class Shares:
    """The places that are taken in a process, whatever its configuration is by now."""

    def __init__(self) -> None:
        self.taken: Counter[Share] = Counter()

    def take(self, share: Share, client: str) -> Callable[[], object]:
        """Count a place of ``client``: what gives it back, to be called once."""
        self.taken[share] += 1
        return partial(self._give_back, share, client)

    def _give_back(self, share: Share, client: str) -> None:
        self.taken[share] -= 1


class Admission:
    """Who may come in by one configuration, and the places of all. Whatever else is to be asked of a request before it
    may begin is one more of its rules."""

    def __init__(self, config: Config, authenticator: Authenticator, shares: Shares) -> None:
        self.shares = shares
        self._authenticator = authenticator
        self._most: Mapping[Share, int] = {"in_flight": config.limits.in_flight}
        self._rules: tuple[Callable[[Share, str], None], ...] = (self._has_room,)

    def admit(self, arrival: Arrival) -> str | None:
        """Let a request in, and keep a place for it until its end: the name of its client, ``None`` where the door is
        open to all. Raises ``GatewayError``: 401, 503."""
        client = self.authenticate(arrival)
        self.take("in_flight", client, arrival.scope)
        return client

    def authenticate(self, arrival: Arrival) -> str | None:
        """The client of a request that takes no place. Raises ``GatewayError`` (401)."""
        return self._authenticator.authenticate(arrival.headers)

    def take(self, share: Share, client: str | None, scope: RequestScope) -> None:
        """Keep a place for ``client`` until the answer of ``scope`` is complete, or the scope closes. Raises
        ``GatewayError`` (503) where there is none."""
        name = client or ""
        for check in self._rules:
            check(share, name)
        scope.hold(self.shares.take(share, name))

    def _has_room(self, share: Share, client: str) -> None:
        if self.shares.taken[share] >= self._most[share]:
            raise GatewayError("overloaded", _FULL, headers=_WAIT)
