"""The line of an exchange: it bounds every text that a client or a provider may choose, and contains nothing of the
conversation."""

import logging
from collections.abc import Iterator
from typing import Any, cast

import attrs
import msgspec
import pytest

from gateway.http.headers import LONGEST_PATH, MOST_PATHS, PROJECT, first_paths, paths_header
from gateway.ledger.bill import AttemptRecord, Bill
from gateway.ledger.ledger import LONGEST, LONGEST_LINE, LONGEST_NAME, MOST_TRIED, Ledger
from gateway.ledger.record import ArrivedRequest, Record
from gateway.log_output.terminal import Printer
from gateway.logs.loggers import EXCHANGES
from gateway.logs.masking import MASKED, Mask, without_quotations
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observers import Observers
from providers.catalog.prices import FREE, SUBSCRIPTION, Cost, Price
from streams.events import ErrorInfo, Usage
from tests.support.each_row import each_row

KEY = "key-of-the-team-0815"
PROMPT = "Dear diary, today I have told a machine what nobody else is ever going to read."


@pytest.fixture
def lines(monkeypatch) -> Iterator[list[str]]:
    """Yield the lines that the ledger writes."""
    found: list[str] = []
    log = logging.getLogger(EXCHANGES)
    monkeypatch.setattr(log, "handlers", [handler := logging.Handler()])
    handler.emit = lambda record: found.append(record.getMessage())
    before = log.level
    log.setLevel(logging.INFO)  # and no attribute: loggers remember for which levels they are on
    yield found
    log.setLevel(before)


@pytest.mark.parametrize("letter", ["x", "\x01", "\u202e", '"', "\U0001f600"])
def test_a_line_is_limited_in_length_whatever_its_fields_contain(lines, letter):
    """Envoy's measure: https://github.com/envoyproxy/envoy/blob/main/SECURITY.md, resource exhaustion."""
    long = letter * 100_000
    ledger, seen = Ledger(), []
    observer = type("Seen", (ExchangeObserver,), {"note_end": lambda _, record, line: seen.append(line)})()
    record = Record(
        "req_1", "chat", requested_model=long, target=long, upstream_id=long, attempts=1,
        error=ErrorInfo("upstream", long),
        dropped=(long,) * 2000, adapted=tuple(f"{letter}{number}" for number in range(2000)),
        observers=Observers([observer]),
    )  # fmt: skip
    ledger.settle(record, disconnected=False)
    assert len(lines[0].encode()) <= LONGEST_LINE
    assert len(msgspec.json.encode(seen[0])) <= LONGEST_LINE  # what the live view remembers
    assert msgspec.json.decode(lines[0])["request_id"] == "req_1"


def test_a_failed_observer_is_still_notified_of_hidden_content(caplog):
    told: list[str] = []

    class Heads:
        """A base class that is no observer; its method is called, too."""

        def note_head(self, request: Any, status: int, headers: Any) -> None:
            raise ValueError

    class Failing(Heads, ExchangeObserver):
        def note_hidden(self) -> None:
            told.append("hidden")
            raise ValueError

        def note_end(self, record: Any, line: Any) -> None:
            told.append("end")

    record = Record("req_1", "chat", observers=(observers := Observers([Failing()])))
    observers.note_head(cast("Any", None), 200, ())
    observers.note_hidden()
    Ledger().settle(record, disconnected=False)
    assert told == ["hidden", "end"]


def fail(*_: Any) -> Any:
    raise ValueError


@pytest.mark.parametrize("need", ["reads_events", "keeps_texts", "keeps_errors", "keeps_refused", "viewer_texts"])
def test_an_observer_whose_needs_raise_ends_no_exchange(lines, need):
    told: list[str] = []
    members = {need: fail if need == "viewer_texts" else property(fail)}
    failing = type("Failing", (ExchangeObserver,), {**members, "note_end": lambda *_: told.append("end")})()
    record = Record("req_1", "chat", observers=(observers := Observers([failing])))
    observers.note_request(cast("Any", None), b"{}", is_turn=True, is_public=False)
    assert (observers.reads_events, observers.keeps_refused, observers.viewer_texts()) == (False, False, None)
    Ledger(Printer().exchange).settle(record, disconnected=False)
    assert (len(lines), told) == (1, ["end"])


def attempt(target: str, **given: Any) -> AttemptRecord:
    return AttemptRecord(target, "openai", "chat", "byte", **given)


