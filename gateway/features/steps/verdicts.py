"""The verdicts of steps: refusals and failures as errors for the client, and the outcomes for headers and the log."""

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import attrs

from gateway.features.steps.loaded import LoadedStep
from gateway.ledger.bill import Bill
from gateway.ledger.record import Note, Record, Work
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo
from trigate.steps import Moment

Outcome: TypeAlias = Literal["cancelled", "ok", "masked", "refused", "reported", "unchecked"]

_OUTCOMES: Final[tuple[Outcome, ...]] = ("cancelled", "ok", "reported", "masked", "unchecked", "refused")
_RANK: Final = {outcome: rank for rank, outcome in enumerate(_OUTCOMES)}

STOPPED: Final = AnswerEnd("refusal", raw="guardrail_intervened")
"""The end of an answer that a step stops; ``raw`` is the word of the one API that has a word for guardrails."""

LABELS: Final = 50
"""The most labels of one step in the log and metrics; the rest count as ``other``."""

NOTE: Final = "steps"
"""The name of the notes in records."""

UNAVAILABLE: Final = "step_unavailable"
"""The code of the error for content that a step could not check."""

_NO_RETRY: Final = ("x-should-retry", "false")


class RefusedByStep(GatewayError):
    """The refusal of a request or response by a step. ``stop_text`` is set if the client gets an answer that ends here
    instead of an error."""

    def __init__(self, info: ErrorInfo, step: str, stop_text: str | None = None) -> None:
        super().__init__(info.kind, info.message)
        self.info = info
        self.step = step
        self.stop_text = stop_text


def refusal(step: LoadedStep, label: str, subject: str) -> RefusedByStep:
    """Return the refusal of a request or response (``subject``) in which ``step`` found ``label``.

    The settings of the step may have another text for the client."""
    text = step.settings.refusal.message or f"the step {step.name} refused this {subject}: it contains {label}"
    info = ErrorInfo("invalid_request", text, code="content_filter", headers=(_NO_RETRY,), reason=None)
    return RefusedByStep(info, step.name, text if step.settings.refusal.form == "stop" else None)


def unavailable(step: str, why: str, retry_after: float) -> GatewayError:
    """Return the error for content that ``step`` could not check because it failed."""
    seconds = max(1, round(retry_after))
    return GatewayError(
        "overloaded", f"the step {step} cannot check this content now ({why}): try again", code=UNAVAILABLE,
        headers=(("retry-after", str(seconds)),), reason=None,
    )  # fmt: skip


def unchecked_content(step: str, param: str) -> GatewayError:
    """Return the error for content at ``param`` that no step can read."""
    return GatewayError(
        "permission", f"the step {step} must check this content, but cannot read {param}: send it as text",
        code="unchecked_content", param=param, reason=None,
    )  # fmt: skip


def unchecked_endpoint(step: str, endpoint: str, checked: str) -> GatewayError:
    """Return the error for an endpoint whose content no step can read, except on its ``checked`` paths."""
    only = f"it can check only {checked}" if checked else "it cannot read these"
    return GatewayError(
        "permission", f"you may not use {endpoint} here: the step {step} must check your requests, and {only}; the "
        "gateway's operator can allow all with `unchecked: pass` in this step",
        code="unchecked_endpoint", reason=None,
    )  # fmt: skip


@attrs.define(eq=False, repr=False)
class StepRecord:
    """The calls of one step at one moment: their outcome, findings by label, and seconds. Without a call that ended,
    the outcome is ``cancelled``. ``began`` and ``ended`` are the times of the first start and the last end."""

    name: str
    at: Moment
    outcome: Outcome = "cancelled"
    labels: dict[str, int] = attrs.field(factory=dict)
    seconds: float = 0.0
    calls: int = 0
    failure: str | None = None
    began: float = 0.0
    ended: float = 0.0

    def fields(self) -> dict[str, Any]:
        """Return the record for the log line: times are in milliseconds."""
        fields: dict[str, Any] = {"step": self.name, "at": self.at, "outcome": self.outcome}
        if self.labels:
            fields["labels"] = dict(self.labels)
        if self.failure is not None:
            fields["failure"] = self.failure
        fields["ms"] = round(self.seconds * 1000, 2)
        return fields

    def work(self) -> Work:
        """Return the calls for a span, without any text of the exchange."""
        attributes: Mapping[str, str | int] = {
            "trigate.step.name": self.name, "trigate.step.at": self.at, "trigate.step.outcome": self.outcome,
            "trigate.step.calls": self.calls, "trigate.step.findings": sum(self.labels.values()),
        }  # fmt: skip
        return Work(f"step {self.name}", self.began, self.ended, attributes, self.failure)

    def add_call(self, began: float) -> None:
        """Count a call that has just ended."""
        self.ended = time.perf_counter()
        self.began = self.began or began
        self.calls += 1
        self.seconds += self.ended - began

    def note_too_long(self) -> None:
        """Note that the step, which only reports, did not see all of a long response."""
        self.failure = "too_long"
        self.add("reported")

    def add(self, outcome: Outcome, labels: Iterable[str] = ()) -> None:
        """Add the outcome of a call and the labels of its findings."""
        if outcome != self.outcome and _RANK[outcome] > _RANK[self.outcome]:
            self.outcome = outcome
        for label in labels:
            shown = label if label in self.labels or len(self.labels) < LABELS else "other"
            self.labels[shown] = self.labels.get(shown, 0) + 1


