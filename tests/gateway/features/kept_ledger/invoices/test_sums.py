"""For any invoice and any ledger, the sums are exact to the last digit."""

from datetime import date, timedelta
from decimal import Decimal, localcontext

from hypothesis import given
from hypothesis import strategies as st

from gateway.features.kept_ledger.commands.reconcile import as_table
from gateway.features.kept_ledger.invoices.comparison import Tolerance, compare
from gateway.features.kept_ledger.invoices.formats import as_csv, as_json
from gateway.features.kept_ledger.invoices.line import InvoiceLine
from gateway.features.kept_ledger.invoices.sums import CellKey, Invoice, OwnSide, OwnUsage

FIRST = date(2026, 10, 1)
DAYS = st.integers(0, 3).map(lambda number: FIRST + timedelta(days=number))
MODELS = st.sampled_from(["m-large", "m-small", "m-other"])
USD = st.decimals(min_value=-100, max_value=10**6, places=9)
OWN_USD = st.decimals(min_value=0, max_value=10**6, places=9)
COUNT = st.integers(0, 10**9).map(Decimal)

LINES = st.builds(
    lambda day, **more: InvoiceLine(provider="mistral", day=day, since=day or FIRST, **more),
    day=DAYS | st.none(),
    usd=USD | st.none(),
    model=MODELS | st.none(),
    tokens=COUNT | st.none(),
    is_credit=st.sampled_from([False, False, False, True]),
    fee=st.sampled_from([None, None, None, "web_search"]),
)
OWN_USAGE = st.builds(
    lambda usd, is_unpriced, tokens, requests: OwnUsage(
        usd, tokens, requests, requests * is_unpriced
    ),
    OWN_USD, st.booleans(), COUNT, st.integers(1, 10**6).map(Decimal),
)  # fmt: skip
CELLS = st.builds(CellKey, st.just("mistral"), DAYS, MODELS)
SIDES = st.builds(
    OwnSide,
    usage=st.dictionaries(CELLS, OWN_USAGE, max_size=6),
    names=st.just({("mistral", "m-large"): "m-large", ("mistral", "m-small"): "m-small"}),
)


@given(own=SIDES, lines=st.lists(LINES, max_size=8))
def test_days_add_up_to_the_difference(own, lines):
    with localcontext(prec=100):
        invoice = Invoice(own, FIRST, FIRST + timedelta(days=4))
        for line in lines:
            invoice.add(line)
        found = compare(invoice, Tolerance(), [])
        for row in found.rows:
            assert row.difference == row.billed - row.own
            assert not row.days or sum((cell.difference for cell in row.days), Decimal(0)) == row.difference
            assert row.causes.get("past_gateway", Decimal(0)) >= 0
        billed = sum((line.usd or Decimal(0) for line in lines), start=Decimal(0))
        assert found.total.billed + invoice.coarse[1] == billed
        for write in (as_table, as_csv, as_json):
            assert write(found)
