"""Hypercorn's settings as our server uses them."""

import logging
import math
import sys
from typing import Final

from hypercorn.config import Config

WRITE_TIMEOUT: Final = 30.0
"""Seconds that a client may leave what it was sent untaken before it is cut."""
HEAD_TIMEOUT: Final = 10.0
"""Seconds that the first head of a connection may take, and any other from its first byte on."""
PING_SECONDS: Final = 15.0  # between two pings: balancers drop a websocket that is silent for a minute

_hypercorn = logging.getLogger("trigate.hypercorn")
_hypercorn.setLevel("WARNING")


class ServerConfig(Config):
    """The settings that Hypercorn's HTTP/2, lifespan and task group read, and our connections beside them."""

    write_timeout = WRITE_TIMEOUT
    head_timeout = HEAD_TIMEOUT

    errorlog = _hypercorn
    accesslog = None  # the ledger writes one line per exchange
    include_server_header = False
    keep_alive_max_requests = sys.maxsize
    h11_max_incomplete_size = 64 * 1024
    websocket_ping_interval = PING_SECONDS
    # Without a bound, because the queue's reader is always at it (a body that is too large is dropped there), and a
    # bounded one deadlocks with an app that has ended early: nobody takes the messages, the connection is never closed.
    # What an app reads as slowly as it passes it on is bounded by its ``Backlog``.
    max_app_queue_size = math.inf  # type: ignore[assignment]
