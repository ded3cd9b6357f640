"""The log lines of a gateway in the test's process, as its exchanges are settled."""

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytest
import trio

from gateway.ledger.record import Record
from gateway.seams.observe import ExchangeObserver
from tests.support.also_observed import also_observe
from tests.support.asgi_app import eventually
from tests.support.in_process import InProcess


class SettledLines(ExchangeObserver):
    """The lines of ``served`` from now on."""

    def __init__(self, served: InProcess) -> None:
        self.batch_ids: list[str | None] = []
        """The providers' ids of the batches that exchanges have billed."""
        self._send, self._receive = trio.open_memory_channel[Mapping[str, Any]](1000)
        also_observe(served.service.ledger, lambda record, arrival: self)

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        if record.bill.booked is not None:
            self.batch_ids.append(record.bill.booked.id)
        self._send.send_nowait(line)

    async def next(self, number: int = 1) -> list[Mapping[str, Any]]:
        """Wait for ``number`` lines, and return them. An exchange is settled after its client has its answer."""
        found: list[Mapping[str, Any]] = []
        with trio.fail_after(10):
            while len(found) < number:
                found.append(await self._receive.receive())
        return found


class LoggedExchanges:
    """The lines of exchanges in the log of a test."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "trigate")
        self._caplog = caplog

    @property
    def lines(self) -> list[dict[str, Any]]:
        found = [record.getMessage() for record in list(self._caplog.records)]
        return [json.loads(message) for message in found if message.startswith('{"event":"exchange"')]

    async def wait_for(self, number: int) -> list[dict[str, Any]]:
        """Wait until there are ``number`` lines, and return them."""
        await eventually(lambda: len(self.lines) == number)
        return self.lines
