"""Writes the table of paths in ``docs/admin-api.md`` from the table that serves them.

Run ``.venv/bin/python -m tests.pages.admin`` after a change of the table.
"""

from typing import Final

from gateway.features.admin.paths import PREFIXES
from gateway.features.admin.table import ROLES
from tests.pages.tables import table, with_headed_tables
from tests.support.admin import EVERY_ROUTE
from tests.support.repository import ROOT

PAGE: Final = ROOT / "docs" / "admin-api.md"
HEAD: Final = ("request", "roles", "effect")


def paths() -> str:
    """Return the table of paths."""
    rows = []
    for route in sorted(EVERY_ROUTE, key=lambda route: PREFIXES.index(f"/{route.steps[0]}")):
        roles = "people" if route.of_person else "all" if len(route.roles) == len(ROLES) else ""
        roles = roles or ", ".join(role for role in ROLES if role in route.roles)
        rows.append((f"`{route.verb} {route.path}`", roles, route.summary))
    return table(HEAD, rows)


def page(text: str) -> str:
    """Return ``text`` with the present table. Raises ``LookupError`` if it is missing."""
    return with_headed_tables(text, paths())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
