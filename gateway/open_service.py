"""The service that all exchanges of a process share: opened from a configuration, and changed by a reload."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs

from configfile.document import ConfigError, Mistake
from gateway.access.admission import Admission
from gateway.access.authentication import Authenticator
from gateway.access.refused_keys import RefusedKeys
from gateway.access.shares import Shares, UpstreamShare, storage_limits
from gateway.balancing.balancer import Balancer
from gateway.config.settings import Config
from gateway.conversations.background import Background, NoBackground
from gateway.exchange.service import Opened, Replaced, Service, ServiceSettings, Turns
from gateway.named_imports import import_named
from gateway.open_features import open_features, with_unlisted
from gateway.open_parts import (
    max_chunk,
    open_allowances,
    open_health,
    open_ledger,
    open_upstream,
    raise_new_budgets,
)
from gateway.routing.router import Router
from gateway.seams.hooks import NO_HOOKS, combine
from gateway.seams.identify import ClientSource
from gateway.seams.observers import observation_of
from gateway.seams.running import Ports
from gateway.seams.secrets import SecretReader
from gateway.serving.lifecycle import Lifecycle
from gateway.stores.store import Store

if TYPE_CHECKING:
    from gateway.shared.tables import SharedTables
    from gateway.upstream.request import CredentialSource


NO_CLIENTS: Final = ClientSource()
"""The source of a server that reads no stored clients."""

_ONLY_SERVE: Final = "only `trigate serve` reads secrets in stores", "use `trigate serve`, or files and variables"

NO_OPTIONS: Final[Mapping[str, object]] = {}


def open_service(
    config: Config,
    lifecycle: Lifecycle,
    store: Store | None,
    check_streams: bool,
    options: Mapping[str, object] = NO_OPTIONS,
    readable: bool | None = None,
    shared: "SharedTables | None" = None,
    secrets: SecretReader | None = None,
    clients: ClientSource = NO_CLIENTS,
) -> Service:
    """Make the objects that all exchanges of a process share.

    Some of them outlive ``config``; ``prepare_service`` replaces others at a reload. ``options`` are those of features.
    ``shared`` has the tables in the memory that workers share, ``secrets`` those in stores, ``clients`` those that
    change at run time. Raises as ``create_app`` does."""
    if config.stored_secrets and secrets is None:
        raise ConfigError((Mistake(str(config.path or ""), "", *_ONLY_SERVE),))
    config = with_unlisted(config, clients)
    if store is not None:
        store.limit_owners(storage_limits(config))
    ledger = open_ledger(config, readable, lifecycle)
    allowances = open_allowances(config, shared, clients)
    raise_new_budgets(config, allowances)
    health = open_health(config, shared)
    balancer = Balancer() if shared is None else Balancer(shared.pins, shared.open_answers)
    if (remote := allowances.counters.remote) is not None:
        health.share_outages(remote.notes)
        balancer.share_pins(remote.notes)
    authenticator, shares = Authenticator(config), Shares()
    service = Service(
        router=Router(config),
        upstream=open_upstream(config, shares),
        lifecycle=lifecycle,
        settings=ServiceSettings(config.limits, config.keep_alive, config.strict, check_streams),
        authenticator=authenticator,
        admission=Admission(config, authenticator, shares, RefusedKeys(ledger.audit.log_limited)),
        turns=Turns(store, NoBackground() if store is None else Background(store, ledger)),
        ledger=ledger,
        allowances=allowances,
        health=health,
        balancer=balancer,
        opened=Opened(options=options, clients=clients, shared=shared),
    )
    service = with_features(config, service, secrets)
    _use_features(service)
    return service


def with_features(config: Config, service: Service, secrets: SecretReader | None = None) -> Service:
    """Return ``service`` with the features and sources of credentials of ``config``, which continue those of
    ``service``. Changes nothing."""
    credentials: dict[str, CredentialSource] = {}
    if any(entry.sign_in is not None for entry in config.entries):
        credentials = import_named("gateway.sign_in.sources:sources_of")(config, service.credentials)
    ports = Ports(
        service.router, service.authenticator, service.allowances, service.ledger, service.upstream, service.health,
        service.lifecycle, service.admission.shares, service.balancer, service.turns.background, service.turns.store,
        service.opened.shared, secrets=secrets, clients=service.opened.clients,
        options=service.opened.options, is_reload=service.hooks is not NO_HOOKS,
        credentials=credentials,
    )  # fmt: skip
    features = open_features(config, ports, service.opened.features)
    hooks = combine(one.hooks for one in features.values())
    credentials.update(hooks.credentials)
    opened = attrs.evolve(service.opened, features=features)
    return attrs.evolve(service, opened=opened, hooks=hooks, credentials=credentials)


def _use_features(service: Service) -> None:
    """Let new exchanges be observed by the features of ``service``, and what outlives these use them."""
    observation_of(service.ledger).hooks = service.hooks.observe
    service.ledger.figures.reports = service.hooks.report
    for feature in service.opened.features.values():
        feature.use()


def prepare_service(config: Config, service: Service, secrets: SecretReader | None = None) -> Service:
    """Return the service for a new configuration of the same process. Changes nothing; ``use_service`` follows.

    Call it in a thread: hashing a provider's key takes 20 ms, importing the code of a step may take seconds. Raises
    ``ConfigError``."""
    router = Router(config)
    router.hash_keys()
    return service_of_clients(config, attrs.evolve(service, router=router), secrets)


def use_service(config: Config, service: Service, before: Service) -> Service:
    """Let the parts that ``service`` shares with ``before`` use ``config``. Return ``service`` with its other parts.

    Runs in the event loop."""
    use_clients(config, service, before)
    config = attrs.evolve(config, unlisted=service.authenticator.unlisted)
    service.upstream.set_limits(config.limits.upstream_connections, max_chunk(config))
    service.health.apply_config(config)
    settings = ServiceSettings(config.limits, config.keep_alive, config.strict, service.settings.check_streams)
    return attrs.evolve(service, settings=settings, replaced=Replaced())


def service_of_clients(config: Config, service: Service, secrets: SecretReader | None = None) -> Service:
    """Return the service for a configuration that differs only in its clients. Changes nothing, so a thread may call
    it; ``use_clients`` follows."""
    config = with_unlisted(config, service.opened.clients, service.authenticator.unlisted)
    authenticator = Authenticator(config, before=service.authenticator)
    admission = Admission(config, authenticator, service.admission.shares, service.admission.refused)
    made = attrs.evolve(
        service, authenticator=authenticator, admission=admission, allowances=service.allowances.next(config),
    )  # fmt: skip
    return with_features(config, made, secrets)


def use_clients(config: Config, service: Service, before: Service) -> None:
    """Let the parts that ``service`` shares with ``before`` use the clients of ``config``. Runs in the event loop."""
    config = attrs.evolve(config, unlisted=service.authenticator.unlisted)
    service.upstream.set_share(UpstreamShare(config, service.admission.shares))
    if service.turns.store is not None:
        service.turns.store.limit_owners(storage_limits(config))
    raise_new_budgets(config, service.allowances, before.allowances)
    _use_features(service)
