"""Hypercorn's settings for this server."""

import logging
import math
import sys
from typing import Final

from hypercorn.config import Config

WRITE_TIMEOUT: Final = 30.0
"""Seconds that a client may leave sent bytes untaken before it is cut."""
HEAD_TIMEOUT: Final = 10.0
"""Seconds for the first head of a connection, and for any other from its first byte."""
PING_SECONDS: Final = 15.0  # between two pings: balancers drop a websocket after a silent minute

_hypercorn = logging.getLogger("trigate.hypercorn")
_hypercorn.setLevel("WARNING")


class ServerConfig(Config):
    """The settings that Hypercorn's HTTP/2, lifespan and task group read, and those of this server's connections."""

    write_timeout = WRITE_TIMEOUT
    head_timeout = HEAD_TIMEOUT

    errorlog = _hypercorn
    accesslog = None  # the ledger writes one line per exchange
    include_server_header = False
    keep_alive_max_requests = sys.maxsize
    h11_max_incomplete_size = 64 * 1024
    websocket_ping_interval = PING_SECONDS
    # Unbounded, because the queue's reader is always receiving (it drops a body that is too large), and a bounded one
    # deadlocks with an app that ended early: no task takes the messages, and the connection is never closed. A
    # ``Backlog`` bounds what an app reads slowly.
    max_app_queue_size = math.inf  # type: ignore[assignment]
