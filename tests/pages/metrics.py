"""Writes the table of metrics in ``docs/metrics.md`` from the rows that define them.

``python -m tests.pages.metrics`` writes it; ``tests/gateway/features/metrics/test_metrics.py`` checks it.
"""

from gateway.features.metrics.rows import ROWS
from tests.pages.tables import with_tables
from tests.support.repository import ROOT

PAGE = ROOT / "docs/metrics.md"
TYPES = {"counter": "counter", "histogram": "histogram", "sum": "gauge", "greatest": "gauge", "latest": "gauge"}


def tables() -> dict[str, str]:
    """Return the table under each heading."""
    metrics = [
        f"| `{row.name}` | {TYPES[row.kind]} | {' '.join(f'`{name}`' for name in row.labels)} | {row.meaning} |"
        for row in ROWS
    ]
    return {"Each metric": "\n".join(("| metric | type | labels | meaning |", "|---|---|---|---|", *metrics))}


def page(text: str) -> str:
    """Return ``text`` with its present tables."""
    return with_tables(text, tables())


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
