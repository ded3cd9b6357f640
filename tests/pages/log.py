"""The tables in ``docs/log.md``, from the rows that say what each field means.

``python -m tests.pages.log`` writes them; ``tests/docs/test_log.py`` keeps them true.
"""

from gateway.logs.fields import AUDITED, ENDED, EVENTS, EXCHANGE, OTHER, TRIED, Field
from tests.pages.tables import with_tables
from tests.support.repository import ROOT

PAGE = ROOT / "docs/log.md"


def tables() -> dict[str, str]:
    """The table under each heading."""
    ended = [f"| `{word}` | {shown} | {meaning} |" for word, (shown, meaning) in ENDED.items()]
    events = [f"| `{word}` | {fields} | {meaning} |" for word, (fields, meaning) in EVENTS.items()]
    return {
        "Exchanges": _fields(EXCHANGE),
        "Attempts": _fields(TRIED),
        "How it ended": "\n".join(("| `ended` | on a terminal | |", "|---|---|---|", *ended)),
        "Everything else": _fields(OTHER),
        "Audit": "\n".join(("| `event` | with | |", "|---|---|---|", *events)),
        "Fields of the audit": _fields(AUDITED),
    }


def _fields(rows: tuple[Field, ...]) -> str:
    lines = [f"| `{row.name}` | {row.unit} | {row.when} | {row.meaning} |" for row in rows]
    return "\n".join(("| field | unit | there when | meaning |", "|---|---|---|---|", *lines))


def page(text: str) -> str:
    """``text`` with its tables as they should be."""
    return with_tables(text, tables())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
