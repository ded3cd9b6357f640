"""Members of a Chat answer, of which nothing is taken on trust."""

from typing import Any


def text_of(value: Any) -> str:
    """A string, "" for anything else."""
    return value if isinstance(value, str) else ""


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in an array; nothing for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list | tuple) else []
