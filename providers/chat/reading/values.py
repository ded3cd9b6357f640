"""Members of a Chat answer, of which nothing is taken on trust."""

from typing import Any

from providers.neutral.bounds import bounded


def text_of(value: Any) -> str:
    """A string, "" for anything else."""
    return value if isinstance(value, str) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in an array; nothing for anything else. Raises ``TooMuch`` for an array that is too long."""
    if not isinstance(value, list | tuple):
        return []
    return [item for item in bounded(value, "elements of an array") if isinstance(item, dict)]
