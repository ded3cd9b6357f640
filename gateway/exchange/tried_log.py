"""The attempts of one exchange, as its record tells of them."""

from gateway.ledger.bill import Tried
from gateway.ledger.record import Record


class TriedLog:
    """Writes the attempts of an exchange on its ``record``, in the order in which they ended."""

    def __init__(self, record: Record) -> None:
        self.places: set[str] = set()
        """The targets that were tried."""
        self._record = record
        self._tried: tuple[Tried, ...] = ()

    def sent(self) -> None:
        """Count a request that goes to a provider."""
        self._record.attempts += 1

    def add(self, tried: Tried, instead: Tried | None = None) -> None:
        """Add ``tried``, ``instead`` of what was told of the same attempt before."""
        before = self._tried if instead is None else tuple(one for one in self._tried if one is not instead)
        self._tried = self._record.bill.tried = (*before, tried)
        self.places.add(tried.target)
