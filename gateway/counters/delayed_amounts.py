"""Used amounts whose addition to a store is delayed, because other processes may still raise the same sums."""

from collections.abc import Sequence

from gateway.counters.counter import Claim, Counter, Debit


class DelayedAmounts:
    """Used amounts that the store reserves before they are added, in ``claims`` by name.

    ``unseen`` has the counters with amounts that no known state of them includes, by key, each with this amount."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}
        self.unseen: dict[bytes, tuple[Counter, int]] = {}
        self._amounts: dict[bytes, int] = {}

    def __bool__(self) -> bool:
        return bool(self.claims)

    def add(self, claim: Claim) -> None:
        self.claims[claim.id] = claim
        for debit in claim.debits:
            key = debit.counter.key
            self._amounts[key] = self.amount(key) + debit.amount
            self._set_unseen(debit.counter, self._unseen_amount(key) + debit.amount)

    def end(self, claim: Claim) -> Sequence[Debit]:
        """Remove ``claim``, and return the amounts that the known states of their counters include as reserved."""
        del self.claims[claim.id]
        seen: list[Debit] = []
        for debit in claim.debits:
            key = debit.counter.key
            if rest := self.amount(key) - debit.amount:
                self._amounts[key] = rest
            else:
                del self._amounts[key]
            unseen = min(self._unseen_amount(key), debit.amount)
            self._set_unseen(debit.counter, self._unseen_amount(key) - unseen)
            seen.append(Debit(debit.counter, debit.amount - unseen))
        return seen

    def see(self, key: bytes) -> None:
        """Record that the known state of a counter includes its amounts, as it does after each reply about it."""
        self.unseen.pop(key, None)

    def amount(self, key: bytes) -> int:
        """Return the delayed amount of a counter."""
        return self._amounts.get(key, 0)

    def _unseen_amount(self, key: bytes) -> int:
        found = self.unseen.get(key)
        return 0 if found is None else found[1]

    def _set_unseen(self, counter: Counter, amount: int) -> None:
        if amount:
            self.unseen[counter.key] = counter, amount
        else:
            self.unseen.pop(counter.key, None)
