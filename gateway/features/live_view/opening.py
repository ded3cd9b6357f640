"""Opens the live view of a configuration, and runs what answers other workers and gateways."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from configfile.keys import part_of
from gateway.access.shares import SharedThing, ShareLimit, Shares, half_for_each
from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
from gateway.features.live_view.feature import LiveViewKeys, ViewerKeys
from gateway.features.live_view.live import LiveView
from gateway.features.live_view.routes import GUARDED, live_view_routes
from gateway.named_imports import import_named
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running, running_tasks

if TYPE_CHECKING:
    from gateway.features.live_view.gateways import Gateways
    from gateway.features.live_view.pages.workers import OtherViews


MOST_VIEWERS: Final = 16
"""Viewers in a process; a page counts once, and once more for its stream."""

KEPT_FOR_OPERATOR: Final = 2
"""Viewers reserved for the operator."""

VIEWERS: Final = SharedThing(
    "viewers",
    "viewers of the live view",
    lambda limits: part_of(limits, ViewerKeys).viewers,
    f"the live view has {MOST_VIEWERS} viewers, the maximum: close another page",
)


def limit_viewers(config: Config, shares: Shares) -> ShareLimit:
    """Return the limit on viewers. The operator counts as ``NOBODY``."""
    reserved = 0 if config.ui_key is None else KEPT_FOR_OPERATOR
    return ShareLimit(VIEWERS, config, shares, half_for_each(config, MOST_VIEWERS), MOST_VIEWERS, reserved)


class RunningLiveView(Running):
    """The live view of a process with the settings of one configuration, and its limit on ``viewers``.

    ``others`` are the other workers, ``None`` in a single process. ``gateways`` are those with the same state storage,
    ``None`` if it is memory."""

    def __init__(
        self,
        config: Config,
        ports: Ports,
        live_view: LiveView,
        others: "OtherViews | None",
        gateways: "Gateways | None",
    ) -> None:
        self.live_view = live_view
        self.others = others
        self.gateways = gateways
        self.has_tasks = others is not None or gateways is not None
        self.hooks = Hooks(observe=(live_view.observe,), routes=(partial(live_view_routes, config),), guarded=GUARDED)
        self.ports = ports
        self.viewers = limit_viewers(config, ports.shares)
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
        if self.gateways is not None:
            self.live_view.gateway_for = self.gateways.label
            self.gateways.is_guarded = self._config.asks_for_key or self._config.ui_key is not None

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        own = [self.others.answer] if self.others is not None else []
        own += [self.gateways.run] if self.gateways is not None else []
        async with running_tasks(*(partial(run, self.live_view) for run in own)):
            task_status.started()
            await ending.wait()


def open_live_view(config: Config, ports: Ports, before: Running | None) -> RunningLiveView:
    """Return the live view of ``before``, else a new one."""
    if isinstance(before, RunningLiveView):
        return RunningLiveView(config, ports, before.live_view, before.others, before.gateways)
    directory, others, gateways = ports.options.get("workers"), None, None
    folder = directory if isinstance(directory, Path) else None
    if folder is not None:
        others = import_named("gateway.features.live_view.pages.workers:OtherViews")(folder)
    storage, database = config.state_storage, ports.database
    if storage is not None and storage.type in KEEPING_KEYS and database is not None:
        opening = import_named("gateway.features.live_view.gateways:Gateways")
        gateways = opening(database, folder, ports.options.get("port"))
    return RunningLiveView(config, ports, LiveView(), others, gateways)
