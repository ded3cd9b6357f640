"""What each exchange used and how it ended, settled exactly once, and the log line that says so."""

import logging
import sys
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import attrs
import msgspec

from gateway.headers import first_paths
from gateway.observing.buckets import Buckets
from gateway.observing.masking import Mask
from gateway.observing.terminal import EXCHANGES, Printer
from streams.events import Api, Begin, Failed, Usage

if TYPE_CHECKING:
    from gateway.observing.tracing import Trace

CHARACTERS_PER_TOKEN = 4  # of English prose, about
LONGEST = 1000  # characters of a name or a message in a line

Ended: TypeAlias = Literal[
    "complete", "refused", "upstream_error", "client_disconnected", "shutdown", "internal_error"
]  # fmt: skip

log = logging.getLogger(EXCHANGES)


@attrs.define(eq=False)
class Record:
    """One exchange while it runs. Only the tasks of its own request write to it."""

    id: str
    api: Api
    served: bool = True  # there is such a path; else ``api`` is only whose shape the error has
    began: float = attrs.field(factory=time.perf_counter)
    asked: str | None = None  # the model's name in the client's words
    target: str | None = None  # provider/model
    model: str | None = None  # the upstream's name for it
    provider_api: Api | None = None
    lane: str | None = None
    stream: bool = False
    status: int | None = None
    attempts: int = 0
    first_byte: float | None = None  # seconds from the request to the first byte for the client
    first_write: float | None = None  # the same to the first write of a stream's own events
    last_write: float = 0.0  # when the last one had been taken
    trace: "Trace | None" = None  # its spans, where exchanges are traced
    gaps: Buckets | None = None  # between writes, of all streams together
    opening: Begin | None = None  # the answer's id and model, in the provider's words
    usage: Usage | None = None
    asked_size: int = 0  # bytes of the request
    said: int = 0  # characters of the answer that have come
    reason: str | None = None  # why the answer ended
    failed: Failed | None = None
    whole: bool = False  # the answer has ended well
    client: str | None = None  # whose key let it in
    abandoned: bool = False  # the client left, and the answer was read on without it
    shut_down: bool = False  # the end of the process has cut the provider's answer off
    upstream_id: str | None = None
    dropped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    outlives: bool = False  # goes on without its request, and is settled when it ends
    settled: bool = False

    def counted(self) -> tuple[Usage | None, bool]:
        """The tokens, and whether they are an estimate: an answer that breaks off has been paid for as far as it came,
        and most providers count only at its end (BerriAI/litellm#33736); some count never."""
        counted = self.usage is not None and bool(self.usage.prompt or self.usage.output)
        if not self.said or (self.whole and counted):
            return self.usage, False
        known = self.usage if self.usage is not None and self.usage.prompt else self._asked_usage()
        output = -(-self.said // CHARACTERS_PER_TOKEN)
        estimated = not counted or known.output < output
        return attrs.evolve(known, output=max(known.output, output)), estimated

    def _asked_usage(self) -> Usage:
        """What the request has cost, estimated."""
        return attrs.evolve(self.usage or Usage(), input=max(1, self.asked_size // CHARACTERS_PER_TOKEN))

    def answered(self, status: int) -> None:
        """The first byte goes to the client."""
        self.status = status
        if self.first_byte is None:
            self.first_byte = time.perf_counter() - self.began

    def writes(self) -> None:
        """Events of a stream go to the client."""
        now = time.perf_counter()
        if self.first_write is None:
            self.first_write = now - self.began
        elif self.gaps is not None:
            self.gaps.add(now - self.last_write)

    def wrote(self) -> None:
        """They have been taken: the time until then was the client's."""
        self.last_write = time.perf_counter()

    def ended(self, disconnected: bool) -> Ended:
        """How the exchange ended; what the upstream or we did wrong outranks what the client did about it, but not what
        it had done before."""
        if self.failed is not None and self.failed.kind == "internal":
            return "internal_error"
        if self.abandoned:
            return "client_disconnected"
        # What had failed before the process came to its end keeps its own reason; "overloaded" is what is said then.
        if self.shut_down and not self.whole and (self.failed is None or self.failed.kind == "overloaded"):
            return "shutdown"
        if self.failed is not None:
            return "upstream_error" if self.attempts else "refused"
        if self.whole:
            return "complete"
        # Neither told of a failure nor whole, and the client still there: a task of ours has crashed.
        return "client_disconnected" if disconnected else "internal_error"


class Observer(Protocol):
    """Whoever wants to know of every exchange: metrics, traces, the live view. Both are called synchronously, in the
    way of the exchange: they must be cheap, and never raise."""

    def opened(self, record: Record) -> None: ...

    def settled(self, record: Record, line: Mapping[str, Any]) -> None:
        """``line`` are the fields of its log line."""
        ...


class Ledger:
    """Settles records. One line per exchange: JSON, or for people where it is ``readable``, by default if standard
    error is a terminal. ``open_records`` are those of the exchanges that are going on; ``mask`` knows what no line may
    hold."""

    def __init__(self, readable: bool | None = None) -> None:
        readable = sys.stderr.isatty() if readable is None else readable
        self._screen = Printer.of(sys.stderr) if readable else None
        self.mask = Mask()
        self.count = 0
        self.open_records: set[Record] = set()
        self.observers: list[Observer] = []

    def open(self, id: str, api: Api, *, served: bool = True) -> Record:
        """The record of a new exchange, which ``settle`` closes. ``served``: there is such a path."""
        record = Record(id, api, served=served)
        self.open_records.add(record)
        for observer in self.observers:
            observer.opened(record)
        return record

    def flush(self) -> None:
        """Settle what is still open, because the process is about to exit."""
        for record in tuple(self.open_records):
            record.shut_down = True
            self.settle(record, disconnected=True)

    def settle(self, record: Record, disconnected: bool) -> None:
        """Write ``record`` off, once; called in the one place that runs whatever ended the request."""
        if record.settled:
            return
        record.settled = True
        self.open_records.discard(record)
        self.count += 1
        line = self.line(record, disconnected)
        log.info(msgspec.json.encode(line).decode() if self._screen is None else self._screen.exchange(line, self.mask))
        for observer in self.observers:
            observer.settled(record, line)

    def line(self, record: Record, disconnected: bool) -> dict[str, Any]:
        """The fields of the log line, those without a value left out."""
        failed, ended = record.failed, record.ended(disconnected)
        usage, estimated = record.counted()
        fields = {
            "event": "exchange",
            "at": _at(int(time.time())),
            "request_id": record.id,
            "client": record.client,
            "api": record.api if record.served else "none",
            "model": self._short(record.asked),
            "target": self._short(record.target),
            "provider_api": record.provider_api,
            "lane": record.lane,
            "stream": record.stream,
            "status": _status(record.status, ended),
            "ended": ended,
            "reason": record.reason,
            "first_byte_ms": _ms(record.first_byte),
            "duration_ms": _ms(time.perf_counter() - record.began),
            "input_tokens": usage and usage.prompt,
            "cached_tokens": usage and usage.cache_read,
            "output_tokens": usage and usage.output,
            "usage_complete": record.usage is not None and record.whole and not estimated if record.attempts else None,
            "usage_estimated": estimated or None,
            "attempts": record.attempts,
            # Whether a client that does not read was still told of the end is chance.
            "error": "overloaded" if ended == "shutdown" else failed and failed.kind,
            "message": failed and self._short(failed.message),
            "upstream_request_id": record.upstream_id,
            "dropped": ",".join(first_paths(record.dropped)) or None,
            "adapted": ",".join(first_paths(record.adapted)) or None,
        }
        return {name: value for name, value in fields.items() if value is not None}

    def _short(self, text: str | None) -> str | None:
        """What a client or a provider has written, fit for a line. Keys are taken out first: half of one is missed."""
        return text if text is None or len(text) <= LONGEST else self.mask(text)[:LONGEST] + "…"


@lru_cache(maxsize=1)
def _at(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _status(sent: int | None, ended: Ended) -> int:
    """What the client was sent, or what it would have been."""
    if ended == "client_disconnected":
        return 499  # nginx's number
    return sent or (503 if ended == "shutdown" else 500)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
