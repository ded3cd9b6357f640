"""What each exchange used and how it ended, settled exactly once, and the log line that says so."""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs
import msgspec

from streams.events import Api, Failed, Usage

Ended: TypeAlias = Literal["complete", "refused", "upstream_error", "client_disconnected", "internal_error"]

log = logging.getLogger("trigate")


@attrs.define
class Record:
    """One exchange while it runs. Only the tasks of its own request write to it."""

    id: str
    api: Api
    began: float = attrs.field(factory=time.perf_counter)
    asked: str | None = None  # the model's name in the client's words
    target: str | None = None  # provider/model
    model: str | None = None  # the upstream's name for it
    lane: str | None = None
    stream: bool = False
    status: int | None = None  # None: the client left before it had one
    attempts: int = 0
    first_byte: float | None = None  # seconds from the request to the first byte for the client
    usage: Usage | None = None
    reason: str | None = None  # why the answer ended
    failed: Failed | None = None
    whole: bool = False  # the answer has ended well
    upstream_id: str | None = None
    dropped: tuple[str, ...] = ()
    settled: bool = False

    def answered(self, status: int) -> None:
        """The first byte goes to the client."""
        self.status = status
        if self.first_byte is None:
            self.first_byte = time.perf_counter() - self.began

    def ended(self, disconnected: bool) -> Ended:
        """How the exchange ended; what the upstream or we did wrong outranks what the client did about it."""
        if self.failed is not None:
            if self.failed.kind == "internal":
                return "internal_error"
            return "upstream_error" if self.attempts else "refused"
        if disconnected and not self.whole:
            return "client_disconnected"
        return "complete" if self.whole else "client_disconnected"


class Ledger:
    """Settles records. One line per exchange: JSON, or ``key=value`` on a terminal."""

    def __init__(self, readable: bool | None = None) -> None:
        self._readable = sys.stderr.isatty() if readable is None else readable
        self.count = 0

    def settle(self, record: Record, disconnected: bool) -> None:
        """Write ``record`` off, once; called in the one place that runs whatever ended the request."""
        if record.settled:
            return
        record.settled = True
        self.count += 1
        line = self.line(record, disconnected)
        log.info(readable(line) if self._readable else msgspec.json.encode(line).decode())

    def line(self, record: Record, disconnected: bool) -> dict[str, Any]:
        """The fields of the log line, those without a value left out."""
        usage, failed = record.usage, record.failed
        fields = {
            "event": "exchange",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request_id": record.id,
            "api": record.api,
            "model": record.asked,
            "target": record.target,
            "lane": record.lane,
            "stream": record.stream,
            "status": record.status if record.status is not None else 499,  # nginx's number for a client that left
            "ended": record.ended(disconnected),
            "reason": record.reason,
            "first_byte_ms": _ms(record.first_byte),
            "duration_ms": _ms(time.perf_counter() - record.began),
            "input_tokens": usage and usage.prompt,
            "cached_tokens": usage and usage.cache_read,
            "output_tokens": usage and usage.output,
            "usage_complete": usage is not None and record.whole if record.attempts else None,
            "attempts": record.attempts,
            "error": failed and failed.kind,
            "message": failed and failed.message,
            "upstream_request_id": record.upstream_id,
            "dropped": ",".join(record.dropped) or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


def readable(line: Mapping[str, Any]) -> str:
    """The same line for a person at a terminal."""
    return " ".join(f"{name}={_quoted(value)}" for name, value in line.items() if name != "event")


def _quoted(value: Any) -> str:
    text = msgspec.json.encode(value).decode() if not isinstance(value, str) or " " in value else value
    return text if "\n" not in text else repr(text)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
