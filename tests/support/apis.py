"""The wire APIs that tests cover with hand-written tables and streams.

Tests of properties of every API use ``providers.apis.CODECS``.
"""

from collections.abc import Mapping
from typing import Any, Final

from streams.events import Api

OLDER: Final[tuple[Api, ...]] = ("chat", "messages", "responses")
VENDORS: Final[Mapping[str, str]] = {"chat": "openai", "messages": "anthropic", "responses": "openai"}
"""A provider for each API."""


def question(api: str, model: str, text: str = "hi", /, **more: Any) -> dict[str, Any]:
    """Return the body of a short request of ``api`` with the text ``text`` and ``more`` members."""
    if api in ("responses", "interactions"):
        return {"model": model, "input": text, **more}
    limit = {"max_tokens": 100} if api == "messages" else {}
    return {"model": model, "messages": [{"role": "user", "content": text}], **limit, **more}
