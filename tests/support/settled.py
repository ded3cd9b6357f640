"""What the ledger settles while a test looks on."""

import contextlib
from collections.abc import Iterator

from gateway.ledger.record import Record
from streams.events import Usage
from tests.support.in_process import InProcess


class _Settled:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def opened(self, record: Record) -> None:
        self.records.append(record)

    def settled(self, *_: object) -> None:
        return


@contextlib.contextmanager
def usages(served: InProcess) -> Iterator[list[Usage | None]]:
    """What the exchanges of the block have taken, once it is over."""
    found: list[Usage | None] = []
    seen = _Settled()
    served.service.ledger.observers.append(seen)
    yield found
    served.service.ledger.observers.remove(seen)
    found += [record.usage for record in seen.records]
