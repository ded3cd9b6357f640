"""Reasoning details (OpenRouter's form), put together from their streamed pieces."""

from collections.abc import Mapping
from typing import Any

from providers.chat.reading.values import text_of

_JOINED = {"reasoning.text": "text", "reasoning.summary": "summary"}  # what grows piece by piece, by type


def readable(detail: Mapping[str, Any]) -> str:
    """The text in one of the ``reasoning_details``, "" where it has none."""
    member = _JOINED.get(text_of(detail.get("type")))
    return text_of(detail.get(member)) if member else ""


class Details:
    """``reasoning_details`` put together again, as they must go back on the next turn.

    A piece continues the one before it if type and index agree; its text is appended, its other members replace."""

    def __init__(self) -> None:
        self._items: list[tuple[dict[str, Any], list[str]]] = []

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, detail: Mapping[str, Any]) -> None:
        """Take one piece in."""
        text = readable(detail)
        if detail.get("type") in _JOINED and self._items and _same(self._items[-1][0], detail):
            item, pieces = self._items[-1]
            item.update((name, value) for name, value in detail.items() if value is not None)
            pieces.append(text)
        else:
            self._items.append((dict(detail), [text]))

    def take(self) -> list[dict[str, Any]]:
        """The details so far; the next ones begin anew."""
        for item, pieces in self._items:
            member = _JOINED.get(text_of(item.get("type")))
            if member and (member in item or any(pieces)):
                item[member] = "".join(pieces)
        items = [item for item, _ in self._items]
        self._items = []
        return items


def _same(item: Mapping[str, Any], detail: Mapping[str, Any]) -> bool:
    return item.get("type") == detail.get("type") and item.get("index") == detail.get("index")
