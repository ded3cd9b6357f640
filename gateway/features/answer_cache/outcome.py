"""The outcome of the response cache for an exchange: its note in the record."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from gateway.ledger.bill import Bill
from gateway.ledger.record import Note, Record
from providers.catalog.prices import NANOS

CacheOutcome: TypeAlias = Literal["hit", "joined", "miss", "bypass", "off"]
"""The outcome of the response cache. ``joined``: an answer that continued without its client. ``bypass``: the request
skipped the cache. ``off``: the cache is disabled for this client and this name."""

NOTE: Final = "answer_cache"
"""The name of the notes in records."""


class CacheNote(Note):
    """The ``outcome``, and the ``age``: the number of seconds since the provider created the cached response."""

    def __init__(self, outcome: CacheOutcome, age: int | None = None) -> None:
        self._outcome = outcome
        self._age = age
        self.forbids_storing = outcome != "off"
        self.shares_attempts = outcome == "miss"

    def headers(self) -> Mapping[str, str | None]:
        return {"x-trigate-cache": self._outcome, "age": None if self._age is None else str(self._age)}

    def fields(self, bill: Bill) -> Mapping[str, Any]:
        if self._outcome == "off":
            return {}
        return {"cache": self._outcome, **(_saved_fields(bill, self._age) if bill.from_cache else {})}


OFF: Final = CacheNote("off")


def mark_hit(record: Record, age: int, *, joined: bool = False) -> None:
    """Mark the response as cached, or as ``joined``. ``age`` is as in ``CacheNote``."""
    record.add_note(NOTE, CacheNote("joined" if joined else "hit", age))
    record.bill.from_cache = True


def unmark_hit(record: Record) -> None:
    """Remove the mark of a cached response that cannot be used."""
    record.remove_note(NOTE)
    record.bill.from_cache = False


def _saved_fields(bill: Bill, age: int | None) -> Mapping[str, Any]:
    """Return the fields about a response from the cache."""
    saved = bill.saved_charge()
    return {
        "cache_age_s": age,
        "saved_input_tokens": saved and saved.usage.prompt,
        "saved_output_tokens": saved and saved.usage.output,
        "saved_usd": None if saved is None or saved.cost is None else saved.cost.nanos / NANOS,
    }
