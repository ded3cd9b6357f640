"""Rejections of the turns of a conversation by Gemini, which requires all results of a turn's calls in the next turn.

Programs write each result of parallel calls into a turn of its own (cloudwego/eino-ext#571,
epam/ai-dial-adapter-vertexai#214, microsoft/semantic-kernel#10597, crewAIInc/crewAI#4693), or put images between
results (google-gemini/gemini-cli#16135). Translated requests have such turns already.
"""

from itertools import groupby
from typing import Any, Final

from providers.errors.words import Words

UNEVEN: Final = Words.of(
    r"Please ensure that the number of function response parts is equal to the number of function call parts of the "
    r"function call turn"
)

_RESULT: Final = "functionResponse", "function_response"
_TOOLS: Final = "functionCall", "function_call", *_RESULT


def join_results(contents: list[Any]) -> list[Any]:
    """Return the ``contents`` of a Gemini request. Successive turns of one side with calls or results are one turn,
    where results are first."""
    return [turn for _, turns in groupby(contents, _side_of) for turn in _join([*turns])]


def _side_of(turn: Any) -> Any:
    """Return which side wrote ``turn``, ``None`` if that is unknown. Older programs call the user of results a
    function."""
    if not isinstance(turn, dict) or not isinstance(turn.get("parts"), list):
        return None
    return "model" if turn.get("role") == "model" else "user"


def _join(turns: list[Any]) -> list[Any]:
    if _side_of(turns[0]) is None:
        return turns
    parts = [part for turn in turns for part in turn["parts"]]
    if not any(_has_one(part, _TOOLS) for part in parts):
        return turns
    return [{**turns[0], "parts": sorted(parts, key=lambda part: not _has_one(part, _RESULT))}]


def _has_one(part: Any, names: tuple[str, ...]) -> bool:
    return isinstance(part, dict) and not part.keys().isdisjoint(names)
