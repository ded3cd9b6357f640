"""The moderation results of an answer in the two forms of OpenAI's APIs (openai-python 3.54, ``Moderation`` in
``types/responses/response.py`` and ``types/chat/chat_completion.py``).

Both are JSON objects with ``input`` and ``output``. Responses has one result for each, Chat a list of them in an
envelope. Errors have the same form in both. ``AnswerEnd`` carries the form of Responses."""

from collections.abc import Callable, Mapping
from typing import Any

SIDES = ("input", "output")


def moderation_from_chat(value: Any) -> dict[str, Any] | None:
    """Return Chat's ``moderation`` in the form of Responses, or None if it has no results."""
    return _with_sides(value, _only_result)


def moderation_for_chat(value: Any) -> dict[str, Any] | None:
    """Return Responses' ``moderation`` in the form of Chat, or None if it has no results."""
    return _with_sides(value, _in_envelope)


def _with_sides(value: Any, change: Callable[[Mapping[str, Any]], Any]) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        return None
    sides = {side: change(value[side]) for side in SIDES if isinstance(value.get(side), dict)}
    return {**value, **sides} if sides else None


def _only_result(side: Mapping[str, Any]) -> Any:
    """Return the first flagged result in the envelope, else the first one."""
    results = side.get("results")
    if not isinstance(results, list):
        return side
    objects = [one for one in results if isinstance(one, dict)]
    return next((one for one in objects if one.get("flagged") is True), objects[0] if objects else None)


def _in_envelope(side: Mapping[str, Any]) -> Any:
    if side.get("type") == "error" or "results" in side:
        return side
    return {"type": "moderation_results", "model": side.get("model") or "", "results": [side]}
