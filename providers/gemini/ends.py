"""Why a Gemini answer ended: its words, and what they come to.

Source: ``Candidate.FinishReason`` and ``PromptFeedback.BlockReason`` of the Gemini API and of Vertex AI.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from streams.events import AnswerEnd, ErrorInfo, Reason

REASONS: Final[Mapping[str, Reason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "refusal",
    "RECITATION": "refusal",
    "LANGUAGE": "refusal",
    "BLOCKLIST": "refusal",
    "PROHIBITED_CONTENT": "refusal",
    "SPII": "refusal",
    "MODEL_ARMOR": "refusal",
    "IMAGE_SAFETY": "refusal",
    "IMAGE_PROHIBITED_CONTENT": "refusal",
    "IMAGE_RECITATION": "refusal",
}
"""What ends an answer; words that are not here (``OTHER``, ``NO_IMAGE``) end it like any other."""

FAILURES: Final = frozenset(
    (
        "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "MISSING_THOUGHT_SIGNATURE",
        "TOO_MANY_TOOL_CALLS",
    )
)  # fmt: skip
"""Reasons of answers that went wrong: what stands beside them is not to be used, least of all a call
(NousResearch/hermes-agent#83886, BerriAI/litellm#40477)."""

# Enumerations as their numbers, as some of Vertex AI's clients record them. From 6 on the public API counts otherwise,
# and is not known to send numbers.
_NUMBERED: Final[Sequence[str]] = (
    "FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST",
    "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL", "MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION", "IMAGE_OTHER", "UNEXPECTED_TOOL_CALL", "NO_IMAGE",
)  # fmt: skip

_NO_REASON: Final = "FINISH_REASON_UNSPECIFIED"


def reason_word(value: Any) -> str | None:
    """Return ``finishReason`` as a word, ``None`` where it says nothing yet."""
    if type(value) is int:
        value = _NUMBERED[value] if 0 <= value < len(_NUMBERED) else f"FINISH_REASON_{value}"
    return value if isinstance(value, str) and value not in ("", _NO_REASON) else None


def answer_end(word: str) -> AnswerEnd:
    """Return the end of an answer for the reason ``word``."""
    return AnswerEnd(REASONS.get(word, "stop"), word)


def blocked(word: str, message: str) -> AnswerEnd:
    """Return the end of an answer that never began, because the prompt was blocked."""
    details = {"type": "refusal", "category": None, "explanation": message} if message else None
    return AnswerEnd("refusal", word, details=details)


def failure(word: str, message: str) -> ErrorInfo:
    """Return the failure of an unusable answer, with Gemini's message if there is one. Gemini's own clients know the
    word and get the answer itself."""
    useless = "the model's answer is of no use ({}); try again"
    detail = f"{word}: {message}" if message else word
    return ErrorInfo(
        "upstream", useless.format(detail), native=True, reason="bad_answer", log_message=useless.format(word)
    )
