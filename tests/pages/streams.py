"""The table of states in ``docs/streams.md``, from the table that streams follow.

``python -m tests.pages.streams`` writes it; ``tests/docs/test_streams.py`` keeps it true.
"""

from gateway.exchange.delivery import TRANSITIONS
from tests.pages.tables import with_tables
from tests.support.repository import ROOT

PAGE = ROOT / "docs/streams.md"


def tables() -> dict[str, str]:
    """Return the table under each heading."""
    rows = [
        f"| {state} | {trigger} | {reaction} | {after} |"
        for state, row in TRANSITIONS.items()
        for trigger, (reaction, after) in row.items()
    ]
    head = ("| state | event | the gateway | next state |", "|---|---|---|---|")
    return {"The states of a stream": "\n".join((*head, *rows))}


def page(text: str) -> str:
    """Return ``text`` with its present tables."""
    return with_tables(text, tables())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
