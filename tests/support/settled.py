"""Collects the exchanges that the ledger settles during a test."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.ledger.record import Record
from streams.events import Usage
from tests.support.in_process import InProcess


class _Settled:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lines: list[Mapping[str, Any]] = []

    def note_start(self, record: Record) -> None:
        self.records.append(record)

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        self.lines.append(line)


@contextlib.contextmanager
def lines(served: InProcess) -> Iterator[list[Mapping[str, Any]]]:
    """Collect the ledger's lines of the exchanges in the block."""
    seen = _Settled()
    served.service.ledger.observers.append(seen)
    yield seen.lines
    served.service.ledger.observers.remove(seen)


@contextlib.contextmanager
def usages(served: InProcess) -> Iterator[list[Usage | None]]:
    """Collect the usage of the exchanges in the block, available after it."""
    found: list[Usage | None] = []
    seen = _Settled()
    served.service.ledger.observers.append(seen)
    yield found
    served.service.ledger.observers.remove(seen)
    found += [record.bill.usage for record in seen.records]
