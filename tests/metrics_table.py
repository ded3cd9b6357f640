"""The tables in ``docs/metrics.md``, from the rows that the metrics are made of.

``python tests/metrics_table.py`` writes them; ``tests/test_metrics.py`` keeps them true.
"""

import re
from pathlib import Path

from gateway.observing.metrics import LABELS, ROWS

PAGE = Path(__file__).parent.parent / "docs/metrics.md"
TYPES = {"counter": "counter", "histogram": "histogram", "sum": "gauge", "greatest": "gauge"}


def tables() -> dict[str, str]:
    """The table under each heading."""
    metrics = [
        f"| `{row.name}` | {TYPES[row.kind]} | {' '.join(f'`{name}`' for name in row.labels)} | {row.meaning} |"
        for row in ROWS
    ]
    labels = [f"| `{name}` | {meaning} |" for name, meaning in LABELS.items()]
    return {
        "Each metric": "\n".join(("| metric | type | labels | meaning |", "|---|---|---|---|", *metrics)),
        "Labels": "\n".join(("| label | values |", "|---|---|", *labels)),
    }


def page(text: str) -> str:
    """``text`` with its tables as they should be."""
    for heading, table in tables().items():
        found = re.search(rf"^## {heading}\n(?:(?!## |\|).*\n)*((?:\|.*\n)*)", text, re.M)
        assert found is not None, f"docs/metrics.md has no heading {heading}"
        text = f"{text[: found.start(1)]}{table}\n{text[found.end(1) :]}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
