"""The record of one exchange, from its arrival to its settlement."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeAlias
from urllib.parse import unquote

import attrs

from gateway.http.headers import PROJECT, Headers
from gateway.http.redaction import redact_own
from gateway.ledger.bill import OWN_OUTCOMES, Bill
from gateway.ledger.buckets import Buckets
from streams.events import AnswerStart, Api, ErrorInfo

Ended: TypeAlias = Literal[
    "complete", "refused", "upstream_error", "client_disconnected", "shutdown", "internal_error"
]  # fmt: skip

NO_LABELS: Final[Mapping[str, Any]] = {}

_LONGEST_PROJECT: Final = 128  # characters
_LONGEST_PATH: Final = 4096  # characters, escaped


def project_of(headers: Headers) -> str | None:
    """Return the project in a request's headers, ``None`` without one. It is the last part of a path, without
    credentials of the request."""
    for name, value in headers:
        if name == PROJECT:
            text = redact_own(unquote(value[-_LONGEST_PATH:]), headers)
            project = text.replace("\\", "/").rstrip("/ ").rpartition("/")[2]
            return "".join(filter(str.isprintable, project)).strip()[:_LONGEST_PROJECT] or None
    return None


class Settlement(Protocol):
    """The reservation of an exchange, settled exactly once without waiting. Its methods never raise. ``at`` is the Unix
    time of the request's start, ``wait_seconds`` is the length of its waits for the reservations of others."""

    @property
    def at(self) -> float: ...

    @property
    def wait_seconds(self) -> float: ...

    def settle(self, *, delivered: bool) -> None:
        """Settle the exchange. ``delivered``: its client received a part of a response, or its work was booked."""

    def budget_texts(self, record: object = None) -> tuple[str, ...]:
        """Return the client's budgets that the exchange counts for, as in the configuration: ``5 usd/day``.

        It ignores ``record``, which features of other packages may pass."""

    def budget_headers(self, *, delivered: bool, failed: bool) -> Headers:
        """Return the headers that report the client's remaining allowance. ``failed``: no attempt will follow."""


class ResponseForms(Protocol):
    """The forms in which a program expects errors and headers, in place of those of its API."""

    def error(self, error: ErrorInfo) -> ErrorInfo:
        """Return ``error`` in these forms."""

    def headers(self, status: int, headers: Headers) -> Headers:
        """Return the headers of a response with ``status``, some of them replaced."""


@attrs.frozen(eq=False, repr=False)
class Work:
    """Work of a feature on an exchange, which becomes a span. ``failure`` is the reason why it failed.

    Times are of ``time.perf_counter``."""

    name: str
    began: float
    ended: float
    attributes: Mapping[str, str | int]
    failure: str | None = None


class Note:
    """The facts of a feature about an exchange, for its headers, its log line and its observers. This base has none."""

    forbids_storing: bool = False
    """True if no cache between the gateway and the client may store the response."""
    shares_attempts: bool = False
    """True if the attempts may be those of another exchange."""
    edits: Sequence[str] = ()
    """Names of the changes of the request."""

    def is_refusal(self, error: ErrorInfo | None) -> bool:
        """Return whether the feature refused the request or its response.

        Also true if it could not judge them, and ``error`` is its own."""
        return False

    def headers(self) -> Mapping[str, str | None]:
        """Return headers of the response."""
        return {}

    def fields(self, bill: Bill) -> Mapping[str, Any]:
        """Return fields of the log line, without any text of the client or the provider. ``bill`` is settled."""
        return {}

    def work(self) -> Sequence[Work]:
        """Return what the feature did, in order."""
        return ()


NO_NOTES: Final[Mapping[str, Note]] = {}


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class ArrivedRequest:
    """A client's request before it is admitted: its headers, and its route."""

    headers: Headers
    path: str


class RecordObservers(Protocol):
    """The observers of an exchange (``gateway.seams.observe``). Its methods never raise."""

    @property
    def keeps_errors(self) -> bool:
        """Whether ``trigate log`` shows the error of the exchange with the provider's own message."""

    def fields(self, record: "Record") -> Mapping[str, Any]:
        """Return more fields of the log line."""

    def note_end(self, record: "Record", line: Mapping[str, Any]) -> None:
        """Note the end of the exchange, with the fields of its log ``line``."""


class _Unobserved:
    """The observers of an exchange without any."""

    keeps_errors = False

    def fields(self, record: "Record") -> Mapping[str, Any]:
        return {}

    def note_end(self, record: "Record", line: Mapping[str, Any]) -> None:
        pass


UNOBSERVED: Final[RecordObservers] = _Unobserved()


