"""Answers that are whole and doubtful: nothing is in them, or they refuse without a word.

Another provider may have an answer, where there is one that can be asked; a second answer of the kind may be what the
model means (BerriAI/litellm#24462, Wei-Shaw/sub2api#7081). A model that has thought, unseen, or has ended its turn on
purpose has spent tokens on it.
"""

from typing import Final

from gateway.streaming.progress import StreamProgress
from streams.events import AnswerEnd, ErrorInfo, Usage
from streams.fold import Answer, ReasoningBlock, RefusalBlock, TextBlock

_SHORT: Final = 16 * 1024
"""Bytes of a whole answer up to which it is read with its texts (``Codec.read_answer``)."""

_BEGUN: Final = 1
"""Tokens that Messages counts as a stream begins, before any is there."""

EMPTY: Final = ErrorInfo("upstream", "the provider's answer is empty", reason="bad_answer")
REFUSED: Final = ErrorInfo(
    "invalid_request",
    "the provider refused to answer and returned no text",
    code="content_filter",
    reason="content_filter",
)


def stream_doubt(seen: StreamProgress) -> ErrorInfo | None:
    """Why a stream that has come to its end is doubtful; ``None`` where it is not, or has not ended well."""
    return _doubt(seen.end, seen.usage) if seen.empty and seen.end is not None else None


def answer_doubt(answer: Answer, size: int) -> ErrorInfo | None:
    """The same for a whole answer that came in ``size`` bytes. In a long one what it says may be unread."""
    if size >= _SHORT or any(map(_says_something, answer.blocks)):
        return None
    return _doubt(answer.end, answer.usage)


def _says_something(block: object) -> bool:
    if isinstance(block, ReasoningBlock):
        return bool(block.text) or block.state is not None
    return bool(block.text) if isinstance(block, TextBlock | RefusalBlock) else True


def _doubt(end: AnswerEnd, usage: Usage | None) -> ErrorInfo | None:
    """The doubt about an answer that says nothing."""
    if end.reason == "refusal":
        return REFUSED
    return None if usage is not None and usage.output > _BEGUN else EMPTY
