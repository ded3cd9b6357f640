"""Tables that pages of the documentation have from the code, each under a heading of its own."""

import re
from collections.abc import Mapping


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """``text`` with the first table under each heading as it should be; ``tables`` are Markdown by heading."""
    for heading, table in tables.items():
        found = re.search(rf"^## {re.escape(heading)}\n(?:(?!## |\|).*\n)*((?:\|.*\n)*)", text, re.M)
        assert found is not None, f"the page has no heading {heading}"
        text = f"{text[: found.start(1)]}{table}\n{text[found.end(1) :]}"
    return text
