"""A step of code that finds words, and the providers of each API, for tests of steps."""

from typing import Final

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
