"""What all exchanges of a process share."""

import attrs

from gateway.door import Door
from gateway.routing import Router
from gateway.server import Lifecycle
from gateway.settings import Limits
from gateway.state.store import Store
from gateway.turns.background import Background
from gateway.upstream import Upstream


@attrs.frozen
class Service:
    """``keep_alive`` is the longest silence towards a client, in seconds; ``check_streams`` holds every stream that
    goes out against its API's grammar; without a ``store`` nothing is kept from one request to the next."""

    router: Router
    upstream: Upstream
    lifecycle: Lifecycle
    limits: Limits
    keep_alive: float
    strict: bool = False
    check_streams: bool = False
    door: Door | None = None
    store: Store | None = None
    background: Background | None = None
