"""The state that all exchanges of a process share until a new configuration replaces it."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import attrs
import trio

from gateway.access.admission import Admission
from gateway.access.authentication import Authenticator
from gateway.allowances.allowances import Allowances
from gateway.balancing.balancer import Balancer
from gateway.config.limits import Limits
from gateway.conversations.background import Background, NoBackground
from gateway.health.health import Health
from gateway.ledger.ledger import Ledger
from gateway.request.rejections import RejectionCache
from gateway.routing.router import Router
from gateway.seams.hooks import NO_HOOKS, Hooks
from gateway.seams.identify import ClientSource
from gateway.seams.running import Running
from gateway.serving.lifecycle import Lifecycle
from gateway.stores.store import Store
from gateway.upstream.client import Upstream
from gateway.upstream.request import CredentialSource

if TYPE_CHECKING:
    from gateway.shared.tables import SharedTables


class Replaced:
    """Events that report a new configuration, one for each client: set for all clients, or only for affected ones.

    An event requested later reports the next configuration."""

    def __init__(self) -> None:
        self._is_for_all = False
        # Clients may be many, and an event is needed only while a websocket waits for it.
        self._events: WeakValueDictionary[str | None, trio.Event] = WeakValueDictionary()

    def of(self, client: str | None) -> trio.Event:
        """Return the event of ``client``; ``None`` for a client without a name."""
        event = self._events.setdefault(client, trio.Event())
        if self._is_for_all:
            event.set()
        return event

    def set(self) -> None:
        self._is_for_all = True
        self.set_for(tuple(self._events))

    def set_for(self, clients: Iterable[str | None]) -> None:
        for client in clients:
            if (event := self._events.pop(client, None)) is not None:
                event.set()


@attrs.frozen(eq=False, repr=False)
class ServiceSettings:
    """The settings of a configuration for every exchange.

    ``keep_alive`` is the longest silence towards a client in seconds. ``check_streams`` checks every sent stream
    against its API's grammar."""

    limits: Limits
    keep_alive: float
    strict: bool = False
    check_streams: bool = False


@attrs.frozen(eq=False, repr=False)
class Turns:
    """The stored turns of conversations, and those that run in the background."""

    store: Store | None = None
    background: Background | NoBackground = attrs.field(factory=NoBackground)


@attrs.frozen(eq=False, repr=False)
class Opened:
    """The parts that the next configuration of the process continues, and that no exchange reads.

    - ``features`` are the open features by name, ``options`` those of ``trigate serve`` that belong to features.
    - ``clients`` are those that change at run time.
    - ``shared`` has the tables in the memory that the workers share, ``None`` in a single process."""

    features: Mapping[str, Running] = attrs.field(factory=dict)
    options: Mapping[str, object] = attrs.field(factory=dict)
    clients: ClientSource = attrs.field(factory=ClientSource)
    shared: "SharedTables | None" = None


@attrs.frozen(eq=False, repr=False)
class Service:
    """The parts of the gateway that all exchanges of a configuration share.

    The service of a new configuration has its own router, authenticator, admission and settings, and shares everything
    lasting with this one.

    - ``replaced`` is set when a new configuration takes over.
    - ``rejections`` are the parts of requests that providers rejected. ``balancer`` orders the targets of a group.
    - ``credentials`` are the sources of credentials that are not in the configuration, by entry name.
    - ``hooks`` are the additions of the open features."""

    router: Router
    upstream: Upstream
    lifecycle: Lifecycle
    settings: ServiceSettings
    authenticator: Authenticator
    admission: Admission
    turns: Turns = attrs.field(factory=Turns)
    rejections: RejectionCache = attrs.field(factory=RejectionCache)
    ledger: Ledger = attrs.field(factory=Ledger)
    allowances: Allowances = attrs.field(factory=Allowances)
    health: Health = attrs.field(factory=Health)
    balancer: Balancer = attrs.field(factory=Balancer)
    credentials: Mapping[str, CredentialSource] = attrs.field(factory=dict)
    replaced: Replaced = attrs.field(factory=Replaced)
    opened: Opened = attrs.field(factory=Opened)
    hooks: Hooks = NO_HOOKS
