"""Access to a client's JSON: every mistake has its place, and every unread member is listed."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.neutral.fields import Drops, Fields, expect, generic_path, join_path
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


def test_paths_are_parsed():
    assert join_path("", "model") == "model"
    assert join_path("messages", 2) == "messages[2]"
    assert join_path("messages[2]", "content") == "messages[2].content"


def test_each_accessor_accepts_its_own_type_and_reports_any_other():
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


def test_an_error_states_the_expected_and_the_actual_type():
    assert complaint(expect, "x", int, "n") == ("n must be an integer, not a string", "n")
    assert complaint(expect, None, dict, "a[0]") == ("a[0] must be an object, not null", "a[0]")
    assert complaint(expect, True, float, "t") == ("t must be a number, not a boolean", "t")


def test_an_integer_read_as_a_number_stays_an_integer():
    taken = Fields({"temperature": 1}).number("temperature")
    assert taken == 1
    assert isinstance(taken, int)


@each_row("data", [{}, {"role": None}])
def test_a_missing_required_member_is_reported(data):
    assert complaint(Fields(data, "messages[0]").need, "role", str) == (
        "messages[0].role is required",
        "messages[0].role",
    )


def test_a_required_member_of_the_wrong_type_is_reported():
    assert complaint(Fields({"messages": "hi"}).need, "messages", list)[1] == "messages"


def test_objects_of_an_array_know_their_place():
    elements = list(Fields({"tools": [{"a": 1}, {"b": 2}]}).objects("tools"))
    assert [element.at for element in elements] == ["tools[0]", "tools[1]"]
    assert elements[1].integer("b") == 2
    assert list(Fields({}).objects("tools")) == []
    assert complaint(list, Fields({"tools": [{}, 5]}).objects("tools"))[1] == "tools[1]"


def test_unread_members_are_reported_in_order_without_nulls():
    fields = Fields({"z": 1, "read": 2, "n": None, "a": 3, "skip": 4, "obj": {"in": 1}}, "x")
    fields.value("read")
    fields.ignore("skip", "absent")
    inner = fields.object("obj")
    assert fields.unread() == ["x.z", "x.a"]
    assert inner.unread() == ["x.obj.in"]


def test_a_member_of_the_wrong_type_counts_as_read():
    fields = Fields({"a": 1})
    with pytest.raises(GatewayError):
        fields.string("a")
    assert fields.unread() == []


def test_drops_name_each_path_once_and_in_order():
    drops = Drops(["messages[0].name"])
    drops.add("messages[12].name", "seed")
    drops.add_unread(Fields({"b": 1, "a": None}, "tools[3]"))
    drops.add("seed")
    assert drops.paths() == ("messages[].name", "seed", "tools[].b")


@each_row("path, form", [("seed", "seed"), ("a[0].b[12].c", "a[].b[].c"), ("a[x]", "a[x]"), ("a[]", "a[]")])
def test_the_report_has_no_indices(path, form):
    assert generic_path(path) == form


@given(st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.integers())))
def test_reading_nothing_reports_all_members(data):
    assert Fields(data).unread() == [name for name in data if data[name] is not None]


@given(st.text())
def test_the_form_of_a_path_is_stable(path):
    assert generic_path(generic_path(path)) == generic_path(path)
    assert not re.search(r"\[\d+\]", generic_path(path))
