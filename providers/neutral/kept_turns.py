"""Stored turns: JSON ``{"status", "input": [items], "output": [items]}``. Earlier items are in other turns."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from streams.surrogates import NOT_JSON

WITHOUT_ANSWER: Final = ("failed", "cancelled", "queued", "in_progress")
"""Statuses of turns without an answer, which no turn can continue from."""


class KeptTurn(msgspec.Struct):
    status: str = "completed"
    input: list[dict[str, Any]] = []
    output: list[dict[str, Any]] = []


def answered_turns(chain: Iterable[bytes]) -> list[KeptTurn]:
    """Return the turns with an answer in ``chain``. Raises ``ValueError`` for a damaged turn."""
    try:
        turns = [msgspec.json.decode(body, type=KeptTurn) for body in chain]
    except NOT_JSON as error:
        raise ValueError(f"a kept turn is damaged: {error}") from None
    return [turn for turn in turns if turn.status not in WITHOUT_ANSWER]
