"""Values in LiteLLM's files, as YAML reads them and LiteLLM converts them."""

import re
from datetime import date
from typing import Any, Final

from gateway.commands.imported import literal

ENVIRONMENT: Final = "os.environ/"


def says_nothing(value: Any) -> bool:
    """Return True for a value by which a setting is off."""
    return value in (None, False, 0, "", [], {})


def text_of(value: Any) -> str | None:
    """Return ``value`` as our file has it: its variables in our syntax, other dollar signs doubled. YAML reads a text
    such as ``2024-10-21`` as a date unless it is quoted."""
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
        return None
    text = str(value)
    return f"${text.removeprefix(ENVIRONMENT)}" if text.startswith(ENVIRONMENT) else literal(text)


def number_of(value: Any) -> float | int | None:
    """Return ``value`` as a finite number, also where the file has it as a text: LiteLLM converts that, too."""
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,15}(\.[0-9]{1,9})?\s*", value):
        value = float(value) if "." in value else int(value)
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**15
    return value if good else None


def positive(value: Any) -> float | None:
    """Return ``value`` as a number of at least a thousandth, below 10⁹."""
    number = number_of(value)
    return float(number) if number is not None and 0.001 <= number < 10**9 else None


def timeouts_of(value: Any) -> dict[str, str]:
    """Return the timeouts for LiteLLM's one limit, which is for every wait of its HTTP client: for a response that
    comes as a whole, and for each piece of a stream (https://docs.litellm.ai/docs/proxy/timeout)."""
    seconds = positive(value)
    return {} if seconds is None else {"first_byte": f"{seconds:g}s", "idle": f"{seconds:g}s"}
