"""The shapes of realtime APIs, as rows: how the model is named in the address, and who reads the frames."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import attrs

from gateway.realtime.events import OpenAiFrames
from gateway.realtime.gemini_live import GeminiFrames
from gateway.realtime.notices import ClientFrame, FrameReader, ModelRule, Notice
from gateway.upstream.websocket import Piece
from streams.events import ErrorInfo


class UnreadFrames:
    """The ``FrameReader`` of such a session: what it uses is unknown."""

    def from_client(self, message: Piece, models: ModelRule) -> ClientFrame:
        return ClientFrame(message, characters=len(message))

    def from_provider(self, message: Piece) -> tuple[Notice, ...]:
        return ()

    def rest(self) -> tuple[Notice, ...]:
        return ()

    def cancelling(self, id: str | None) -> Piece | None:
        return None

    def error(self, failed: ErrorInfo, event_id: str | None) -> Piece | None:
        return None


@attrs.frozen
class RealtimeShape:
    """``model_member`` is the member of the query that names the model; ``None`` where the first message does."""

    reader: Callable[[], FrameReader]
    model_member: str | None = "model"
    beta: bool = False
    """The marks of the API before its release are heeded, and go on."""

    def query(self, model: str | None, rest: str) -> str:
        """The query for ``model``, behind which ``rest`` of the client's own stands."""
        named = f"{self.model_member}={quote(model, safe='')}" if self.model_member and model else ""
        return "&".join(part for part in (named, rest) if part)


SHAPES: Final[Mapping[str, RealtimeShape]] = {
    "openai": RealtimeShape(OpenAiFrames),
    "openai_beta": RealtimeShape(OpenAiFrames, beta=True),
    "azure": RealtimeShape(OpenAiFrames, "deployment"),
    "gemini": RealtimeShape(GeminiFrames, None),
}
"""By the ``shape`` of a provider's place."""

OF_OPENAI: Final = frozenset(("openai", "openai_beta", "azure"))
OF_GEMINI: Final = frozenset(("gemini",))
