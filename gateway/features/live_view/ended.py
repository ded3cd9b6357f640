"""An ended exchange of the live view, which has a bounded number of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import attrs

from gateway.features.live_view.prompts import KeptPrompt
from gateway.features.live_view.transcripts import Transcript
from gateway.http.redaction import Secrets

if TYPE_CHECKING:
    from gateway.seams.observe import ViewerTexts

RECENT: Final = 300
"""Ended exchanges that are stored. Without room, the client with the most loses its oldest one."""

Line: TypeAlias = dict[str, Any]


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class EndedExchange:
    """An ended exchange: its log line, its start, both sides of a stream, and the request if it was stored.

    ``texts`` are those at the difference that broke its prompt's cache, ``None`` if they are switched off."""

    line: Line
    began: float
    transcript: Transcript | None = None
    secrets: Callable[[], Secrets] = tuple
    prompt: KeptPrompt | None = None
    texts: "ViewerTexts | None" = None

    @property
    def client(self) -> str | None:
        return self.line.get("client")

    def drop(self) -> None:
        """Drop the stream, because the exchange leaves the list."""
        if self.transcript is not None:
            self.transcript.forget()
