"""A stream's progress: its beginning, its usage and its end, by the events that have passed."""

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
"""What nearly all events are; each is content, or follows it."""


def spoken(event: Event) -> int:
    """Characters of text, thoughts and arguments in ``event``."""
    return len(event.text) if isinstance(event, _SAID) else 0


class StreamProgress:
    """The progress of a stream's answer so far, the same for both lanes."""

    __slots__ = ("committed", "empty", "end", "failed", "over", "plain", "said", "start", "usage")

    def __init__(self) -> None:
        self.start = AnswerStart()
        self.committed = False
        self.said = 0  # characters of text, thoughts and arguments
        self.usage: Usage | None = None
        self.end: AnswerEnd | None = None
        self.empty = False  # it has ended well, and nothing came before the end
        self.failed: ErrorInfo | None = None
        self.over = False  # it has ended, well or not
        self.plain = False  # it is no stream of events: it goes out with its length, or is cut where it fails

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
        """The answer is whole, but the client cannot be told so."""
        self.end, self.failed = None, failed
