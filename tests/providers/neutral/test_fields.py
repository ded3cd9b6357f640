"""Access to a client's JSON: every mistake has its place, and every unread member is listed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.neutral.fields import Fields, generic_path
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row


def complaint(action, *args):
    with pytest.raises(GatewayError) as raised:
        action(*args)
    failed = raised.value.info
    assert failed.kind == "invalid_request"
    assert failed.status == 400
    return failed.message, failed.param


def test_each_accessor_takes_its_own_type_and_names_any_other():
    for accessor, good, bad in [
        ("string", "x", 1),
        ("string", "", []),
        ("integer", 3, 3.0),
        ("integer", 0, True),
        ("integer", 10**30, "3"),
        ("number", 0.5, "0.5"),
        ("number", 1, True),
        ("boolean", False, 0),
        ("array", [], {}),
        ("object", {}, []),
    ]:
        with case((accessor, good, bad)):
            fields = Fields({"good": good, "bad": bad, "null": None}, "messages[1]")
            taken = getattr(fields, accessor)("good")
            assert (taken.data if accessor == "object" else taken) == good
            message, param = complaint(getattr(fields, accessor), "bad")
            assert param == "messages[1].bad"
            assert message.startswith("messages[1].bad must be a")
            assert getattr(fields, accessor)("null") is None
            assert getattr(fields, accessor)("absent") is None


def test_an_integer_read_as_a_number_stays_an_integer():
    taken = Fields({"temperature": 1}).number("temperature")
    assert taken == 1
    assert isinstance(taken, int)


def test_a_member_of_the_wrong_type_counts_as_read():
    fields = Fields({"a": 1})
    with pytest.raises(GatewayError):
        fields.string("a")
    assert fields.unread() == []


@each_row("path, form", [("seed", "seed"), ("a[0].b[12].c", "a[].b[].c"), ("a[x]", "a[x]"), ("a[]", "a[]")])
def test_the_report_has_no_indices(path, form):
    assert generic_path(path) == form


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_reading_nothing_reports_everything_that_is_there(data):
    assert Fields(data).unread() == [name for name in data if data[name] is not None]


@given(st.text())
def test_the_form_of_a_path_is_stable(path):
    assert generic_path(generic_path(path)) == generic_path(path)
    assert not re.search(r"\[\d+\]", generic_path(path))