@attrs.define(eq=False, repr=False)
class Record:
    """The facts of one exchange for its log line, headers, metrics and traces. Only the tasks of its request write to
    it, and none of them bases a decision on it."""

    id: str
    api: Api
    served: bool = True  # the path exists; otherwise ``api`` only selects the error's shape
    began: float = attrs.field(factory=time.perf_counter)
    endpoint: str | None = None  # of a request that is not a conversation
    requested_model: str | None = None
    target: str | None = None  # provider/model
    model: str | None = None  # the provider's name for the model
    provider_api: Api | None = None
    lane: str | None = None
    stream: bool = False
    status: int | None = None
    attempts: int = 0
    route: str | None = None  # the configured name of a group of targets
    waited: float = 0.0  # seconds between attempts, or until an unavailable target recovered
    first_byte: float | None = None  # seconds from the request to the first byte of the response
    first_write: float | None = None  # seconds from the request to the first event of a stream
    last_write: float = 0.0  # when the last write finished, or started if it did not wait for the client
    gaps: Buckets | None = None  # seconds between writes, of all streams
    answer_start: AnswerStart | None = None  # the response's id and model, as the provider reported them
    details: Mapping[str, Mapping[str, str]] = NO_LABELS  # log fields of features with facts about the request
    reason: str | None = None  # why the response ended
    provider_reason: str | None = None  # the same in the provider's word
    unknown_end: str | None = None  # the same if no table has the word, of a complete response
    repaired: tuple[str, ...] = ()  # members of the response that the client got in another form
    error: ErrorInfo | None = None
    client: str | None = None  # the client whose key the request has
    address: str | None = None  # the client's address
    abandoned: bool = False  # the client disconnected, and the gateway read the rest of the response
    kept: bool = False  # the same, and the response is kept for the client's next attempt
    shut_down: bool = False  # the shutdown of the process interrupted the provider's response
    upstream_id: str | None = None
    dropped: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    by_operator: tuple[str, ...] = ()  # those among both that the configuration makes
    settled: bool = False
    forms: ResponseForms | None = None
    observers: RecordObservers = UNOBSERVED
    labels: Mapping[str, Any] = NO_LABELS  # the client's end user and tags, as log fields
    project: str | None = None  # the client's name for the project that the exchange is for
    run: str | None = None  # the client's name for the run that the exchange belongs to
    bill: Bill = attrs.field(factory=Bill)
    reservation: Settlement | None = None  # of the allowances of the client and its targets
    notes: Mapping[str, Note] = NO_NOTES  # by the names of features
    landing: str | None = None  # of the conversation's turn at the members of its route (``gateway.balancing``)

    @property
    def delivered(self) -> bool:
        """Whether the client received a part of a response, other than an error or a keep-alive.

        Work that was booked happened earlier, such as a batch, and is not booked again. A complete response that is
        kept for the client counts as received."""
        bill = self.bill
        if bill.booked is not None or (self.kept and bill.is_complete):
            return True
        return self.first_byte is not None and (
            bill.is_complete or (self.first_write is not None and bill.characters > 0)
        )

    def add_note(self, feature: str, note: Note) -> None:
        """Add the note of a feature, in place of an earlier one."""
        self.notes = {**self.notes, feature: note}

    def remove_note(self, feature: str) -> None:
        """Remove the note of a feature."""
        self.notes = {name: note for name, note in self.notes.items() if name != feature}

    def mark_served(self, status: int) -> None:
        """Record the status of a complete response, unless a response is recorded already."""
        if self.status is None:
            self.bill.is_complete = True
            self.mark_answered(status)

    def mark_answered(self, status: int) -> None:
        """Record the status of the response, and the time of its first byte."""
        self.status = status
        if self.first_byte is None:
            self.first_byte = time.perf_counter() - self.began

    def mark_write_started(self) -> None:
        """Record the start of a write of stream events."""
        now = time.perf_counter()
        if self.first_write is None:
            self.first_write = now - self.began
        elif self.gaps is not None:
            self.gaps.add(now - self.last_write)
        self.last_write = now

    def mark_write_finished(self) -> None:
        """Record the end of a write that waited for the client."""
        self.last_write = time.perf_counter()

    def ending(self, disconnected: bool) -> Ended:
        """Return the kind of the exchange's end for its log line.

        A failure of the provider or the gateway outranks a later disconnect of the client, but not an earlier one."""
        if self.error is not None and self.error.kind == "internal":
            return "internal_error"
        if self.abandoned:
            return "client_disconnected"
        # A failure before the shutdown keeps its own reason; "overloaded" is the shutdown's.
        if self.shut_down and not self.bill.is_complete and (self.error is None or self.error.kind == "overloaded"):
            return "shutdown"
        # Before anything was sent, also of a complete response, or of a refusal.
        if self.status is None and self.error is None and disconnected:
            return "client_disconnected"
        if self.notes:
            for note in self.notes.values():
                if note.is_refusal(self.error):
                    return "refused"
        if self.error is not None:
            # Directly, or through an exchange whose response it shared or tried to share.
            shared = any(one.shares_attempts for one in self.notes.values())
            has_failed = shared or any(one.reason not in OWN_OUTCOMES for one in self.bill.attempt_records)
            return "upstream_error" if self.attempts or has_failed else "refused"
        if self.bill.is_complete:  # failures of some endpoints pass unchanged
            return "complete" if self.status is None or self.status < 400 else "upstream_error"
        # No failure, no complete response, and the client is connected: a task of the gateway crashed.
        return "client_disconnected" if disconnected else "internal_error"
