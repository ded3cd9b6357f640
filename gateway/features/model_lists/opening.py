"""Opens the lists of models: their paths, and the lists of providers."""

from collections.abc import Iterator
from functools import partial
from typing import Final

import trio

from configfile.keys import value_of
from gateway.config.settings import Config
from gateway.exchange.service import Service
from gateway.features.model_lists.lists import ProviderLists
from gateway.relay.compatible import GROUP_INFO, MODEL_INFO
from gateway.seams.hooks import Hooks
from gateway.seams.route import HttpRoute
from gateway.seams.running import Ports, Running, running_tasks
from gateway.serving.late_views import LateViews

PATHS: Final = (
    ("/v1/models", "list_models"), ("/v1/models/{model}", "show_model"),
    ("/v1beta/models", "list_models"), ("/v1beta/models/{model}", "show_model"),
    ("/v1/audio/voices", "voices"), ("/v1/audio/models", "speech_models"),
)  # fmt: skip
"""Each path with its view."""


def _routes_of(lists: ProviderLists, config: Config, service: Service) -> Iterator[HttpRoute]:
    views = LateViews(("gateway.features.model_lists.views",), "model_views", (service, lists))
    for path, name in PATHS:
        yield HttpRoute(path, views.view(name), for_programs=True)
    if "litellm" in value_of(config, "compatibility", ()):
        yield HttpRoute(MODEL_INFO, views.view("litellm_models"), for_programs=True)
        yield HttpRoute(GROUP_INFO, views.view("litellm_groups"))


class ModelLists(Running):
    """The lists of a configuration. Providers' lists outlive it."""

    has_tasks = True

    def __init__(self, lists: ProviderLists, config: Config, ports: Ports) -> None:
        self.lists = lists
        self.hooks = Hooks(routes=(partial(_routes_of, lists, config),))
        self._config = config
        self._ports = ports

    @property
    def lasting(self) -> ProviderLists:
        return self.lists

    def use(self) -> None:
        self.lists.follow(self._config, self._ports.credentials)

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        async with running_tasks(partial(self.lists.run, self._ports.upstream)):
            task_status.started()
            await ending.wait()


def open_model_lists(config: Config, ports: Ports, before: Running | None) -> ModelLists:
    """Return the lists of ``config``, with those of providers from ``before``."""
    return ModelLists(before.lists if isinstance(before, ModelLists) else ProviderLists(), config, ports)
