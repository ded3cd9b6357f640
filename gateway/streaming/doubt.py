"""Checks for complete responses that may be failures: empty ones, and refusals without an explanation.

A fallback provider may have a response; a second empty response may be what the model means (BerriAI/litellm#24462,
Wei-Shaw/sub2api#7081). A response is not doubtful if the model spent tokens on hidden reasoning or ended its turn on
purpose."""

from typing import Final

from gateway.streaming.lane import StreamProgress
from providers.errors.failures import EMPTY
from providers.neutral.ends import unknown_end_failure
from streams.events import AnswerEnd, ErrorInfo, Usage
from streams.fold import Answer, ReasoningBlock, RefusalBlock, TextBlock

_SHORT: Final = 16 * 1024
"""Size in bytes up to which a complete response's texts are read (``Codec.read_answer``)."""

_BEGUN: Final = 1
"""Output tokens that Messages reports at the start of a stream, before any content."""

REFUSED: Final = ErrorInfo(
    "invalid_request",
    "the provider refused to answer and returned no text",
    code="content_filter",
    reason="content_filter",
)


def stream_doubt(progress: StreamProgress) -> ErrorInfo | None:
    """Return the reason why a stream that ended well is doubtful, or ``None`` if it is not."""
    return _doubt(progress.end, progress.usage) if progress.empty and progress.end is not None else None


def unknown_end(answer: Answer, size: int) -> ErrorInfo | None:
    """Return the failure of a complete response of ``size`` bytes without content whose end has an unknown meaning."""
    has_content = answer.end.is_known or size >= _SHORT or any(map(_has_content, answer.blocks))
    return None if has_content else unknown_end_failure(answer.end)


def answer_doubt(answer: Answer, size: int) -> ErrorInfo | None:
    """Return the reason why a complete response of ``size`` bytes is doubtful, or ``None``.

    The texts of a long response may be unread."""
    if size >= _SHORT or any(map(_has_content, answer.blocks)):
        return None
    return _doubt(answer.end, answer.usage)


def _has_content(block: object) -> bool:
    if isinstance(block, ReasoningBlock):
        return bool(block.text) or block.state is not None
    return bool(block.text) if isinstance(block, TextBlock | RefusalBlock) else True


def _doubt(end: AnswerEnd, usage: Usage | None) -> ErrorInfo | None:
    """Return the error for a response without content, or ``None`` if the model spent tokens on it."""
    if end.reason == "refusal":
        return REFUSED
    return None if usage is not None and usage.output > _BEGUN else EMPTY
