"""A step of code that finds words, and the providers of each API, for tests of steps."""

from collections.abc import Iterable
from typing import Any, Final

from tests.support.harness import provider
from tests.support.wire_clients import ALL

CODE: Final = """
import re
from trigate.steps import Finding

WORD = re.compile(r"falcon-\\d+")

async def words(check):
    return [Finding("word", one, *found.span()) for one in check.passages for found in WORD.finditer(one.text)]

def broken(check):
    raise ValueError("falcon-9 is in this error")
"""

VENDORS: Final = {
    "chat": "openai", "messages": "anthropic", "responses": "openai", "gemini": "gemini", "converse": "bedrock",
    "interactions": "gemini",
}  # fmt: skip
BASES: Final = {"gemini": "/v1beta", "converse": "", "interactions": "/v1beta"}
"""The paths of the base URLs of providers, ``/v1`` for others."""


def entries_of(url: str, apis: Iterable[str] = ALL, **more: Any) -> list[dict[str, Any]]:
    """Return an entry ``on-API`` with ``more`` keys for each of ``apis`` of the provider at ``url``."""
    return [
        provider(f"{VENDORS[api]}/on-{api}", url + BASES.get(api, "/v1"), [api], name=f"on-{api}", **more)
        for api in apis
    ]
