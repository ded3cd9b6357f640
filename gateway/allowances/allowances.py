"""All allowances of one configuration: which of them a request meets, and the parts that outlive a configuration."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import trio

from gateway.allowances.allowance import EVERYBODY, Allowance, Holder
from gateway.allowances.budgets import BudgetAllowance, HolderKey, SetAside, budget_allowances
from gateway.allowances.expected import ExpectedOutputs
from gateway.allowances.queue import Queueing, Queues
from gateway.allowances.rates import rate_allowances, root_allowances
from gateway.allowances.standing import Refusals
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config, Reserve
from gateway.counters.counter import Claim, Counters
from gateway.counters.memory import LocalCounters
from gateway.routing.target import Target

POLL: Final = 0.25
"""Seconds after which whoever waits for room looks again: other processes make some, too."""


class Room:
    """Lets requests wait for others of this process that end, and so make room."""

    def __init__(self, counters: Counters) -> None:
        self._waiting = trio.lowlevel.ParkingLot()
        counters.on_settled(self._wake)

    def _wake(self, claim: Claim) -> None:
        self._waiting.unpark_all()

    async def wait(self, until: float) -> bool:
        """Wait until there may be room, or until a moment of trio's clock: false if that has passed."""
        if trio.current_time() >= until:
            return False
        with trio.move_on_at(min(until, trio.current_time() + POLL)):
            await self._waiting.park()
        return True


class Allowances:
    """The allowances of one configuration, counted in ``counters``, which outlive it.

    ``now`` is the time as Unix has it, by which periods begin."""

    def __init__(
        self,
        config: Config | None = None,
        counters: Counters | None = None,
        room: Room | None = None,
        now: Callable[[], float] = time.time,
        refusals: Refusals | None = None,
        outputs: ExpectedOutputs | None = None,
        queues: Queueing | None = None,
        aside: SetAside | None = None,
    ) -> None:
        self.aside = SetAside() if aside is None else aside
        self.refusals = Refusals() if refusals is None else refusals
        self.counters = LocalCounters() if counters is None else counters
        self.room = Room(self.counters) if room is None else room
        self.queues: Queueing = Queues(self.counters) if queues is None else queues
        self.now = now
        self.charges_undelivered = config is None or config.charge_undelivered
        self.reserve: Reserve = "expected" if config is None else config.reserve
        self.outputs = ExpectedOutputs() if outputs is None else outputs
        self.refuses_unpriced = config is None or config.unpriced == "refuse"
        keys: Iterable[ClientKey] = () if config is None else config.client_keys
        entries: Iterable[ModelEntry] = () if config is None else config.entries
        zone = "UTC" if config is None else config.timezone
        self._everybody = () if config is None else allowances_of(EVERYBODY, config, zone, self.aside)
        self._clients: Mapping[str, tuple[Allowance, ...]] = {
            key.name: (*found, *self._everybody) for key in keys if (found := _of_key(key, zone, self.aside))
        }
        self._entries: Mapping[str, tuple[Allowance, ...]] = {
            entry.name: found for entry in entries if (found := _of_entry(entry, zone, self.aside))
        }
        self.by_header = root_allowances(config)
        self.any: Final = bool(self._everybody or self._clients or self._entries or self.by_header)
        """Whether anybody is limited at all."""
        self.aside.is_wanted = any(isinstance(one, BudgetAllowance) for one in self.all())

    def of_client(self, client: str | None) -> tuple[Allowance, ...]:
        """Return those of a request of ``client``: its own, its group's, then those of the root, which apply also where
        it has no key."""
        return self._everybody if client is None else self._clients.get(client, self._everybody)

    def seen_by(self, client: str | None) -> tuple[Allowance, ...]:
        """Return those whose level ``client`` may see: all that apply to it, without those of the root where clients
        have keys, because they show what the others spend."""
        return tuple(one for one in self.of_client(client) if client is None or one.holder != EVERYBODY)

    def of_target(self, target: Target) -> tuple[Allowance, ...]:
        """Those of a target's entry."""
        return self._entries.get(target.entry.name, ())

    def payers(self, client: str | None, target: Target) -> tuple[HolderKey, ...]:
        """Whose budgets pay for work that outlives its request; none of those are for runs."""
        found = (*self.of_client(client), *self.of_target(target))
        budgets = (one for one in found if isinstance(one, BudgetAllowance) and one.budget.period != "run")
        return tuple(dict.fromkeys((one.holder.kind, one.holder.name) for one in budgets))

    def has_budget(self, client: str | None, entries: Iterable[ModelEntry]) -> bool:
        """Whether there are budgets of the client's, or of one of ``entries``."""
        own = (self.of_client(client), *(self._entries.get(entry.name, ()) for entry in entries))
        return any(isinstance(one, BudgetAllowance) for found in own for one in found)

    def all(self) -> tuple[Allowance, ...]:
        """Every one, each once."""
        found = (self._everybody, *self._clients.values(), *self._entries.values(), self.by_header.fixed)
        return tuple({(one.holder, one.measure, one.text): one for group in found for one in group}.values())

    def next(self, config: Config) -> "Allowances":
        """Those of another configuration of the same process."""
        return Allowances(
            config, self.counters, self.room, self.now, self.refusals, self.outputs, self.queues, self.aside
        )


def _of_key(key: ClientKey, zone: str, aside: SetAside) -> tuple[Allowance, ...]:
    own = allowances_of(Holder("client_keys", key.name), key, zone, aside)
    group = () if key.group is None else allowances_of(Holder("client_groups", key.group.name), key.group, zone, aside)
    return (*own, *group)


def _of_entry(entry: ModelEntry, zone: str, aside: SetAside) -> tuple[Allowance, ...]:
    return allowances_of(Holder("model_providers", entry.name), entry, zone, aside)


def allowances_of(
    holder: Holder, settings: Config | ClientKey | ClientGroup | ModelEntry, zone: str, aside: SetAside
) -> tuple[Allowance, ...]:
    """What the file gives to ``holder``, less what is set ``aside``; ``zone`` is the one in which periods begin."""
    return (*rate_allowances(holder, settings.ratelimits), *budget_allowances(holder, settings.budgets, zone, aside))
