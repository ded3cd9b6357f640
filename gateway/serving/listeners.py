"""The options of a listener's connections, and Hypercorn's settings for this server."""

import ssl
from typing import Final, Protocol

import attrs

from gateway.http.listener_rules import ListenerRules

WRITE_TIMEOUT: Final = 30.0
"""Seconds that a client may leave sent bytes untaken before it is cut."""
HEAD_TIMEOUT: Final = 10.0
"""Seconds for the first head of a connection, and for any other from its first byte."""
PING_SECONDS: Final = 15.0  # between two pings: balancers drop a websocket after a silent minute

KEEP_ALIVE: Final = 75.0


class ServerConfig:
    """The settings of a server's connections, and the time limits of its app. Times are in seconds."""

    write_timeout = WRITE_TIMEOUT
    head_timeout = HEAD_TIMEOUT
    keep_alive_timeout = KEEP_ALIVE
    graceful_timeout = 3.0
    """The longest time from the end of the drain to the last connection's."""
    startup_timeout = 60.0
    shutdown_timeout = 60.0
    h11_max_incomplete_size = 64 * 1024
    websocket_ping_interval = PING_SECONDS


class ServerTls(Protocol):
    """The TLS of a listener's connections."""

    @property
    def context(self) -> ssl.SSLContext:
        """The certificate and the settings of new connections."""

    def reread(self) -> None:
        """Read the certificate again for new connections."""


@attrs.frozen(eq=False, repr=False)
class ListenerOptions:
    """The options of a listener's connections. ``http2``: they may speak HTTP/2, also without TLS (RFC 9113, section
    3.3)."""

    tls: ServerTls | None = None
    http2: bool = True
    is_for_probes: bool = False
    """It accepts health checks alone."""
    proxy_protocol: bool = False
    """A PROXY header comes first and has the client's address."""
    rules: ListenerRules | None = None
