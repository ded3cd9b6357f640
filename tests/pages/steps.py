"""The labels of secrets and national ids in ``docs/steps-reference.md``, from their rows.

``python -m tests.pages.steps`` writes them; ``tests/gateway/features/steps/test_page.py`` keeps them true.
"""

import re
import textwrap

from gateway.features.steps.kinds import numbers, secret_formats
from tests.support.repository import ROOT

PAGE = ROOT / "docs/steps-reference.md"
HEADING = "## Formats of secrets and national ids\n\n```text\n"


def page(text: str) -> str:
    """Return ``text`` with the present labels."""
    labels = sorted({row.label for row in (*secret_formats.ROWS, *numbers.NATIONAL)})
    shown = textwrap.fill(" ".join(labels), 120, break_long_words=False)
    return re.sub(rf"({HEADING})[^`]+", lambda match: f"{match[1]}{shown}\n", text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
