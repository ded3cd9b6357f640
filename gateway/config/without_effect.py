"""Reasons for which a key is accepted without effect."""

from typing import Final

OUTSIDE: Final = "no part of the model gateway, ignored"


def later(consequence: str) -> str:
    """Return the reason of a key that is to work one day. ``consequence`` applies until then."""
    return f"accepted, not enforced yet: {consequence}"


BY_NAME: Final = later("requests go to the model that they name")
