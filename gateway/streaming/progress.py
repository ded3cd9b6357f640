"""The progress of a stream: its start, usage and end, collected from the events that the client receives."""

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

_TEXT_EVENTS = (TextDelta, ReasoningDelta, ToolCallDelta, RefusalDelta)
"""The most frequent events; each is content or follows content."""


def count_characters(event: Event) -> int:
    """Return the number of characters of text, reasoning and arguments in ``event``."""
    return len(event.text) if isinstance(event, _TEXT_EVENTS) else 0


class StreamProgress:
    """The progress of a stream's response, for both lanes."""

    __slots__ = ("characters", "committed", "empty", "end", "error", "over", "plain", "start", "usage")

    def __init__(self) -> None:
        self.start = AnswerStart()
        self.committed = False
        self.characters = 0  # characters of text, reasoning and arguments
        self.usage: Usage | None = None
        self.end: AnswerEnd | None = None
        self.empty = False  # it ended well without content
        self.error: ErrorInfo | None = None
        self.over = False  # it ended, well or not
        self.plain = False  # not an event stream: it has a content length, and a failure cuts it

    def add(self, event: Event) -> None:
        """Update the progress with an event that goes to the client."""
        if isinstance(event, _TEXT_EVENTS):
            self.characters += len(event.text)
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
            self.error, self.over = event, True

    def mark_failed(self, error: ErrorInfo) -> None:
        """Mark a complete response as failed because the client cannot receive its end."""
        self.end, self.error = None, error
