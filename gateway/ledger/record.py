"""The record of one exchange, from its arrival to its settlement."""

import time
from collections.abc import Mapping
from typing import Literal, Protocol, TypeAlias

import attrs

from gateway.http.headers import Headers
from gateway.ledger.bill import Bill
from gateway.ledger.buckets import Buckets
from streams.events import AnswerStart, Api, ErrorInfo

Ended: TypeAlias = Literal[
    "complete", "refused", "upstream_error", "client_disconnected", "shutdown", "internal_error"
]  # fmt: skip

CacheOutcome: TypeAlias = Literal["hit", "miss", "bypass", "off"]
"""What the cache of answers had for an exchange: an answer, none; ``bypass``: it was not to be asked, ``off``: it is
not for this client and this name."""


class Settlement(Protocol):
    """What has to be settled with an exchange, once and at once; it never raises. ``at`` is when its request began, as
    Unix has it."""

    @property
    def at(self) -> float: ...

    def settle(self, record: "Record") -> None: ...

    def budget_headers(self, record: "Record") -> Headers:
        """The headers that tell a client what it may still use."""
        ...


@attrs.define(eq=False, repr=False)
class Record:
    """What is known of one exchange for its log line, its headers, metrics and traces. The tasks of its own request
    write to it, and none of them reads it to decide anything."""

    id: str
    api: Api
    served: bool = True  # there is such a path; else ``api`` is only whose shape the error has
    began: float = attrs.field(factory=time.perf_counter)
    endpoint: str | None = None  # of a request that is no conversation
    asked: str | None = None  # the model's name in the client's words
    target: str | None = None  # provider/model
    model: str | None = None  # the upstream's name for it
    provider_api: Api | None = None
    lane: str | None = None
    stream: bool = False
    status: int | None = None
    attempts: int = 0
    route: str | None = None  # the name of several targets, in the file's words
    waited: float = 0.0  # seconds between attempts, or for a target that was out
    first_byte: float | None = None  # seconds from the request to the first byte for the client
    first_write: float | None = None  # the same to the first write of a stream's own events
    last_write: float = 0.0  # when the last one had been taken
    gaps: Buckets | None = None  # between writes, of all streams together
    opening: AnswerStart | None = None  # the answer's id and model, in the provider's words
    picture: Mapping[str, str] | None = None  # what a request for pictures says of them
    reason: str | None = None  # why the answer ended
    failed: ErrorInfo | None = None
    client: str | None = None  # whose key let it in
    address: str | None = None  # the client's
    abandoned: bool = False  # the client left, and the answer was read on without it
    shut_down: bool = False  # the end of the process has cut the provider's answer off
    upstream_id: str | None = None
    dropped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    settled: bool = False
    run: str | None = None  # what its client calls the run that it belongs to
    bill: Bill = attrs.field(factory=Bill)
    reservation: Settlement | None = None  # of what its client and its targets may use
    cache: CacheOutcome | None = None  # ``None`` where nothing is cached
    cache_age: int | None = None  # seconds since an answer out of the cache was given by its provider

    @property
    def delivered(self) -> bool:
        """Whether its client got a word of an answer, and not of an error or a keep-alive alone. What is booked was
        made before, and is not booked again for another look at it."""
        bill = self.bill
        if bill.booked is not None:
            return True
        return self.first_byte is not None and (bill.whole or (self.first_write is not None and bill.said > 0))

    def hits(self, age: int) -> None:
        """The answer comes out of the cache, whose provider gave it ``age`` seconds ago."""
        self.cache, self.cache_age, self.bill.from_cache = "hit", age, True

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
        """The way the exchange ended; what the upstream or we did wrong outranks what the client did about it, but not
        what it had done before."""
        if self.failed is not None and self.failed.kind == "internal":
            return "internal_error"
        if self.abandoned:
            return "client_disconnected"
        # What had failed before the process came to its end keeps its own reason; "overloaded" is what is said then.
        if self.shut_down and not self.bill.whole and (self.failed is None or self.failed.kind == "overloaded"):
            return "shutdown"
        if self.failed is not None:
            asked = self.attempts or self.cache == "miss"  # by itself, or by the one whose answer it followed
            return "upstream_error" if asked else "refused"
        if self.bill.whole:
            return "complete"
        # Neither told of a failure nor whole, and the client still there: a task of ours has crashed.
        return "client_disconnected" if disconnected else "internal_error"
