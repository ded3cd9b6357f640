"""The rules of a listener about requests: what it serves, and whose requests it accepts."""

from collections.abc import Collection
from functools import cached_property
from ipaddress import ip_network
from typing import Final, Literal, TypeAlias

import attrs

from gateway.http.addresses import IpNetwork, parse_ip
from streams.events import ErrorInfo

Use: TypeAlias = Literal["models", "admin", "pages", "metrics"]
"""A use of a path."""

ALL_USES: Final[tuple[Use, ...]] = ("models", "admin", "pages", "metrics")

LISTENER: Final = "trigate.listener"
"""The ASGI extension with the ``ListenerRules`` of the request's listener, if it has any."""


@attrs.frozen(eq=False, repr=False, slots=False)  # for the cached property
class ListenerRules:
    """The rules of the listener ``name``: the ``uses`` that it serves, and the networks of clients that it allows.

    A network is in CIDR notation, or ``unix``. No networks allow everyone."""

    name: str
    uses: Collection[Use]
    networks: Collection[str] = ()

    def find_error(self, uses: Collection[Use], address: str | None) -> ErrorInfo | None:
        """Return the error for a client at ``address`` that requests a path for ``uses``, or ``None``.

        It is 403 for an address that the listener does not allow, and 404 for a path that it does not serve. No
        ``uses`` means a path of health checks, or an unknown one, which every listener serves."""
        if self.networks and not self._allows(address or ""):
            return ErrorInfo("permission", _FOREIGN.format(self.name, address))
        if uses and not set(uses) & set(self.uses):
            return ErrorInfo("not_found", _UNSERVED.format(self.name, ", ".join(self.uses)))
        return None

    def _allows(self, address: str) -> bool:
        found = parse_ip(address)
        return address in self.networks or (found is not None and any(found in one for one in self._parsed_networks))

    @cached_property
    def _parsed_networks(self) -> tuple[IpNetwork, ...]:
        return tuple(ip_network(one) for one in self.networks if one != "unix")


_FOREIGN: Final = "the listener {!r} accepts no requests from {}: its `allow` lists the networks"
_UNSERVED: Final = "the listener {!r} serves only {} and health checks: use another port of the gateway"
