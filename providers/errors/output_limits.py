"""Rejections of a token limit above what the model can answer.

Programs request tens of thousands of tokens from every model (deepseek-ai/DeepSeek-V3#69, Gitlawb/openclaude#331,
aws-samples/bedrock-access-gateway#41).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

FLAT: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
NESTED: Final[Mapping[str, str]] = {
    "generationConfig": "maxOutputTokens",
    "generation_config": "max_output_tokens",
    "inferenceConfig": "maxTokens",
}
THINKING: Final = "thinking"

_NUMBER: Final = r"\d{1,9}"
_LIMIT: Final = rf"(?P<limit>{_NUMBER})"
_NAME: Final = r"[`']?max_(?:completion_|output_)?tokens[`']?"
_SENTENCES: Final = (
    # OpenAI, MiMo
    rf"{_NAME} is too large: {_NUMBER}\. This model supports at most {_LIMIT} completion tokens"
    rf"(?:, whereas you provided {_NUMBER})?",
    rf"Invalid {_NAME}: integer above maximum value\. Expected a value <= {_LIMIT}(?:, but got {_NUMBER} instead)?",
    # DeepSeek, Qwen
    rf"Invalid {_NAME} value, the valid range of {_NAME} is \[1, {_LIMIT}\]",
    rf"(?:<400> InternalError\.Algo\.InvalidParameter: )?Range of {_NAME} should be \[1, {_LIMIT}\]",
    # Groq, Zhipu
    rf"{_NAME} must be less than or equal to `?{_LIMIT}`?"
    rf"(?:, the maximum value for {_NAME} is less than the `context_window` for this model)?",
    rf"{_NAME} should be less or equal to {_LIMIT}",
    # Anthropic, Bedrock
    rf"{_NAME}: {_NUMBER} > {_LIMIT}, which is the maximum allowed number of output tokens(?: for [\w.:\-]{{1,100}})?",
    rf"The maximum tokens you requested exceeds? the model limit of {_LIMIT}"
    rf"(?:\. Try again with a maximum tokens value that is lower than {_NUMBER})?",
    # Doubao
    rf"The parameter {_NAME} specified in the request are not valid: integer above maximum value, expected a value <= "
    rf"{_LIMIT}, but got {_NUMBER} instead(?:\. Request id: \w{{1,100}})?",
)
_PATTERNS: Final = tuple(map(re.compile, _SENTENCES))


def find_output_limit(message: str) -> int | None:
    """Return the most tokens that a model can answer, which a provider's ``message`` states, or ``None``."""
    found = next((match for pattern in _PATTERNS if (match := pattern.search(message))), None)
    return int(found["limit"]) or None if found else None


def states_only_limit(message: str) -> bool:
    """Return whether ``message`` consists of such a rejection, so that it quotes no client."""
    return any(pattern.fullmatch(message.removesuffix(".")) for pattern in _PATTERNS)


def lower_to(limit: int) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return a function that returns the members of a body with a token limit above ``limit``, lowered to it.

    It returns ``{}`` for a body without one, and for one that requests as much thinking."""

    def change(body: Mapping[str, Any]) -> dict[str, Any]:
        thinking = body.get(THINKING)
        if isinstance(thinking, dict) and _exceeds(thinking.get("budget_tokens"), limit - 1):
            return {}
        changed: dict[str, Any] = {name: limit for name in FLAT if _exceeds(body.get(name), limit)}
        for holder, name in NESTED.items():
            members = body.get(holder)
            if isinstance(members, dict) and _exceeds(members.get(name), limit):
                changed[holder] = {**members, name: limit}
        return changed

    return change


def _exceeds(value: Any, limit: int) -> bool:
    return isinstance(value, int) and value > limit
