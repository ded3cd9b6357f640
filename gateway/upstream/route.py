"""The way to a provider: straight, or through a proxy."""

import attrs

from gateway.upstream.address import Origin
from gateway.upstream.proxies import Proxy


@attrs.frozen
class UpstreamRoute:
    """To ``origin``, through ``proxy`` where one is between. A connection serves all requests of one route."""

    origin: Origin
    proxy: Proxy | None = None

    @property
    def tunnelled(self) -> bool:
        """The proxy passes bytes on that it cannot read (``CONNECT``), and is given no request of ours."""
        return self.proxy is not None and self.origin.secure

    @property
    def forwarded(self) -> bool:
        """The proxy is given the request, and sends it on."""
        return self.proxy is not None and not self.origin.secure
