"""Collects the exchanges that the ledger settles during a test."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.ledger.record import ArrivedRequest, Record
from gateway.seams.observe import ExchangeObserver
from streams.events import Usage
from tests.support.also_observed import also_observe, unobserve
from tests.support.in_process import InProcess


class _Settled(ExchangeObserver):
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.lines: list[Mapping[str, Any]] = []

    def observe(self, record: Record, arrival: ArrivedRequest | None) -> "_Settled":
        self.records.append(record)
        return self

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        self.lines.append(line)


@contextlib.contextmanager
def lines(served: InProcess) -> Iterator[list[Mapping[str, Any]]]:
    """Collect the ledger's lines of the exchanges in the block."""
    seen = _Settled()
    also_observe(served.service.ledger, seen.observe)
    yield seen.lines
    unobserve(served.service.ledger, seen.observe)


@contextlib.contextmanager
def usages(served: InProcess) -> Iterator[list[Usage | None]]:
    """Collect the usage of the exchanges in the block, available after it."""
    found: list[Usage | None] = []
    seen = _Settled()
    also_observe(served.service.ledger, seen.observe)
    yield found
    unobserve(served.service.ledger, seen.observe)
    found += [record.bill.usage for record in seen.records]
