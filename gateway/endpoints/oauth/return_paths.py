"""The path to return to after a sign-in, which a link on any page may contain."""

import re
from typing import Final

HOME: Final = "/ui"
LONGEST: Final = 500

_OWN: Final = re.compile(r"/(?:ui|device|me|admin)(?:[/?][A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")
"""The gateway's pages. Browsers read ``//``, ``/\\`` and tabs as the start of another host, so paths begin with a known
name, and contain only characters that URLs permit."""


def safe_return_path(text: str) -> str:
    """Return ``text`` if it is a path of one of the gateway's pages, otherwise ``/ui``."""
    return text if len(text) <= LONGEST and _OWN.fullmatch(text) else HOME
