"""The reasons for which answers end."""

from collections.abc import Mapping
from typing import Any

from providers.neutral.codec import settled_reason
from streams.events import AnswerEnd, ErrorInfo, FailureReason, Reason

REASONS: Mapping[str, Reason] = {
    "stop": "stop",
    "eos": "stop",  # Together
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "model_context_window_exceeded": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "refusal",
    "refusal": "refusal",
    "safety": "refusal",
    "recitation": "refusal",
    "blocklist": "refusal",
    "prohibited_content": "refusal",
    "spii": "refusal",
    "image_safety": "refusal",
}
"""``finish_reason`` by its ``word_of`` (routers let the model's own words through: Portkey-AI/gateway#857). Others:
stop."""

FAILURES: Mapping[str, FailureReason] = {
    "error": "server_error",
    "malformed_function_call": "bad_answer",  # Google, and those below
    "malformed_response": "bad_answer",
    "unexpected_tool_call": "bad_answer",
    "missing_thought_signature": "bad_answer",
    "function_call_filter": "bad_answer",
}
"""Reasons for the end that say that there is no answer, and what an attempt has failed for that ends so."""


def word_of(reason: str) -> str:
    """The word that ``reason`` begins with, in lower case: Google's endpoint says more behind it (``content_filter:
    PROHIBITED_CONTENT``, ``function_call_filter: MALFORMED_FUNCTION_CALL``)."""
    return reason.lower().partition(":")[0]


def stop_string(value: Any) -> str | None:
    """The string that a choice's ``stop_reason`` says has matched (vLLM), None if it is one of the reasons."""
    return value if isinstance(value, str) and value.lower() not in REASONS else None


def read_failure(word: str) -> ErrorInfo | None:
    """Return the failure that the finish reason ``word`` means, or None."""
    if (reason := FAILURES.get(word_of(word))) is None:
        return None
    unfinished = "the provider could not finish its answer: "
    return ErrorInfo("upstream", unfinished + word, reason=reason, log_message=unfinished + word_of(word))


def read_end(word: str, stopped_by: str | None, called: bool) -> AnswerEnd:
    """The end of an answer; ``word`` is "" if the provider gave no reason."""
    if not word:  # Snowflake ends with nothing but [DONE]
        return AnswerEnd(settled_reason("stop", called))
    reason = REASONS.get(word_of(word), "stop")
    if reason == "stop" and stopped_by is not None:
        return AnswerEnd("stop_sequence", word, stopped_by)
    return AnswerEnd(reason, word)
