"""The codes of the device flow: one for the program, and a short one for people (RFC 8628, section 6.1)."""

import re
import secrets
from typing import Final

LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
"""20 consonants: no words, and no letters that look like digits. Eight of them are 25.6 thousand million codes."""

_LENGTH: Final = 8
_SEPARATORS: Final = re.compile(r"[\s._-]+")


def new_device_code() -> str:
    """Return a code of 256 bits for a program."""
    return secrets.token_urlsafe(32)


def new_user_code() -> str:
    """Return a code for people, such as ``WDJB-MJHT``."""
    return _spell("".join(secrets.choice(LETTERS) for _ in range(_LENGTH)))


def read_user_code(text: str) -> str | None:
    """Return the code that a person typed, in any case and with any separators; ``None`` if it cannot be one."""
    letters = _SEPARATORS.sub("", text[:50]).upper()
    return _spell(letters) if len(letters) == _LENGTH and set(letters) <= set(LETTERS) else None


def _spell(letters: str) -> str:
    return f"{letters[:4]}-{letters[4:]}"
