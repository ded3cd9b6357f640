"""Observers of a test, which stay when the gateway uses another configuration."""

from gateway.ledger.ledger import Ledger
from gateway.ledger.record import ArrivedRequest, Record
from gateway.seams.observe import Observe
from gateway.seams.observers import Observation, Observers, observation_of


class _AlsoObserved(Observation):
    def __init__(self, before: Observation) -> None:
        super().__init__()
        self.hooks = before.hooks
        self.also: list[Observe] = []

    def __call__(self, record: Record, arrival: ArrivedRequest | None = None) -> Observers:
        observers = super().__call__(record, arrival)
        for observe in self.also:
            if (observer := observe(record, arrival)) is not None:
                observers.join(observer)
        return observers


def also_observe(ledger: Ledger, observe: Observe) -> None:
    """Let ``observe`` observe the next exchanges of ``ledger``, too."""
    if not isinstance(ledger.observe, _AlsoObserved):
        ledger.observe = _AlsoObserved(observation_of(ledger))
    ledger.observe.also.append(observe)


def unobserve(ledger: Ledger, observe: Observe) -> None:
    """Let ``observe`` observe no more exchanges."""
    assert isinstance(ledger.observe, _AlsoObserved)
    ledger.observe.also.remove(observe)
