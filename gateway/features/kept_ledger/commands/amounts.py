"""Numbers and dollars in reports."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.commands.terminal import wrap_sentences
from gateway.viewing.money import SIGNS, dollars, short_dollar_text
from providers.catalog.prices import Grade, grade_at

MEANINGS: Final[Mapping[Grade, str]] = {
    "estimated": "~ estimated: token counts or prices are estimates",
    "at_least": "≥ lower bound: token counts or prices of some requests are unknown",
}
"""Notes below a table with such signs."""


def money_cell(nanos: int, grade: int | None) -> str:
    """Return nano-dollars as dollars, with the sign of the grade of this rank."""
    return ("" if grade is None else SIGNS[grade_at(grade)]) + dollar_text(nanos)


def dollar_text(nanos: int) -> str:
    """Return nano-dollars as dollars for readers."""
    return short_dollar_text(dollars(nanos))


NO_NAME: Final = "(none)"
"""The name of the row of all requests without one, in columns where a reader expects each request to have one."""

NO_NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("key", "client"), f"{NO_NAME}: these requests had no client key. Set client_keys to tell people "
                                       "and programs apart"),
    "project": f"{NO_NAME}: these requests had no x-trigate-project. trigate connect CLIENT -- sends the name of the "
               "repository; other programs can send one, too",
}  # fmt: skip
"""The reason for ``NO_NAME``, by the column of a report."""


def why_no_names(by: Sequence[str], rows: Iterable[Sequence[str | None]]) -> list[str]:
    """Return the reasons for ``NO_NAME`` in the columns ``by`` of ``rows``, for a terminal."""
    lacking = {name for row in rows for name, value in zip(by, row, strict=True) if value is None}
    return wrap_sentences(dict.fromkeys(NO_NAMES[name] for name in by if name in lacking and name in NO_NAMES))


def name_cell(column: str, name: str | None) -> str:
    """Return the value of a report's ``column`` by which it is grouped."""
    return name if name is not None else NO_NAME if column in NO_NAMES else "-"
