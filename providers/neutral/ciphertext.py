"""Content that OpenAI's models encrypt for each other, in requests of Codex."""

import re
from typing import Final

CIPHERTEXT: Final = r"gAAAA[\w-]+=*"
_CIPHERTEXT: Final = re.compile(CIPHERTEXT)


def is_ciphertext(text: str) -> bool:
    """Return whether ``text`` is content that only OpenAI can read."""
    return _CIPHERTEXT.fullmatch(text) is not None
