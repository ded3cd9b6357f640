"""The page on the log has every field that a line may have, and no other."""

import json
import logging
from typing import Any, get_args

import attrs
import pytest

from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Ended, Record, Tried
from gateway.logs.fields import ENDED, EXCHANGE, OTHER, TRIED
from gateway.logs.setup import Log, LogFormat
from providers.catalog.prices import Price
from streams.events import ErrorInfo, Usage
from tests.pages.log import PAGE, page
from tests.support.own_log import own_log


def test_the_tables_are_those_of_the_code():
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python -m tests.pages.log"


def full() -> Record:
    """A record with a value for everything."""
    given: dict[str, Any] = {
        "id": "req_1", "api": "chat", "usage": Usage(1, 2, 3, output=4, told_nanos=5, units=(("image", 1),)),
        "picture": {"n": "1"},
        "failed": ErrorInfo("upstream", "broke"),
        "first_byte": 0.1, "first_write": 0.1, "said": 99, "attempts": 2, "status": 200, "asked_size": 9,
        "dropped": ("a",), "adapted": ("b",), "waited": 0.5,
        "tried": (
            Tried("a", "openai", "chat", "byte", "timeout"),
            Tried("b", "openai", "chat", "byte", committed=True, price=Price(1, 1)),
        ),
        "reservation": None, "booked": None,
    }  # fmt: skip
    empty = [field.name for field in attrs.fields(Record) if field.default is None and field.name not in given]
    texts = [name for name in empty if not name.startswith("_")]
    return Record(**given, **dict.fromkeys(texts, "text"))


def test_every_field_of_an_exchange_has_its_row_in_the_order_of_the_line():
    """One out of the cache has taken nothing, and has saved something."""
    record, cached = full(), full()
    cached.cache = "hit"
    lines = [Ledger(readable=False).line(one, disconnected=False) for one in (record, cached)]
    for line in lines:
        assert list(line) == [row.name for row in EXCHANGE if row.name in line]
    assert {*lines[0], *lines[1]} == {row.name for row in EXCHANGE}


def test_every_field_of_an_attempt_has_its_row():
    failed = Tried("a", "openai", "chat", "byte", "timeout", "fallback", 200, 0.1, 0.2, 0.3, unknown_input=9)
    lost = Tried("a", "openai", "chat", "byte", "hedge_lost", "hedge", 200, 0.1, 0.2, 0.3, Usage(1, output=2))
    told = Ledger(readable=False).line(Record("req_1", "chat", tried=(failed, lost)), disconnected=False)["tried"]
    assert list(told[0]) == [row.name for row in TRIED if row.name != "output_tokens"]
    assert list(told[1]) == [row.name for row in TRIED if row.name != "usage"]
    gone = Tried("a", "openai", "chat", "byte", "gone")
    least = Ledger(readable=False).line(Record("req_1", "chat", tried=(gone,)), disconnected=False)
    assert list(least["tried"][0]) == [row.name for row in TRIED if row.when == "always"]


def test_a_field_that_is_always_there_is():
    line = Ledger(readable=False).line(Record("req_1", "chat"), disconnected=True)
    assert set(line) == {row.name for row in EXCHANGE if row.when == "always"}


def test_every_way_to_end_has_its_row():
    assert set(ENDED) == set(get_args(Ended))


def crashed(message: str, form: LogFormat) -> None:
    """Log a crash with ``message``, in that form."""
    with own_log():
        Log(form=form)
        try:
            raise ValueError(message)
        except ValueError:
            logging.getLogger("any").exception("it crashed: %s", message)


def test_every_field_of_any_other_line_has_its_row(capsys):
    crashed("a crash", "json")
    assert list(json.loads(capsys.readouterr().err)) == [row.name for row in OTHER]


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_byte_of_a_name_that_is_no_text_is_spelled_out(capsys, form):
    crashed("caf\udce9.yaml sk-proj-Ab12Cd34Ef56", form)
    told = capsys.readouterr().err
    assert "caf\\udce9.yaml" in (json.loads(told)["message"] if form == "json" else told)
    assert "Logging error" not in told
    assert "sk-proj" not in told