def test_a_lost_hedge_without_a_head_costs_at_least_its_request():
    record = Record("req_1", "chat", bill=Bill(request_size=4000, is_complete=True, usage=Usage(10, output=5)))
    price = Price(input=2 * 10**9, output=8 * 10**9)
    lost = attempt("a", reason="hedge_lost", unknown_usage=Usage(input=record.bill.estimated_input()), price=price)
    record.bill.attempt_records = (lost, attempt("b", cause="hedge", committed=True, price=price))
    first, second = record.bill.charges()
    assert (first.usage, first.cost) == (Usage(input=1000), Cost(2_000_000, "at_least"))
    assert record.bill.cost() == Cost(2_000_000 + 60_000, "at_least")
    assert second.cost == Cost(60_000, "exact")
    unpriced = attrs.evolve(
        record.bill, attempt_records=(attrs.evolve(lost, price=None), record.bill.attempt_records[1])
    )
    assert [charge.cost for charge in unpriced.charges()] == [None, Cost(60_000, "exact")]


def test_a_failed_attempt_without_counted_input_costs_its_estimate():
    """Some servers start a Messages stream with 0 input tokens, and count them at its end."""
    price = Price(input=2 * 10**9, output=8 * 10**9)
    failed = attempt("a", reason="server_error", status=200, usage=Usage(output=1), price=price)
    record = Record("req_1", "chat", attempts=1, bill=Bill(request_size=4000, attempt_records=(failed,)))
    (charge,) = record.bill.charges()
    assert (charge.usage, charge.cost) == (Usage(input=1000, output=1), Cost(2_008_000, "estimated"))
    (one,) = Ledger().line(record, disconnected=False)["tried"]
    assert (one["input_tokens"], one["output_tokens"]) == (1000, 1)


def test_a_client_that_left_before_a_complete_response_was_sent_disconnected():
    """Its status was 500: the provider had sent everything while the client left."""
    record = Record("req_1", "chat", bill=Bill(is_complete=True))
    line = Ledger().line(record, disconnected=True)
    assert (line["ended"], line["status"]) == ("client_disconnected", 499)
    record.mark_answered(200)
    line = Ledger().line(record, disconnected=True)
    assert (line["ended"], line["status"]) == ("complete", 200)


@each_row(("price", "grade"), [(FREE, "exact"), (SUBSCRIPTION, "subscription")])
@each_row("reason", ["hedge_lost", "connection"])
def test_an_unknown_attempt_with_free_tokens_has_an_exact_cost(price, grade, reason):
    record = Record("req_1", "chat", bill=Bill(request_size=4000))
    record.bill.attempt_records = (attempt("a", reason=reason, unknown_usage=Usage(input=1000), price=price),)
    assert record.bill.cost() == Cost(0, grade)
    record.bill.attempt_records = (attrs.evolve(record.bill.attempt_records[0], price=Price(input=1, output=1)),)
    assert getattr(record.bill.cost(), "grade", None) == "at_least"


def test_a_log_line_lists_attempts_in_order_and_possible_extra_bills():
    """A ledger stated "exact" although a call that was cut off is billed: bircex/llmr#48."""
    record = Record("req_1", "chat", attempts=2, bill=Bill(request_size=4000), route="best", waited=0.25)
    cut = attempt("a", reason="timeout", seconds=1.5, unknown_usage=Usage(input=record.bill.estimated_input()))
    record.bill.attempt_records = (cut, attempt("b", cause="fallback", status=200, head=0.1, content=0.2))
    line = Ledger().line(record, disconnected=False)
    assert (line["route"], line["waited_ms"], line["attempts"]) == ("best", 250.0, 2)
    first, second = line["tried"]
    assert (first["target"], first["reason"], first["duration_ms"]) == ("a", "timeout", 1500.0)
    assert (first["input_tokens"], first["usage"]) == (1000, "unknown")
    assert second == {
        "target": "b", "api": "chat", "lane": "byte", "cause": "fallback", "reason": "ok", "status": 200,
        "head_ms": 100.0, "content_ms": 200.0,
    }  # fmt: skip


def test_the_failure_of_a_shared_response_is_one_of_a_provider():
    """Also if no other attempt followed, so that the exchange itself has sent nothing."""
    shared = attempt("a", reason="connection", requests=0)
    record = Record("req_1", "chat", error=ErrorInfo("upstream", "cut"), bill=Bill(attempt_records=(shared,)))
    assert Ledger().line(record, disconnected=False)["ended"] == "upstream_error"


