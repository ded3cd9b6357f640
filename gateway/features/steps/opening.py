"""Opens the steps of a configuration, as checks of requests and responses."""

from typing import Any, Final

import trio

from configfile.document import ConfigError
from gateway.config.settings import Config
from gateway.features.steps.advice import consequences
from gateway.features.steps.conversations import begin_checks, check_items, check_turns
from gateway.features.steps.loaded import StepSet
from gateway.features.steps.loading import load_steps
from gateway.features.steps.observers import ObserverQueues
from gateway.features.steps.sessions import OpenedSteps, admit_endpoint, admit_kept
from gateway.features.steps.settings import steps_of
from gateway.http.late_imports import load_module
from gateway.seams.hooks import Hooks
from gateway.seams.observed_texts import TextRoom
from gateway.seams.running import Ports, Running

_RELAYED: Final = "gateway.features.steps.relayed_requests"
_BATCHES: Final = "gateway.features.steps.batch_lines"


def _late(module: str, name: str) -> Any:
    """Return a method that calls the function ``name`` of ``module``, which it imports."""

    async def call(_: Any, *arguments: Any) -> Any:
        return await getattr(await load_module(module), name)(*arguments)

    return call


class StepChecks:
    """The checks of requests that are no conversations: ``RequestChecks``. Few gateways serve them all, so their code
    is imported with the first request."""

    check_json = _late(_RELAYED, "check_json")
    check_form = _late(_RELAYED, "check_form")
    batch_checks = _late(_BATCHES, "batch_checks")
    admit_kept = staticmethod(admit_kept)
    check_items = staticmethod(check_items)

    async def admit_endpoint(self, context: Any, endpoint: str, route: tuple[str, str] = ("", "")) -> None:
        admit_endpoint(context, endpoint, route)


class OpenSteps(OpenedSteps):
    """The steps of one configuration, whose resources are open until the last request that uses them."""

    has_tasks = True

    def __init__(self, config: Config, ports: Ports, steps: StepSet, queues: ObserverQueues | None) -> None:
        self.settings = steps_of(config)
        self.steps = steps
        self.queues = queues
        self.hooks = Hooks(
            before_turns=(begin_checks,),
            after_turns=(check_turns,),
            request_checks=(StepChecks(),),
            observe=() if queues is None else (queues.observe,),
        )
        self.remarks = tuple(consequences(config, steps))
        self._store = ports.store
        self._is_reload = ports.is_reload
        self._group_of = ports.authenticator.find_group

    @property
    def lasting(self) -> object:
        return self.steps

    @property
    def start_error(self) -> ConfigError | None:
        return self.steps.failed

    def use(self) -> None:
        self.steps.begin()  # before those of the configuration before end
        if self.queues is not None:
            self.queues.use(self._group_of)

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Open the resources, and close them after ``ending``. Raises ``ConfigError`` if one fails at the start."""
        steps, queues = self.steps, self.queues
        try:
            async with trio.open_nursery() as nursery:
                if queues is not None:
                    nursery.start_soon(queues.run)
                if self._is_reload:
                    task_status.started()  # a step without its resource checks nothing meanwhile
                await steps.open(nursery, self._store, is_reload=self._is_reload)
                if not self._is_reload:
                    task_status.started()
                await ending.wait()
                await steps.finish()
                if queues is not None:
                    queues.close()
        except BaseExceptionGroup:
            if steps.failed is not None:
                raise steps.failed from None
            raise


def open_steps(config: Config, ports: Ports, before: Running | None) -> OpenSteps:
    """Return the steps of ``config``, with the state of unchanged ones of ``before``. Raises ``ConfigError``."""
    known = before if isinstance(before, OpenSteps) else None
    if known is not None and known.settings is steps_of(config):  # only clients have changed
        return OpenSteps(config, ports, known.steps, known.queues)
    steps = load_steps(config, None if known is None else known.steps)
    if not any(step.is_observer for step in steps.steps):
        return OpenSteps(config, ports, steps, None)
    room = TextRoom() if known is None or known.queues is None else known.queues.room
    queues = ObserverQueues(steps, ports.ledger.figures, ports.ledger.finishers, room)
    return OpenSteps(config, ports, steps, queues)
