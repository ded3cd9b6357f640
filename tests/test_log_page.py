"""The page on the log has every field that a line may have, and no other."""

import json
import logging
from typing import Any, get_args

import attrs
from log_table import PAGE, page

from gateway.ledger import Ended, Ledger, Record
from gateway.observing.log_fields import ENDED, EXCHANGE, OTHER
from gateway.observing.logs import Log
from streams.events import Failed, Usage


def test_the_tables_are_those_of_the_code():
    assert PAGE.read_text() == page(PAGE.read_text()), "run: python tests/log_table.py"


def full() -> Record:
    """A record with a value for everything."""
    given: dict[str, Any] = {
        "id": "req_1", "api": "chat", "usage": Usage(1, 2, 3, output=4), "failed": Failed("upstream", "broke"),
        "first_byte": 0.1, "first_write": 0.1, "said": 99, "attempts": 1, "status": 200, "asked_size": 9,
        "dropped": ("a",), "adapted": ("b",),
    }  # fmt: skip
    texts = [field.name for field in attrs.fields(Record) if field.default is None and field.name not in given]
    return Record(**given, **dict.fromkeys(texts, "text"))


def test_every_field_of_an_exchange_has_its_row_in_the_order_of_the_line():
    line = Ledger(readable=False).line(full(), disconnected=False)
    assert list(line) == [row.name for row in EXCHANGE]


def test_a_field_that_is_always_there_is():
    line = Ledger(readable=False).line(Record("req_1", "chat"), disconnected=True)
    assert set(line) == {row.name for row in EXCHANGE if row.when == "always"}


def test_every_way_to_end_has_its_row():
    assert set(ENDED) == set(get_args(Ended))


def test_every_field_of_any_other_line_has_its_row(capsys):
    root = logging.getLogger()
    handlers, root.handlers[:] = root.handlers[:], []
    try:
        Log(form="json")
        try:
            raise ValueError("a crash")
        except ValueError:
            logging.getLogger("any").exception("it crashed")
    finally:
        root.handlers[:] = handlers
    assert list(json.loads(capsys.readouterr().err)) == [row.name for row in OTHER]
