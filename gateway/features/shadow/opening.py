"""Opens the shadow traffic of a configuration."""

import random
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from gateway.allowances.allowances import Allowances
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.exchange.target_request import TargetRequest
from gateway.features.shadow.feature import client_of, shadows_of
from gateway.features.shadow.sampling import Sample
from gateway.features.shadow.sending import Sending
from gateway.health.health import Health
from gateway.request.prepare import prepare
from gateway.routing.plan import is_inside
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running
from gateway.upstream.client import Upstream

if TYPE_CHECKING:
    from gateway.exchange.service import Service


class Mirror:
    """Samples the requests of ``config`` for ``sending``, which sends them over ``upstream``.

    Their exchanges do not concern clients: they have other limits, connections and states of targets, and no feature
    takes part but those that edit what providers receive."""

    def __init__(self, config: Config, allowances: Allowances, sending: Sending, upstream: Upstream) -> None:
        self._shadows = shadows_of(config)
        payers = tuple(ClientKey(client_of(name), budgets=one.budgets) for name, one in self._shadows.items())
        own = Config(client_keys=payers, timezone=config.timezone, reserve=config.reserve, charge_undelivered=True)
        self._allowances = Allowances(own, allowances.counters, outputs=allowances.outputs)
        self._sending = sending
        self._upstream = upstream
        self._service: Service | None = None

    def observe_attempt(self, target_request: TargetRequest, nursery: trio.Nursery) -> None:
        """Sample the request of an exchange with its first attempt."""
        request, context = target_request.request, target_request.context
        name = "" if request.plan.route is None else request.plan.route.name
        shadow = self._shadows.get(name)
        if shadow is None or context.attempt_log.requests or random.random() >= shadow.share:
            return
        if self._service is None:
            self._service = attrs.evolve(
                context.service, allowances=self._allowances, upstream=self._upstream, health=Health(),
                hooks=Hooks(edit_sent=context.service.hooks.edit_sent),
            )  # fmt: skip
        target = self._service.router.resolve(shadow.target, context.codec.api)
        wall = context.service.authenticator.wall(context.client_request.client)
        if not is_inside(target, wall) or request.prepare_from is not prepare:
            return  # the client may not be served there, or chooses its targets itself
        sample = Sample(name, target, context, self._sending.room, partial(self._sending.submit, self._service))
        sample.note_resolved(request.incoming)
        context.observers.join(sample)
        if context.checks is None:
            sample.planned = request
        else:
            nursery.start_soon(sample.check, request)


class OpenShadows(Running):
    """The shadow traffic of a configuration. ``lasting`` outlives it."""

    has_tasks = True

    def __init__(self, config: Config, ports: Ports, sending: Sending, upstream: Upstream) -> None:
        self.sending = sending
        self.upstream = upstream
        mirror = Mirror(config, ports.allowances, sending, upstream)
        self.hooks = Hooks(observe_attempts=(mirror.observe_attempt,))

    @property
    def lasting(self) -> Sending:
        return self.sending

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        async with self.upstream:
            await self.sending.run(ending)


def open_shadows(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the shadow traffic of ``config``, which continues that of ``before``."""
    if isinstance(before, OpenShadows):
        return OpenShadows(config, ports, before.sending, before.upstream)
    upstream = Upstream(ca_path=None if config.ca_path is None else str(config.ca_path))
    return OpenShadows(config, ports, Sending(ports.ledger.figures), upstream)
