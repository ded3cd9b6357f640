"""Gemini's finish reasons with their neutral meaning, and the writer of errors in the format of Google's APIs.

Source: ``Candidate.FinishReason`` and ``PromptFeedback.BlockReason`` of the Gemini API and of Vertex AI;
``google.rpc.Status`` and its details (AIP-193), ``APIError`` of the google-genai package.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from providers.errors.failures import GOOGLE_STATUS
from providers.gemini.framing import event
from providers.neutral.codec import corrected_reason
from providers.neutral.ends import ENDS, Failed
from streams.events import AnswerEnd, AnswerStart, ErrorInfo

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


_TYPE: Final = "type.googleapis.com/google.rpc."


def google_error(error: ErrorInfo, request_id: str = "") -> dict[str, Any]:
    """Return the ``error`` member. If the client may retry, it includes ``RetryInfo`` with the delay, which Gemini CLI
    reads."""
    member: dict[str, Any] = {
        "code": error.status, "message": error.message, "status": GOOGLE_STATUS[error.kind],
    }  # fmt: skip
    if details := _error_details(error, request_id):
        member["details"] = details
    return member


def _error_details(error: ErrorInfo, request_id: str) -> list[Any]:
    if isinstance(error.details, list) and all(isinstance(one, dict) and "@type" in one for one in error.details):
        return error.details  # the provider's own details
    details: list[Any] = []
    if (wait := _retry_seconds(error)) is not None:
        details.append({"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{wait}s"})
    if error.param:
        violation = {"field": error.param, "description": error.message}
        details.append({"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]})
    if error.code:
        details.append(
            {"@type": f"{_TYPE}ErrorInfo", "reason": error.code.upper(), "domain": "trigate",
             "metadata": {"code": error.code}}
        )  # fmt: skip
    if request_id:
        details.append({"@type": f"{_TYPE}RequestInfo", "requestId": request_id})
    return details


def _retry_seconds(error: ErrorInfo) -> int | None:
    header = dict(error.headers).get("retry-after", "")
    try:
        wait = float(header)
    except ValueError:
        return None
    return math.ceil(wait) if 0 <= wait < math.inf else None


def write_error(error: ErrorInfo, request_id: str) -> bytes:
    """Return the error as JSON. See ``Codec.write_error``."""
    return msgspec.json.encode({"error": google_error(error, request_id)})


def error_event(error: ErrorInfo) -> bytes:
    """Return the end of a failed stream: the error as bare JSON, then as an event.

    Google's older SDKs for JavaScript and those for Go recognize only bare JSON as an error, and read an event with one
    as an empty piece of an answer. All other clients read only events. The newer SDK for JavaScript skips an event that
    does not begin with ``data:``, so a blank line separates the two.
    """
    data = event({"error": google_error(error)})
    return data.removeprefix(b"data: ") + data


def last_event(error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
    """Return the end of a failed stream. See ``Codec.last_event``."""
    return error_event(error)


def is_own_error(body: Mapping[str, Any]) -> bool:
    """Return whether ``body`` is an error of this API. See ``Codec.is_own_error``."""
    error = body.get("error")
    return isinstance(error, dict) and isinstance(error.get("message"), str) and isinstance(error.get("status"), str)
