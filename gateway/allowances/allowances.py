"""All allowances of one configuration, and the parts that outlive a configuration."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final

from gateway.allowances.allowance import EVERYBODY, Allowance, Holder
from gateway.allowances.budgets import (
    BatchReserves,
    BudgetAllowance,
    BudgetAmounts,
    FindAmount,
    HolderKey,
    budget_allowances,
    is_paid_from,
)
from gateway.allowances.expected import ExpectedOutputs
from gateway.allowances.levels import Refusals
from gateway.allowances.queue import Queueing, Queues
from gateway.allowances.rates import RootLimits, rate_allowances
from gateway.allowances.room import Room
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config, Reserve
from gateway.counters.counter import Counters
from gateway.counters.memory import LocalCounters
from gateway.routing.target import Target

_SHARED: Final = ("client_groups", "timezone", "ratelimits", "budgets")
"""The parts of a configuration on which the allowances of all clients depend."""


class Allowances:
    """The allowances of one configuration, counted in ``counters``, which outlive it.

    ``now`` returns Unix time, by default that of the counters; periods begin by it."""

    def __init__(
        self,
        config: Config | None = None,
        counters: Counters | None = None,
        room: Room | None = None,
        now: Callable[[], float] | None = None,
        refusals: Refusals | None = None,
        outputs: ExpectedOutputs | None = None,
        queues: Queueing | None = None,
        batch_reserves: BatchReserves | None = None,
        amounts: BudgetAmounts | None = None,
        before: "Allowances | None" = None,
    ) -> None:
        self._config = config = Config() if config is None else config
        self._all: tuple[Allowance, ...] | None = None
        self._of_groups: Mapping[str, tuple[Allowance, ...]]
        self.batch_reserves = BatchReserves() if batch_reserves is None else batch_reserves
        self.amounts = amounts
        self.refusals = Refusals() if refusals is None else refusals
        self.counters = LocalCounters() if counters is None else counters
        self.room = Room(self.counters) if room is None else room
        self.queues: Queueing = Queues(self.counters) if queues is None else queues
        self.now = self.counters.now if now is None else now
        self.charges_undelivered = config.charge_undelivered
        self.reserve: Reserve = config.reserve
        self.outputs = ExpectedOutputs() if outputs is None else outputs
        self.refuses_unpriced = config.unpriced == "refuse"
        zone = config.timezone
        self._everybody = allowances_of(EVERYBODY, config, zone, self.batch_reserves)
        of_groups = {
            group.name: self.of_settings(Holder("client_groups", group.name), group) for group in config.client_groups
        }
        known: dict[str, tuple[ClientKey, tuple[Allowance, ...] | None]] = {}
        if before is not None and before._is_like(config):
            self._everybody, known = before._everybody, before._known_clients()
            of_groups = dict(before._of_groups)
        self._of_groups = of_groups

        def make(key: ClientKey) -> tuple[Allowance, ...] | None:
            if (found_before := known.get(key.name)) is not None and found_before[0] is key:
                return found_before[1]
            own = self.of_settings(Holder("client_keys", key.name, is_unlisted=key.source == "rule"), key)
            found = own if key.group is None else (*own, *of_groups[key.group.name])
            return (*found, *self._everybody) if found else None

        self._clients: Mapping[str, tuple[Allowance, ...]] = config.by_client(make, is_own=True)
        known.clear()  # the table keeps the function for unlisted clients
        self._rules = tuple(one for key in config.rule_clients for one in make(key) or ())
        of_entries = (
            (entry.name, allowances_of(Holder("model_providers", entry.name), entry, zone, self.batch_reserves))
            for entry in config.entries
        )
        self._entries: Mapping[str, tuple[Allowance, ...]] = {name: found for name, found in of_entries if found}
        self.by_header = RootLimits(config.header_limits)
        of_clients = self._clients or self._rules
        self.has_limits: Final = bool(self._everybody or of_clients or self._entries or self.by_header)
        """True if any limit is configured."""
        groups = (self._everybody, *self._clients.values(), self._rules, *self._entries.values())
        self.batch_reserves.is_wanted = any(isinstance(one, BudgetAllowance) for found in groups for one in found)

    def of_settings(self, holder: Holder, settings: ClientKey | ClientGroup) -> tuple[Allowance, ...]:
        """Return the allowances that the ``settings`` of ``holder`` alone set."""
        amounts = self.amounts
        amount_of = None if amounts is None else partial(amounts.amount_of, holder, settings)
        return allowances_of(holder, settings, self._config.timezone, self.batch_reserves, amount_of)

    def of_client(self, client: str | None) -> tuple[Allowance, ...]:
        """Return the allowances for a request of ``client``: its own, its group's, then those at the root.

        The root's allowances also apply to requests without a key."""
        return self._everybody if client is None else self._clients.get(client, self._everybody)

    def visible_to(self, client: str | None) -> tuple[Allowance, ...]:
        """Return the allowances whose level ``client`` may see.

        If clients have keys, those at the root are left out, because they reveal the spending of others."""
        return tuple(one for one in self.of_client(client) if client is None or one.holder != EVERYBODY)

    def of_target(self, target: Target) -> tuple[Allowance, ...]:
        return self._entries.get(target.entry.name, ())

    def payers(self, client: str | None, target: Target) -> tuple[HolderKey, ...]:
        """Return the holders whose budgets pay for work that outlives its request; budgets for runs do not."""
        found = (*self.of_client(client), *self.of_target(target))
        budgets = (one for one in found if isinstance(one, BudgetAllowance) and one.budget.period != "run")
        return tuple(dict.fromkeys((one.holder.kind, one.holder.name) for one in budgets))

    def is_exhausted(self, client: str | None, target: Target) -> bool:
        """Return whether nothing is left of a budget that pays for requests of ``client`` to ``target``, as far as this
        process knows."""
        at = self.now()
        counters = (
            one.counter(at, None)
            for one in (*self.of_client(client), *self.of_target(target))
            if is_paid_from(one, target)
        )
        return any(one is not None and self.counters.level(one).used >= one.most for one in counters)

    def has_budget(self, client: str | None, entries: Iterable[ModelEntry]) -> bool:
        own = (self.of_client(client), *(self._entries.get(entry.name, ()) for entry in entries))
        return any(isinstance(one, BudgetAllowance) for found in own for one in found)

    def list_all(self) -> tuple[Allowance, ...]:
        """Return every allowance once, except those of unlisted clients, which may be many."""
        if self._all is None:
            self._all = self._collect_all()
        return self._all

    def _collect_all(self) -> tuple[Allowance, ...]:
        groups = tuple(one for one in self._rules if one.holder.kind == "client_groups")
        found = (
            self._everybody,
            *self._clients.values(),
            groups,
            *self._entries.values(),
            self.by_header.fixed_allowances,
        )
        once = {id(one): one for group in found for one in group}.values()  # a group's are those of many clients
        named = {(one.holder.kind, one.holder.name, one.measure, one.text): one for one in once}
        return tuple(named.values())

    @property
    def of_rules(self) -> tuple[BudgetAllowance, ...]:
        """The budgets that rules set for each client; their holder has a pattern as name, such as ``okta:*``."""
        own = (one for one in self._rules if one.holder.kind == "client_keys")
        return tuple(one for one in own if isinstance(one, BudgetAllowance))

    def next(self, config: Config) -> "Allowances":
        """Return the allowances of another configuration of the same process."""
        return Allowances(
            config, self.counters, self.room, self.now, self.refusals, self.outputs, self.queues, self.batch_reserves,
            self.amounts, self,
        )  # fmt: skip

    def _is_like(self, config: Config) -> bool:
        """Return whether the allowances of unchanged clients also apply under ``config``."""
        return all(getattr(config, name) is getattr(self._config, name) for name in _SHARED)

    def _known_clients(self) -> dict[str, tuple[ClientKey, tuple[Allowance, ...] | None]]:
        """Return each client with its allowances, by name."""
        return {key.name: (key, self._clients.get(key.name)) for key in self._config.client_keys}


def allowances_of(
    holder: Holder,
    settings: Config | ClientKey | ClientGroup | ModelEntry,
    zone: str,
    batch_reserves: BatchReserves,
    amount_of: FindAmount | None = None,
) -> tuple[Allowance, ...]:
    """Return the allowances that the file sets for ``holder``, less the sums set aside for batches.

    ``amount_of`` returns the present amounts of budgets that change."""
    return (
        *rate_allowances(holder, settings.ratelimits),
        *budget_allowances(holder, settings.budgets, zone, batch_reserves, amount_of),
    )
