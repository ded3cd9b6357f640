"""For any invoice and any ledger, the causes add up to the difference, to the last digit."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from gateway.commands.reconcile_table import as_table
from gateway.invoices.cells import Invoice
from gateway.invoices.comparison import Tolerance, compare
from gateway.invoices.formats import as_csv, as_json
from gateway.invoices.ledger_side import OwnRequest, OwnSide, OwnUsage
from gateway.invoices.line import InvoiceLine, Tokens

FIRST = date(2026, 10, 1)
DAYS = st.integers(0, 3).map(lambda number: FIRST + timedelta(days=number))
MODELS = st.sampled_from(["m-large", "m-small", "m-other"])
USD = st.decimals(min_value=-100, max_value=10**6, places=9)
OWN_USD = st.decimals(min_value=0, max_value=10**6, places=9)
COUNT = st.integers(0, 10**9).map(Decimal)
TOKENS = st.builds(Tokens, input=COUNT, cached=COUNT, cache_write=COUNT, output=COUNT)
IDS = st.none() | st.integers(0, 5).map(lambda number: f"up-{number}")

LINES = st.builds(
    lambda day, **more: InvoiceLine(provider="mistral", day=day, since=day or FIRST, **more),
    day=DAYS | st.none(),
    usd=USD | st.none(),
    model=MODELS | st.none(),
    accounts=st.sampled_from([(), ("a",), ("b",)]),
    tokens=TOKENS | st.none(),
    splits_cache=st.booleans(),
    requests=COUNT | st.none(),
    tier=st.sampled_from([None, "batch"]),
    kind=st.sampled_from(["usage", "usage", "usage", "credit"]),
    fee=st.sampled_from([None, None, None, "web_search"]),
    request_id=IDS,
)
OWN_USAGE = st.builds(
    lambda usd, part, tokens, requests: OwnUsage(
        usd, tokens, requests, estimated=usd if part == "estimated" else Decimal(0),
        unpriced=tokens if part == "unpriced" else Tokens(), unpriced_requests=requests * (part == "unpriced"),
        doubled=usd / 2 if part == "doubled" else Decimal(0),
    ),
    OWN_USD, st.sampled_from(["", "estimated", "unpriced", "doubled"]), TOKENS, st.integers(1, 10**6).map(Decimal),
)  # fmt: skip
PLACES = st.tuples(st.just("mistral"), DAYS, MODELS, st.sampled_from([None, "a"]))
A_TOKEN = {"input": Decimal(2), "cached": Decimal("0.5"), "cache_write": Decimal("2.5"), "output": Decimal(8)}
PRICES = st.dictionaries(st.tuples(st.just("mistral"), MODELS), st.just(A_TOKEN))
SIDES = st.builds(
    OwnSide,
    usage=st.dictionaries(PLACES, OWN_USAGE, max_size=6),
    names=st.just({("mistral", "m-large"): "m-large", ("mistral", "m-small"): "m-small"}),
    prices=PRICES,
    gap_days=st.frozensets(DAYS),
    accounts=st.sampled_from([{}, {"mistral": frozenset(("a",))}]),
    requests=st.dictionaries(
        st.integers(0, 5).map(lambda number: f"up-{number}"),
        st.builds(OwnRequest, PLACES, OWN_USD, st.booleans(), st.booleans()),
        max_size=4,
    ),
)


@given(own=SIDES, lines=st.lists(LINES, max_size=8), hours=st.integers(0, 200))
def test_causes_add_up_to_the_difference(own, lines, hours):
    with localcontext(prec=100):
        invoice = Invoice(own, FIRST, FIRST + timedelta(days=4))
        for line in lines:
            invoice.add(line)
        now = datetime(2026, 10, 2, tzinfo=UTC) + timedelta(hours=hours)
        found = compare(invoice, Tolerance(), now, [])
        for row in (*found.rows, found.total):
            assert sum(row.causes.values(), start=Decimal(0)) == row.difference
            for day in row.days:
                assert sum(day.causes.values(), start=Decimal(0)) == day.billed - day.own
        billed = sum((line.usd or Decimal(0) for line in lines), start=Decimal(0))
        assert not found.rows or found.total.billed == billed
        for write in (as_table, as_csv, as_json):
            assert write(found)
