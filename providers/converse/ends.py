"""The words of Converse for why an answer ended.

Source: ``StopReason`` of Amazon Bedrock's API reference.
"""

from collections.abc import Mapping
from typing import Any, Final

from streams.events import AnswerEnd, ErrorInfo, Reason

REASONS: Final[Mapping[str, Reason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
    "model_context_window_exceeded": "context_exceeded",
}

WORDS: Final[Mapping[Reason, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "content_filtered",
    "pause": "end_turn",
    "context_exceeded": "model_context_window_exceeded",
}
"""The other way round. There is no word for a pause."""

STOP_SEQUENCE: Final = "/stop_sequence"
"""Where Claude says which stop string it has met, for those who ask (``additionalModelResponseFieldPaths``)."""

_MALFORMED: Final[Mapping[str, str]] = {
    "malformed_model_output": "the model's output could not be read by its provider (malformed_model_output)",
    "malformed_tool_use": "the model called a tool in a form that its provider could not read (malformed_tool_use)",
}
"""Answers that only look complete: a client would run half a call, or take nothing for an answer
(Wei-Shaw/sub2api#7081)."""


def read_end(word: str, extra: Any) -> AnswerEnd | ErrorInfo:
    """The end of an answer with that stop reason. ``extra`` are ``additionalModelResponseFields``. A word that nobody
    knows ends an answer like any other."""
    if (message := _MALFORMED.get(word)) is not None:
        return ErrorInfo("upstream", message, native=True, reason="bad_answer")
    stop = extra.get(STOP_SEQUENCE[1:]) if isinstance(extra, dict) else None
    return AnswerEnd(REASONS.get(word, "stop"), word or None, stop if isinstance(stop, str) else None)
