"""Opens the live view of a configuration, and runs what answers other workers."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from configfile.keys import part_of
from gateway.config.loading import Config
from gateway.features.live_view.feature import LiveViewKeys
from gateway.features.live_view.live import LiveView
from gateway.features.live_view.pages.routes import GUARDED, live_view_routes
from gateway.named_imports import import_named
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running

if TYPE_CHECKING:
    from gateway.features.live_view.pages.workers import OtherWorkers


class RunningLiveView(Running):
    """The live view of a process with the settings of one configuration.

    ``others`` are the other workers, ``None`` in a single process."""

    def __init__(self, config: Config, ports: Ports, live_view: LiveView, others: "OtherWorkers | None") -> None:
        self.live_view = live_view
        self.others = others
        self.has_tasks = others is not None
        self.hooks = Hooks(observe=(live_view.observe,), routes=(partial(live_view_routes, config),), guarded=GUARDED)
        self.ports = ports
        self._config = config

    @property
    def lasting(self) -> object:
        return self.live_view

    def use(self) -> None:
        """Keep no texts if the configuration shows none."""
        keys = part_of(self._config, LiveViewKeys)
        shows = keys.answers != "none"
        self.live_view.keep(keys.ui_keep and shows, keys.ui_prompts and shows)
        self.live_view.ports = self.ports

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            if self.others is not None:
                nursery.start_soon(self.others.answer, self.live_view)
            task_status.started()
            await ending.wait()
            nursery.cancel_scope.cancel()


def open_live_view(config: Config, ports: Ports, before: Running | None) -> RunningLiveView:
    """Return the live view of ``before``, else a new one."""
    live_view = before.live_view if isinstance(before, RunningLiveView) else LiveView()
    directory, others = ports.options.get("workers"), None
    if isinstance(directory, Path):
        others = import_named("gateway.features.live_view.pages.workers:OtherWorkers")(directory)
    return RunningLiveView(config, ports, live_view, others)
