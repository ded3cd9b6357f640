"""The shapes of realtime APIs, as rows: how the model is named in the address, and who reads the frames."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import attrs

from gateway.realtime.events import OpenAiFrames
from gateway.realtime.gemini_live import GeminiFrames
from gateway.realtime.notices import FrameReader


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
