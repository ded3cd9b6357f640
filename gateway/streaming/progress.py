"""A stream's progress: its start, its usage and its end, from the forwarded events."""

from streams.events import (
    CONTENT,
    AnswerEnd,
    AnswerStart,
    ErrorInfo,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)

_SAID = (TextDelta, ReasoningDelta, ToolCallDelta, RefusalDelta)
"""The most frequent events; each is content or follows content."""


def spoken(event: Event) -> int:
    """Return the number of characters of text, reasoning and arguments in ``event``."""
    return len(event.text) if isinstance(event, _SAID) else 0


class StreamProgress:
    """The progress of a stream's response, for both lanes."""

    __slots__ = ("committed", "empty", "end", "failed", "over", "plain", "said", "start", "usage")

    def __init__(self) -> None:
        self.start = AnswerStart()
        self.committed = False
        self.said = 0  # characters of text, reasoning and arguments
        self.usage: Usage | None = None
        self.end: AnswerEnd | None = None
        self.empty = False  # it ended well without content
        self.failed: ErrorInfo | None = None
        self.over = False  # it ended, well or not
        self.plain = False  # not an event stream: it has a content length, and a failure cuts it

    def see(self, event: Event) -> None:
        if isinstance(event, _SAID):
            self.said += len(event.text)
            self.committed = True
        elif isinstance(event, CONTENT):
            if isinstance(event, AnswerEnd):
                self.end, self.over, self.empty = event, True, not self.committed
            self.committed = True
        elif isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, AnswerStart):
            self.start = event
        elif isinstance(event, ErrorInfo):
            self.failed, self.over = event, True

    def take_back(self, failed: ErrorInfo) -> None:
        """Mark a complete response as failed because the client cannot receive its end."""
        self.end, self.failed = None, failed
