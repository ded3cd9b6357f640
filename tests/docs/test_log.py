"""The page about the log describes exactly the fields that a line may have."""

import json
import logging
from typing import Any, get_args

import attrs
import pytest

from gateway.ledger.bill import AttemptRecord, Bill
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Ended, Record
from gateway.log_output.setup import Log, LogFormat
from providers.catalog.prices import Price
from streams.events import ErrorInfo, ErrorKind, FailureReason, Reason, Usage, UsageStep
from tests.pages.tables import rows_of
from tests.support.each_row import each_row
from tests.support.features import describes_all_features
from tests.support.own_log import own_log
from tests.support.repository import ROOT

PAGE = (ROOT / "docs/log.md").read_text()
EXCHANGE, TRIED, OTHER = (rows_of(PAGE, heading) for heading in ("Exchanges", "Attempts", "Other lines"))
"""The rows of the page's tables: the field, its condition, and its meaning."""


def names(rows: list[tuple[str, ...]], *, always: bool = False) -> list[str]:
    """Return the names of the fields in ``rows``, or only of those that every line has."""
    return [name for name, when, _ in rows if when == "always" or not always]


@each_row(
    ("rows", "field", "words"),
    [(EXCHANGE, "reason", Reason), (EXCHANGE, "error", ErrorKind), (TRIED, "reason", FailureReason)],
)
def test_every_word_of_a_field_is_listed(rows, field, words):
    (meaning,) = [meaning for name, *_, meaning in rows if name == field]
    assert [word for word in get_args(words) if f"`{word}`" not in meaning] == []


def refused_steps() -> Any:
    from gateway.features.steps.verdicts import StepRecords  # which may be deleted

    records = StepRecords()
    records.of("pii", "request").add("refused", ("email",))
    return records


def full_record() -> Record:
    """Return a record with a value in every field."""
    given: dict[str, Any] = {
        "id": "req_1", "api": "chat",
        "details": {"picture": {"n": "1"}, "mcp": {"method": "ping"}}, "project": "shop",
        "labels": {"end_user": "u", "tags": ["t"]},
        "error": ErrorInfo("upstream", "broke"),
        "first_byte": 0.1, "first_write": 0.1, "attempts": 2, "status": 200,
        "dropped": ("a",), "adapted": ("b",), "repaired": ("c",), "by_operator": ("b",), "waited": 0.5,
        "bill": Bill(
            (
                AttemptRecord("a", "openai", "chat", "byte", "timeout"),
                AttemptRecord(
                    "b", "openai", "chat", "byte", committed=True, price=Price(1, 1),
                ),
            ),
            Usage(1, 2, 3, output=4, reported_nanos=5, units=(("image", 1),),
                  steps=(UsageStep("fallback_message", "m", Usage(1)),)),
            characters=99, request_size=9,
        ),
        "reservation": None, "notes": {"steps": refused_steps()},
    }  # fmt: skip
    empty = [field.name for field in attrs.fields(Record) if field.default is None and field.name not in given]
    texts = [name for name in empty if not name.startswith("_")]
    return Record(**given, **dict.fromkeys(texts, "text"))


@describes_all_features
def test_every_field_of_an_exchange_has_its_row_in_the_order_of_the_line():
    """A cached answer took no time of a provider, and has other fields for what it saved."""
    from gateway.features.answer_cache.outcome import mark_hit  # which may be deleted

    record, cached = full_record(), full_record()
    mark_hit(cached, 0)
    more = {name: 1 for name in names(EXCHANGE) if name.startswith(("prompt_cache_", "shadow"))}  # by observers
    lines = [Ledger().line(one, disconnected=False, more=more) for one in (record, cached)]
    for line in lines:
        assert list(line) == [name for name in names(EXCHANGE) if name in line]
    assert {*lines[0], *lines[1]} == set(names(EXCHANGE))


def test_every_field_of_an_attempt_has_its_row():
    failed = AttemptRecord(
        "a", "openai", "chat", "byte", "timeout", "fallback", 200, 0.1, 0.2, 0.3, unknown_usage=Usage(input=9)
    )
    lost = AttemptRecord("a", "openai", "chat", "byte", "hedge_lost", "hedge", 200, 0.1, 0.2, 0.3, Usage(1, output=2))
    told = Ledger().line(Record("req_1", "chat", bill=Bill(attempt_records=(failed, lost))), disconnected=False)[
        "tried"
    ]
    assert list(told[0]) == [name for name in names(TRIED) if name != "output_tokens"]
    assert list(told[1]) == [name for name in names(TRIED) if name != "usage"]
    gone = AttemptRecord("a", "openai", "chat", "byte", "gone")
    least = Ledger().line(Record("req_1", "chat", bill=Bill(attempt_records=(gone,))), disconnected=False)
    assert list(least["tried"][0]) == names(TRIED, always=True)


def test_every_line_has_the_fields_marked_always():
    line = Ledger().line(Record("req_1", "chat"), disconnected=True)
    assert set(line) == set(names(EXCHANGE, always=True))


def test_every_outcome_has_its_row():
    assert {word for word, *_ in rows_of(PAGE, "How it ended")} == set(get_args(Ended))


def log_crash(message: str, form: LogFormat) -> None:
    """Log a crash with ``message`` in the format ``form``."""
    with own_log():
        Log(form=form)
        try:
            raise ValueError(message)
        except ValueError:
            logging.getLogger("any").exception("it crashed: %s", message)


def test_every_field_of_any_other_line_has_its_row(capsys):
    log_crash("a crash", "json")
    assert list(json.loads(capsys.readouterr().err)) == names(OTHER)


@pytest.mark.parametrize("form", ["json", "text"])
def test_an_invalid_byte_of_a_name_is_escaped(capsys, form):
    log_crash("caf\udce9.yaml sk-proj-Ab12Cd34Ef56", form)
    told = capsys.readouterr().err
    assert "caf\\udce9.yaml" in (json.loads(told)["message"] if form == "json" else told)
    assert "Logging error" not in told
    assert "sk-proj" not in told
