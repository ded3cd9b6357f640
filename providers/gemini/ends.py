"""Gemini's finish reasons and their neutral meaning.

Source: ``Candidate.FinishReason`` and ``PromptFeedback.BlockReason`` of the Gemini API and of Vertex AI.
"""

from collections.abc import Sequence
from typing import Any, Final

from providers.neutral.codec import corrected_reason
from providers.neutral.ends import ENDS, Failed
from streams.events import AnswerEnd, ErrorInfo

ENDS_OF_GEMINI: Final = ENDS["gemini"]
"""The meanings of finish reasons; ``OTHER``, ``NO_IMAGE`` and ``IMAGE_OTHER`` give no reason, so they are unknown."""

# Enumeration values as numbers, as some Vertex AI clients record them. From 6 on the public API numbers them
# differently, and is not known to send numbers.
_BY_NUMBER: Final[Sequence[str]] = (
    "FINISH_REASON_UNSPECIFIED", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST",
    "PROHIBITED_CONTENT", "SPII", "MALFORMED_FUNCTION_CALL", "MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION", "IMAGE_OTHER", "UNEXPECTED_TOOL_CALL", "NO_IMAGE",
)  # fmt: skip

_NO_REASON: Final = "FINISH_REASON_UNSPECIFIED"


def finish_reason(value: Any) -> str | None:
    """Return ``finishReason`` as a word, or ``None`` if it is not set yet."""
    if type(value) is int:
        value = _BY_NUMBER[value] if 0 <= value < len(_BY_NUMBER) else f"FINISH_REASON_{value}"
    return value if isinstance(value, str) and value not in ("", _NO_REASON) else None


CONTINUED: Final = "CONTINUATION"


def answer_end(word: str, is_continued: bool = False, has_calls: bool = False) -> AnswerEnd:
    """Return the end of an answer for the reason ``word``. An answer with calls has no word of its own for its end.

    ``is_continued`` means that a token was sent which continues the answer, so that it is incomplete whatever the
    reason.
    """
    if is_continued:
        return AnswerEnd("length", word)
    meaning = ENDS_OF_GEMINI.get(word)
    reason, is_known = (meaning, True) if isinstance(meaning, str) else ("stop", False)
    return AnswerEnd(corrected_reason(reason, has_calls), word, is_known=is_known)


def blocked_end(word: str, message: str) -> AnswerEnd:
    """Return the end of an answer that never started, because the prompt was blocked."""
    details = {"type": "refusal", "category": None, "explanation": message} if message else None
    return AnswerEnd("refusal", word, details=details)


def unusable_answer(word: str, message: str) -> ErrorInfo | None:
    """Return the failure that a finish reason means, including Gemini's message; ``None`` if it means none.

    Gemini's own clients know the reason and receive the answer itself.
    """
    failed = ENDS_OF_GEMINI.get(word)
    if not isinstance(failed, Failed):
        return None
    useless = "the model's answer is unusable ({}); try again"
    if failed.reason == "credential":
        useless = "Google has limited or disabled the provider's account ({})"
    detail = f"{word}: {message}" if message else word
    log_message = useless.format(word)
    return ErrorInfo("upstream", useless.format(detail), native=True, reason=failed.reason, log_message=log_message)
