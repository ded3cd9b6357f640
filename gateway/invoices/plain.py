"""Plain CSV: ``day,model,usd`` and optionally the other columns of ``KNOWN``.

``input`` includes the tokens that were read from a cache, as in the CSV of ``trigate costs``."""

from collections.abc import Mapping
from typing import Final

from gateway.invoices.line import (
    InvoiceLine,
    Tokens,
    UnreadableInvoice,
    amount,
    check_currency,
    count,
    date_of,
    text_or_none,
)
from gateway.invoices.model_names import family_of

COLUMNS: Final = frozenset(("day", "model", "usd"))
KNOWN: Final = COLUMNS | {
    "account", "input", "cached", "cache_write", "output", "requests", "request_id", "currency",
}  # fmt: skip


def read_row(row: Mapping[str, str], where: str) -> InvoiceLine:
    """Return the line of a row. Raises ``UnreadableInvoice``."""
    day = date_of(row.get("day"), f"{where}, day")
    check_currency(row.get("currency"), where)
    if (model := text_or_none(row.get("model"))) is None:
        raise UnreadableInvoice(f"{where}, model: empty: write the model that the line is for")
    tokens = None
    if row.get("input") or row.get("output"):
        cached = count(row.get("cached"), f"{where}, cached")
        written = count(row.get("cache_write"), f"{where}, cache_write")
        given = count(row.get("input"), f"{where}, input")
        tokens = Tokens(
            max(given - cached - written, count(0, where)), cached, written, count(row.get("output"), where)
        )
    provider = model.partition("/")[0] if "/" in model else ""
    account = text_or_none(row.get("account"))
    return InvoiceLine(
        provider=family_of(provider),
        day=day,
        since=day,
        usd=amount(row.get("usd"), f"{where}, usd"),
        model=model,
        accounts=() if account is None else (account,),
        tokens=tokens,
        splits_cache="cached" in row,
        requests=count(row["requests"], f"{where}, requests") if row.get("requests") else None,
        request_id=text_or_none(row.get("request_id")),
    )
