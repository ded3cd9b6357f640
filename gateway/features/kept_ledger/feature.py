"""The row of the kept ledger, with costs and invoices."""

from typing import Final

from gateway.seams.feature import Feature

FEATURE: Final = Feature(
    "kept_ledger",
    "after the observers that may hold an exchange: it stores what is settled",
)
