"""How much of a limit is used and reserved."""

from gateway.allowances.allowances import Allowances
from gateway.counters.counter import Level


def limit_level(allowances: Allowances, measure: str = "usd", holder: str = "") -> Level:
    """Return the level of the only limit, of ``measure`` and of ``holder`` unless they are empty."""
    limits = (one for one in allowances.list_all() if measure in ("", one.measure) and holder in ("", str(one.holder)))
    (counter,) = (one.counter(allowances.now(), None) for one in limits)
    assert counter is not None
    return allowances.counters.level(counter)