class StepRecords(Note):
    """The records of all steps of an exchange, in order, with the names of those that its client ``requested``."""

    requested: frozenset[str] = frozenset()

    def __init__(self, hidden: Collection[str] = (), *, is_applied: bool = True) -> None:
        """Begin without records. The header leaves out the steps in ``hidden``, which only report.

        Only if it ``is_applied`` is there a step for the exchange."""
        self.is_applied = is_applied
        self._hidden = hidden
        self._records: dict[tuple[str, Moment], StepRecord] = {}

    def of(self, name: str, at: Moment) -> StepRecord:
        if (record := self._records.get((name, at))) is None:
            record = self._records[name, at] = StepRecord(name, at)
        return record

    def work(self) -> list[Work]:
        """Return the calls of each step at each moment that had any."""
        return [one.work() for one in self._records.values() if one.calls]

    def fields(self, bill: Bill | None = None) -> Mapping[str, Any]:
        return (
            {"steps": [one.fields() for one in self._records.values()], "refused_by": self.refused_by}
            if self.is_applied
            else {}
        )

    def headers(self) -> Mapping[str, str | None]:
        return {"x-trigate-steps": self.header, "x-trigate-refused-by": self.refused_by}

    def is_refusal(self, error: ErrorInfo | None) -> bool:
        return self.refused_by is not None or (self.is_applied and error is not None and error.code == UNAVAILABLE)

    @property
    def edits(self) -> Sequence[str]:  # type: ignore[override]
        """Names of the steps that masked the request."""
        return [f"step {one.name}" for one in self._records.values() if one.calls and one.outcome == "masked"]

    def __iter__(self) -> Iterator[StepRecord]:
        return iter(self._records.values())

    @property
    def refused_by(self) -> str | None:
        """The step that refused the request or its response, if one has."""
        for one in self._records.values():
            if one.outcome == "refused":
                return one.name
        return None

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """The outcome of each step so far, the most severe one of all its moments."""
        best: dict[str, Outcome] = {}
        for one in self._records.values():
            if one.outcome != "cancelled" and _RANK[one.outcome] >= _RANK[best.get(one.name, "ok")]:
                best[one.name] = one.outcome
        return best

    @property
    def header(self) -> str | None:
        """The outcomes so far for a header, ``None`` if there are none."""
        shown = [f"{name}={outcome}" for name, outcome in self.outcomes.items() if name not in self._hidden]
        return ", ".join(shown) or None


def records_of(record: Record) -> StepRecords | None:
    """Return the records of the steps of an exchange, ``None`` if no step applies and its client requests none."""
    note = record.notes.get(NOTE)
    return note if isinstance(note, StepRecords) else None


def note_requested(record: Record, requested: frozenset[str]) -> None:
    """Note the names of the steps that the client of an exchange requests."""
    if (records := records_of(record)) is None:
        if not requested:
            return
        record.add_note(NOTE, records := StepRecords(is_applied=False))
    records.requested = requested


def applied_records(record: Record, hidden: Collection[str]) -> StepRecords:
    """Return the records of the steps that apply to an exchange, with those of another request in a batch."""
    records = records_of(record)
    if records is None or not records.is_applied:
        requested = frozenset[str]() if records is None else records.requested
        record.add_note(NOTE, records := StepRecords(hidden))
        records.requested = requested
    return records
