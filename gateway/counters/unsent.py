"""Amounts and claims of this process that the shared store does not know yet."""

import attrs

from gateway.counters.counter import MOST_TOTAL, Claim, Counter, SumCounter


@attrs.define(eq=False, repr=False)
class UnsentCounts:
    """Amounts and claims for the next step.

    ``added`` are used amounts and ``raised`` the least values of sums, both by the keys of their counters. ``held`` are
    the claims that the store does not know, by name. ``ended`` are the names of claims that are no longer held: true if
    not even their rates were used."""

    added: dict[bytes, tuple[Counter, int]] = attrs.field(factory=dict)
    raised: dict[bytes, tuple[SumCounter, int]] = attrs.field(factory=dict)
    held: dict[str, Claim] = attrs.field(factory=dict)
    ended: dict[str, bool] = attrs.field(factory=dict)

    def __bool__(self) -> bool:
        return bool(self.added or self.raised or self.held or self.ended)

    def add(self, counter: Counter, amount: int) -> None:
        if amount:
            total = max(-MOST_TOTAL, min(self.added_amount(counter) + amount, MOST_TOTAL))
            self.added[counter.key] = counter, total

    def added_amount(self, counter: Counter) -> int:
        return self.added.get(counter.key, (counter, 0))[1]

    def raise_to(self, counter: SumCounter, least: int) -> None:
        _, before = self.raised.get(counter.key, (counter, 0))
        self.raised[counter.key] = counter, max(before, least)

    def end(self, name: str, *, refund: bool) -> None:
        """End the claim ``name``; with ``refund``, not even its rates were used."""
        if self.held.pop(name, None) is None:
            self.ended[name] = refund

    def take_sums(self) -> list[tuple[SumCounter, int]]:
        """Remove and return the used amounts of sums."""
        sums = [(counter, amount) for counter, amount in self.added.values() if isinstance(counter, SumCounter)]
        for counter, _ in sums:
            del self.added[counter.key]
        return sums
