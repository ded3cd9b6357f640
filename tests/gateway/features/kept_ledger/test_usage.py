"""The usage query over the kept ledger: equal questions have equal sums, and people have labels."""

import csv
import io
import random
from datetime import UTC, datetime
from typing import get_args

import pytest

from gateway.features.kept_ledger.table import TooManySums
from gateway.features.kept_ledger.usage import By, UsageQuery, read_usage
from gateway.features.kept_ledger.usage_formats import as_csv, as_json
from tests.support.features import needs_feature
from tests.support.ledger_lines import AT, DAY, attempt, line, random_line

EVER = {"since": datetime(2026, 1, 1, tzinfo=UTC), "until": datetime(2027, 1, 1, tzinfo=UTC)}


@pytest.mark.parametrize("by", get_args(By))
async def test_the_sums_of_every_column_are_the_nano_dollars_of_the_lines(table, by):
    draw = random.Random(11)
    lines = [random_line(draw) for _ in range(200)]
    await table.add(list(enumerate(lines)))
    found = await read_usage(table, UsageQuery(by=(by,), **EVER), {"alice": "Alice", "ben": "Ben"})
    assert found.total.sum.nanos == sum(one.nanos for line in lines for one in line.attempts)
    assert sum(row.sum.nanos for row in found.rows) == found.total.sum.nanos


async def test_people_appear_by_name_and_label(table):
    lines = [line(attempt(1), client="okta:1"), line(attempt(2), client="okta:2"), line(attempt(4), client="ci")]
    await table.add(list(enumerate(lines)))
    labels = {"okta:1": "=ann@x.example", "okta:2": "=ann@x.example"}
    found = await read_usage(table, UsageQuery(by=("key",), **EVER), labels)
    assert [(row.by, found.label_of(row)) for row in found.rows] == [
        (("ci",), None), (("okta:2",), "=ann@x.example"), (("okta:1",), "=ann@x.example"),
    ]  # fmt: skip
    assert '"label": "=ann@x.example"' in as_json(found)
    by_label = await read_usage(table, UsageQuery(by=("label",), **EVER), labels)
    assert [(row.by, row.sum.nanos) for row in by_label.rows] == [((None,), 4), (("=ann@x.example",), 3)]
    both = as_csv(await read_usage(table, UsageQuery(by=("key", "label", "month"), **EVER), labels)).splitlines()
    assert both[0].startswith("key,label,month,requests,failed,input,cached,output,usd,grade")
    assert both[2].startswith("okta:2,'=ann@x.example,2026-09,1,0,16,5,7,0.000000002,exact")


HOSTILE = (
    "=1+1", "+1", "-1", "@x", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20x", "x;=1+1;y", "x\t=1+1", "x\n=1+1",
    'x";=1+1;"y', "x,=1", '"=1+1', "=cmd|' /C calc'!A0", "x;=cmd|' /C calc'!A0;y",
)  # fmt: skip


@pytest.mark.parametrize("separator", [",", ";", "\t"])
async def test_no_text_is_a_formula_in_any_spreadsheet(table, separator):
    """https://owasp.org/www-community/attacks/CSV_Injection"""
    lines = [line(attempt(1), client=f"okta:{i}", run=f"ann/{text}") for i, text in enumerate(HOSTILE)]
    await table.add(list(enumerate(lines)))
    labels = {f"okta:{i}": text for i, text in enumerate(HOSTILE)}
    text = as_csv(await read_usage(table, UsageQuery(by=("label", "key", "run"), **EVER), labels))
    rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    assert len(rows) == 1 + len(HOSTILE)
    cells = [cell for row in rows for cell in row]
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))]


async def test_a_query_sees_only_the_clients_that_it_names(table):
    draw = random.Random(12)
    lines = [random_line(draw) for _ in range(200)]
    await table.add(list(enumerate(lines)))
    for by in ((), ("model",), ("day", "group"), ("label",)):
        found = await read_usage(table, UsageQuery(by=by, only={"key": ("alice",)}, **EVER))
        own = [one for line in lines if line.client == "alice" for one in line.attempts]
        assert found.total.sum.nanos == sum(one.nanos for one in own)
    nobody = await read_usage(table, UsageQuery(by=("key",), only={"key": ()}, **EVER))
    assert nobody.rows == ()


async def test_single_requests_are_listed_with_the_providers_ids(table):
    lines = [
        line(attempt(1, upstream_id="up-1", reason="overloaded"), attempt(2, upstream_id="up-2"), request="a"),
        line(attempt(4), request="b"),
    ]
    before = await read_usage(table, UsageQuery(by=("upstream_request_id",), **EVER))
    assert before.rows == (), "a ledger of 0.2 has no table of ids"
    await table.add(list(enumerate(lines)))
    await table.add(list(enumerate(lines)))
    found = await read_usage(table, UsageQuery(by=("request_id", "upstream_request_id"), **EVER))
    assert [(row.by, row.sum.nanos) for row in found.rows] == [
        (("b", None), 4), (("a", "up-2"), 2), (("a", "up-1"), 1),
    ]  # fmt: skip
    one = await read_usage(table, UsageQuery(by=("request_id",), only={"upstream_request_id": ("up-1",)}, **EVER))
    assert [(row.by, row.sum.nanos) for row in one.rows] == [(("a",), 1)]
    await table.shrink(AT + 1, 10)
    gone = await read_usage(table, UsageQuery(by=("upstream_request_id",), **EVER))
    assert gone.rows == (), "ids leave with their lines"


async def test_ids_leave_with_lines_that_become_sums(table):
    lines = [line(attempt(1, upstream_id=f"up-{place}"), began=AT + place * DAY) for place in range(9)]
    await table.add(list(enumerate(lines)))
    await table.shrink(0, 4)
    found = await read_usage(table, UsageQuery(by=("upstream_request_id",), **EVER))
    assert {row.by[0]: row.sum.nanos for row in found.rows} == {
        None: 5, "up-5": 1, "up-6": 1, "up-7": 1, "up-8": 1,
    }  # fmt: skip


@needs_feature("people")
async def test_labels_are_the_names_of_people_in_the_same_storage(table, open_database):
    from gateway.features.people.records import SeenPerson  # which may be deleted
    from gateway.features.people.store import PeopleStore

    await table.add([(1, line(attempt(1), client="okta:1")), (2, line(attempt(2), client="ci"))])
    query = UsageQuery(by=("key",), **EVER)
    assert (await read_usage(table, query)).labels == {}, "nobody has signed in yet"
    store = PeopleStore(open_database())
    await store.note_people((SeenPerson("okta:1", "okta", "ann@x.example", {}, None, "user", 1.0, 1.0),))
    await store.database.aclose()
    found = await read_usage(table, query)
    assert [(row.by[0], found.label_of(row)) for row in found.rows] == [("ci", None), ("okta:1", "ann@x.example")]


async def test_a_report_has_a_bound(table):
    """Clients choose the names of runs, so they choose the number of rows."""
    lines = [line(attempt(1), began=AT + place * DAY, run=f"run {place}") for place in range(9)]
    await table.add(list(enumerate(lines)))
    for by in (("run",), ("day", "run"), ("day",)):
        assert len((await read_usage(table, UsageQuery(by=by, most_rows=9, **EVER))).rows) == 9
        with pytest.raises(TooManySums, match="more than 8 rows"):
            await read_usage(table, UsageQuery(by=by, most_rows=8, **EVER))
