"""The tables of the built-in kinds in ``docs/steps.md``, from their settings and rows.

``python -m tests.pages.steps`` writes them; ``tests/docs/test_steps.py`` keeps them true.
"""

from configfile.keys import keys_of
from gateway.steps.kinds import KINDS, national_ids, secret_formats
from tests.pages.configuration import spell_default
from tests.pages.tables import with_tables
from tests.support.repository import ROOT

PAGE = ROOT / "docs/steps.md"


def tables() -> dict[str, str]:
    """Return the table under each heading."""
    settings = [
        (f"`{kind.name}`", f"`{field.name}`", spell_default(field), field.meaning)
        for kind in KINDS.values()
        for field in keys_of(kind.settings_class).values()
    ]
    sources: dict[str, list[str]] = {}
    for row in (*secret_formats.ROWS, *national_ids.ROWS):
        if row.source not in (known := sources.setdefault(row.label, [])):
            known.append(row.source)
    formats = [
        (f"`{label}`", ", ".join(f"[{i + 1}]({one})" for i, one in enumerate(found)))
        for label, found in sorted(sources.items())
    ]
    return {
        "Settings of built-in kinds": _markdown(("kind", "setting", "default", "meaning"), settings),
        "Formats of secrets and national ids": _markdown(("label", "sources"), formats),
    }


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = ("| " + " | ".join(cells) + " |" for cells in rows)
    return "\n".join((f"| {' | '.join(head)} |", "|" + "---|" * len(head), *lines))


def page(text: str) -> str:
    """Return ``text`` with its present tables."""
    return with_tables(text, tables())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
