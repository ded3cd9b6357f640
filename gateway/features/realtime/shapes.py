"""The realtime APIs of providers, as rows of data."""

from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

import attrs

from gateway.features.realtime.events import OpenAiFrames
from gateway.features.realtime.gemini_live import GeminiFrames
from gateway.features.realtime.notices import FrameReader


@attrs.frozen
class RealtimeShape:
    """The differences of one realtime API.

    ``reader`` makes a reader of its frames. ``model_member`` is the query parameter with the model, ``None`` if the
    first message contains it."""

    reader: Callable[[], FrameReader]
    model_member: str | None = "model"
    beta: bool = False
    """True if the beta API's header and subprotocol are passed on."""

    def query_for(self, model: str | None, rest: str) -> str:
        """Return the query of the websocket's URL: the model, and ``rest`` of the client's query."""
        named = f"{self.model_member}={quote(model, safe='')}" if self.model_member and model else ""
        return "&".join(part for part in (named, rest) if part)


SHAPES: Final[Mapping[str, RealtimeShape]] = {
    "openai": RealtimeShape(OpenAiFrames),
    "openai_beta": RealtimeShape(OpenAiFrames, beta=True),
    "azure": RealtimeShape(OpenAiFrames, "deployment"),
    "gemini": RealtimeShape(GeminiFrames, None),
}
"""Shapes by the ``shape`` of a provider's endpoint."""

OF_OPENAI: Final = frozenset(("openai", "openai_beta", "azure"))
OF_GEMINI: Final = frozenset(("gemini",))
