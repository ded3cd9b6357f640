"""The process's task that queries providers about answers in the background. ``provider_runs`` does the work, and is
imported only for a configuration whose providers may have such answers."""

from gateway.exchange.service import Service
from gateway.http.late_imports import load_module
from providers.apis import CODECS


def has_provider_runs(service: Service) -> bool:
    """Return whether providers may continue answers in the background whose ends the gateway bills."""
    if service.inventory is None:
        return False
    return any(codec.wire.running and service.router.storing_targets(api) for api, codec in CODECS.items())


async def query_provider_runs(service: Service) -> None:
    """Query the providers of answers in the background, until another configuration replaces this one."""
    await (await load_module("gateway.exchange.provider_runs")).query_runs(service)
