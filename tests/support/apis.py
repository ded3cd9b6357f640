"""The wire APIs for which tests have tables and streams that were written by hand.

What holds of every API is tried over ``providers.apis.CODECS``."""

from collections.abc import Mapping
from typing import Any, Final

from streams.events import Api

OLDER: Final[tuple[Api, ...]] = ("chat", "messages", "responses")
VENDORS: Final[Mapping[str, str]] = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
"""For each API a provider that speaks it."""


def question(api: str, model: str, text: str = "hi", /, **more: Any) -> dict[str, Any]:
    """Return the body of a short request of ``api`` that says ``text``, with ``more`` members."""
    if api == "responses":
        return {"model": model, "input": text, **more}
    limit = {"max_tokens": 100} if api == "messages" else {}
    return {"model": model, "messages": [{"role": "user", "content": text}], **limit, **more}