@pytest.mark.parametrize(("reason", "told"), [("ok", False), ("connection", True)])
def test_one_attempt_is_listed_only_where_it_failed(reason, told):
    record = Record("req_1", "chat", attempts=1, bill=Bill(attempt_records=(attempt("a", reason=reason),)))
    assert ("tried" in Ledger().line(record, disconnected=False)) == told


def test_attempts_without_end_do_not_make_lines_without_end(lines):
    ledger = Ledger()
    record = Record("req_1", "chat", attempts=999)
    record.bill.attempt_records = tuple(attempt("x" * 5000, reason="overloaded") for _ in range(999))
    ledger.settle(record, disconnected=False)
    assert len(lines[0].encode()) <= LONGEST_LINE
    assert len(msgspec.json.decode(lines[0])["tried"]) == MOST_TRIED


def test_paths_are_shortened_and_excess_ones_counted():
    assert first_paths(("a", "b")) == ("a", "b")
    assert first_paths(()) == ()
    assert first_paths(("x" * 20_000_000, "b")) == ("x" * LONGEST_PATH + "...", "b")
    many = tuple(f"member_{number}" for number in range(150_000))
    assert first_paths(many) == (*many[:MOST_PATHS], f"+{150_000 - MOST_PATHS}")
    assert len(paths_header(("x" * 99,) * 500)) < 2100
    assert paths_header(("x" * 99,) * 500).endswith(",+480")


def test_half_a_key_is_no_more_to_be_read_than_a_whole_one():
    ledger = Ledger()
    ledger.mask = Mask([KEY])
    for before in range(LONGEST_PATH - len(KEY), LONGEST_PATH + 1):
        path = "x" * before + KEY + "x" * 50
        name = "x" * (before + LONGEST_NAME - LONGEST_PATH) + KEY
        line = ledger.line(
            Record("req_1", "chat", requested_model=name + "x" * 300, dropped=(path,)), disconnected=False
        )
        for text in (line["model"], line["dropped"]):
            assert "key-of" not in text.replace(MASKED, "")


@each_row(
    "message",
    [
        f"Invalid value: '{PROMPT}'. Supported values are: 'user' and 'assistant'.",
        f'messages.0: Input should be a valid dictionary, input: "{PROMPT}"',
        f"1 validation error for ChatRequest input_value={{'role': 'user', 'content': '{PROMPT}'}}",
        f'could not read ["{PROMPT}"]',
        f"unexpected token `{PROMPT}",
        f"what is \u201c{PROMPT}\u201d?",
    ],
)
def test_quotations_of_the_request_in_errors_are_not_logged(message):
    """Validation errors of Pydantic have ``input_value``: https://docs.pydantic.dev/latest/errors/errors/."""
    ledger = Ledger()
    record = Record("req_1", "chat", attempts=1, error=ErrorInfo("invalid_request", message))
    told = ledger.line(record, disconnected=False)["message"]
    assert "diary" not in told
    assert told.startswith(message[:9])
    assert record.error.message == message  # the client gets it whole


def test_messages_with_short_quotations_are_logged_unchanged():
    for message in (
        "model 'a' isn't there; there's 'b'",
        "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.",
    ):
        assert without_quotations(message) == message
    long = "the provider says no " * 100
    record = Record("req_1", "chat", error=ErrorInfo("upstream", long))
    assert len(Ledger().line(record, disconnected=False)["message"]) == LONGEST + 1


def test_looking_for_quotations_takes_linear_time():
    for text in ("'", "'a", "a'", "[", '{"', "`'", ' "', "\u201c'"):
        assert len(without_quotations(text * 100_000)) <= 200_000


@each_row(
    ("sent", "project"),
    [("shop", "shop"), ("/home/ann/shop/", "shop"), ("my%20shop", "my shop"), ("%D0%BF", "п"), ("a\u001b[2Jb", "a[2Jb"),
     ("x" * 500, "x" * 128), (" ", None), ("/", None),
     (f"/home/shop_{KEY}/", f"shop_{MASKED}"), (f"{KEY}s", f"{MASKED}s"),
     ("y" * 120 + KEY, f"{'y' * 120}{MASKED}"[:128]), ("x%6bey-of%2Dthe-team-0815", f"x{MASKED}")],
)  # fmt: skip
def test_a_project_is_a_name_and_never_a_path_or_a_credential_of_the_request(sent, project):
    ledger = Ledger()
    arrival = ArrivedRequest(((PROJECT, sent), ("authorization", f"Bearer {KEY}")), "/v1/messages")
    record = ledger.open("r", "messages", arrival=arrival)
    assert (record.project, ledger.line(record, False).get("project")) == (project, project)
