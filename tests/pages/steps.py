"""The tables of the built-in kinds in ``docs/steps-reference.md``, from their settings and rows.

``python -m tests.pages.steps`` writes them; ``tests/docs/test_steps.py`` keeps them true.
"""

from configfile.keys import keys_of
from gateway.steps.kinds import KINDS, national_ids, secret_formats
from tests.pages.configuration import spell_default
from tests.pages.tables import with_tables
from tests.support.repository import ROOT

PAGE = ROOT / "docs/steps-reference.md"


def tables() -> dict[str, str]:
    """Return the table under each heading."""
    settings = [
        (f"`{kind.name}`", f"`{field.name}`", spell_default(field), field.meaning)
        for kind in KINDS.values()
        for field in keys_of(kind.settings_class).values()
    ]
    labels: dict[str, set[str]] = {}
    for row in (*secret_formats.ROWS, *national_ids.ROWS):
        labels.setdefault(row.source, set()).add(row.label)
    formats = sorted((", ".join(f"`{label}`" for label in sorted(found)), f"<{url}>") for url, found in labels.items())
    return {
        "Settings of built-in kinds": _markdown(("kind", "setting", "default", "meaning"), settings),
        "Formats of secrets and national ids": _markdown(("labels", "source"), formats),
    }


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ("| " + " | ".join(cells) + " |" for cells in rows)
    return "\n".join((f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines))


def page(text: str) -> str:
    """Return ``text`` with its present tables."""
    return with_tables(text, tables())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
