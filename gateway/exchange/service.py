"""The service that all exchanges of a process share, until another configuration's takes over."""

from collections.abc import Iterable, Mapping

import attrs
import trio

from gateway.access.admission import Admission
from gateway.access.authentication import Authenticator
from gateway.allowances.allowances import Allowances
from gateway.answer_cache.cache import AnswerCache
from gateway.answer_cache.memory import MemoryAnswers
from gateway.answer_cache.uses import CacheUses
from gateway.balancing.balancer import Balancer
from gateway.config.cached_answers import AnswerCacheSettings
from gateway.config.limits import Limits
from gateway.conversations.background import Background, NoBackground
from gateway.health.health import Health
from gateway.kept_ledger.ledger_keeping import LedgerKeeping
from gateway.kept_objects.inventory import Inventory
from gateway.kept_objects.owned_ids import AccountDirectory
from gateway.kept_objects.pending import PendingBatches
from gateway.ledger.ledger import Ledger
from gateway.model_lists import ProviderLists
from gateway.request.rejections import RejectionCache
from gateway.routing.hedging import HedgeShares
from gateway.routing.router import Router
from gateway.serving.lifecycle import Lifecycle
from gateway.stores.store import Store
from gateway.telemetry.live import LiveView, NoLiveView, OtherLiveViews
from gateway.telemetry.metrics import Metrics, NoMetrics
from gateway.telemetry.observer import ExchangeRecorder, ExchangeTracer
from gateway.upstream.client import Upstream
from gateway.upstream.request import CredentialSource


class Replaced:
    """It is ``set`` for all once another configuration holds, and for those clients alone of which other things hold
    now. Those who come later wait for what comes later."""

    def __init__(self) -> None:
        self._all = False
        self._events: dict[str | None, trio.Event] = {}

    def of(self, client: str | None) -> trio.Event:
        """The event of ``client``, ``None`` for whoever has no name."""
        event = self._events.setdefault(client, trio.Event())
        if self._all:
            event.set()
        return event

    def set(self) -> None:
        self._all = True
        self.set_for(tuple(self._events))

    def set_for(self, clients: Iterable[str | None]) -> None:
        for client in clients:
            if (event := self._events.pop(client, None)) is not None:
                event.set()


@attrs.frozen(eq=False, repr=False)
class Service:
    """The parts that exchanges share, by one configuration: another one's service has a router, an authenticator, an
    admission and settings of its own and all that lasts in common with this.

    ``keep_alive`` is the longest silence towards a client, ``websocket_idle`` that of a websocket's client, in seconds;
    ``check_streams`` holds every stream that goes out against its API's grammar; without a ``store`` nothing is kept
    from one request to the next; ``learned`` is what providers have refused in requests; ``replaced`` is set once
    another configuration's service takes over; ``allowances`` are what clients and targets may use, ``health`` is that
    of the targets, ``balancer`` orders those of a group, ``hedges`` are the routes' shares of second attempts;
    ``provider_lists`` are the models that providers list; ``cache_uses`` say whose answers come from the
    ``answer_cache``, ``None`` for nobody's;
    ``credentials`` are where those come from that are no key of the configuration, by the names of entries;
    ``kept_ledger`` puts them into the state storage once they are settled,
    ``live_view`` is what the live view looks at, ``others`` are workers that it shows too, ``recorder`` writes
    exchanges down, ``tracing`` traces them; ``accounts`` are those in
    which providers keep objects for clients, ``inventory`` is what was made there, ``None`` where nothing is kept,
    ``pending`` what batches are expected to cost that go on."""

    router: Router
    upstream: Upstream
    lifecycle: Lifecycle
    limits: Limits
    keep_alive: float
    authenticator: Authenticator
    admission: Admission
    strict: bool = False
    websocket_idle: float = 600.0
    check_streams: bool = False
    store: Store | None = None
    background: Background | NoBackground = attrs.field(factory=NoBackground)
    learned: RejectionCache = attrs.field(factory=RejectionCache)
    ledger: Ledger = attrs.field(factory=Ledger)
    kept_ledger: LedgerKeeping = attrs.field(factory=LedgerKeeping)
    allowances: Allowances = attrs.field(factory=Allowances)
    health: Health = attrs.field(factory=Health)
    balancer: Balancer = attrs.field(factory=Balancer)
    hedges: HedgeShares = attrs.field(factory=HedgeShares)
    live_view: LiveView | NoLiveView = attrs.field(factory=NoLiveView)
    others: OtherLiveViews | None = None
    recorder: ExchangeRecorder = attrs.field(factory=ExchangeRecorder)
    metrics: Metrics | NoMetrics = attrs.field(factory=NoMetrics)
    tracing: ExchangeTracer = attrs.field(factory=ExchangeTracer)
    credentials: Mapping[str, CredentialSource] = attrs.field(factory=dict)
    provider_lists: ProviderLists = attrs.field(factory=ProviderLists)
    replaced: Replaced = attrs.field(factory=Replaced)
    answer_cache: AnswerCache = attrs.field(factory=lambda: AnswerCache(AnswerCacheSettings(), MemoryAnswers(0)))
    cache_uses: CacheUses | None = None
    accounts: AccountDirectory = attrs.field(factory=AccountDirectory)
    inventory: Inventory | None = None
    pending: PendingBatches = attrs.field(
        default=attrs.Factory(
            lambda self: PendingBatches(self.inventory, self.allowances.batch_reserves), takes_self=True
        )
    )
