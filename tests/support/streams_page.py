"""The tables of ``docs/streams.md``, whose cells are test cases."""

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs

from tests.support.apis import OLDER
from tests.support.covering import covering_rows
from tests.support.each_row import each_row
from tests.support.harness import ROOT

Test = TypeVar("Test", bound=Callable[..., Any])

TRANSLATED = {"chat": "messages", "messages": "responses", "responses": "chat"}
"""The API of a provider whose answers are translated for a client of another API."""

PAGE = (ROOT / "docs" / "streams.md").read_text()


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table under ``heading``, without its head."""
    text = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


LEAVING, ENDING = "When the client disconnects", "When the process ends"


@attrs.frozen
class Row:
    """One row of the tables about actions of a client or the process."""

    what: str
    call: str
    gets: str
    sees: str
    ledger: str


def gets_of(cell: str, api: str) -> str:
    """Return what a client of ``api`` gets: a cell may list exceptions, as in ``a; Messages, Responses: b``."""
    usual, *others = cell.split("; ")
    named = [other.partition(": ") for other in others]
    return next((text for apis, _, text in named if api.capitalize() in apis.split(", ")), usual)


ROWS = {cells[0]: Row(*cells) for heading in (LEAVING, ENDING) for cells in table(heading)}


@attrs.frozen
class Cell:
    """The expectation of a row for one request from a client of ``api`` to a provider of ``model_api``."""

    api: str
    model_api: str
    stream: bool
    gets: str
    sees: str
    ledger: str

    @property
    def form(self) -> str:
        lane = "byte" if self.api == self.model_api else "hub"
        return f"{lane}-{'stream' if self.stream else 'whole'}"

    @property
    def id(self) -> str:
        return f"{self.api}-{self.form}"

    def check_line(self, line: dict[str, Any]) -> None:
        """Compare the ledger's line with the page: its status, ``ended``, and the kind of error if there is one."""
        status, ended, *error = self.ledger.replace("`", "").split(", ")
        assert str(line["status"]) in status.split(" or "), line
        assert (line["ended"], line.get("error")) == (ended, error[0] if error else None), line


def cells(what: str) -> list[Cell]:
    """Return all cells of the row ``what``, in both lanes. If the call is "–", neither it nor the lane is known yet."""
    row = ROWS[what]
    lanes = ("byte",) if row.call == "–" else ("byte", "hub")
    calls = {"both": (True, False), "stream": (True,), "whole": (False,), "–": (True,)}[row.call]
    return [
        Cell(api, api if lane == "byte" else TRANSLATED[api], stream, gets_of(row.gets, api), row.sees, row.ledger)
        for api in OLDER
        for lane in lanes
        for stream in calls
    ]


def cell_rows(what: str, **others: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Return all cells of the row ``what``, each with values of ``others``, so that every two values meet."""
    found = cells(what)
    forms = list(dict.fromkeys(cell.form for cell in found))
    by_form = {(cell.api, cell.form): cell for cell in found}
    return [(by_form[api, form], *values) for api, form, *values in covering_rows(OLDER, forms, *others.values())]


def shows(what: str, **others: Sequence[Any]) -> Callable[[Test], Test]:
    """Run the decorated test with each cell of the row ``what``, as its argument ``cell``, and values of ``others``."""
    rows = cell_rows(what, **others)
    ids = [", ".join((cell.id, *map(str, values))) for cell, *values in rows]
    return each_row(["cell", *others], rows, ids=ids)


def names_of_tests(what: str, source: str) -> Sequence[str]:
    """Return the names of the tests in ``source`` with the decorator ``shows(what)``."""
    return re.findall(
        rf'^@shows\("{re.escape(what)}"(?:, .*)?\)\n(?:@.*\n)*(?:async )?def (\w+)\(', source, re.MULTILINE
    )
