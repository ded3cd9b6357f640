"""Whole answers of each API whose token counts have a wrong type."""

import json
from typing import Any, Final

from tests.support.upstreams import ANSWERS, JSON, Raw, Script

ODD_USAGES: Final[tuple[Any, ...]] = ([1], [{}], "many", 5, True)
"""Values of the member that should have an object with counts."""

SCRIPT: Final = Script(text="The answer is 42.")


def whole_with_usage(api: str, usage: Any) -> Raw:
    """Return a whole answer of ``api`` with ``usage`` in place of its counts."""
    answer = ANSWERS[api](SCRIPT, "up")
    member = "usageMetadata" if api == "gemini" else "usage"
    assert member in answer
    return Raw(200, JSON, (json.dumps({**answer, member: usage}).encode(),))
