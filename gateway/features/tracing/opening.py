"""Opens traces, if the configuration or the environment names a collector."""

from typing import TYPE_CHECKING

import trio

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.tracing.feature import TracingKeys, TracingSettings
from gateway.named_imports import import_named
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running

if TYPE_CHECKING:
    from gateway.features.tracing.tracing import Tracing


class RunningTracing(Running):
    """The traces of a process, with the groups of one configuration."""

    has_tasks = True

    def __init__(self, tracing: "Tracing", ports: Ports) -> None:
        self.tracing = tracing
        self.hooks = Hooks(observe=(tracing.observe,))
        self._group_of = ports.authenticator.find_group

    @property
    def lasting(self) -> object:
        return self.tracing

    def use(self) -> None:
        self.tracing.group_of = self._group_of

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await ending.wait()
        await self.tracing.aclose()


def open_tracing(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the traces of the process, which last as long as it; nothing if the SDK is missing."""
    if before is not None:
        return RunningTracing(before.tracing, ports) if isinstance(before, RunningTracing) else before
    settings, ledger = part_of(config, TracingKeys).tracing or TracingSettings(), ports.ledger

    def count_dropped(count: int) -> None:
        ledger.figures.add("trigate_spans_dropped_total", by=count)

    try:
        tracing = import_named("gateway.features.tracing.tracing:Tracing")(settings, count_dropped, ledger.mask)
    except ImportError:  # the configuration's warnings report it
        return Running()
    return RunningTracing(tracing, ports)
