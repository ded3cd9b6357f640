"""The content of the sign-in pages, whose text is in the template ``sign_in.html``."""

from typing import Final
from urllib.parse import urlencode

from gateway.features.people.html import macros
from gateway.features.people.oauth.paths import LOGIN


def login_link(path: str, issuer: str | None = None) -> str:
    """Return the address that starts a sign-in, to return to ``path``."""
    return f"{LOGIN}?{urlencode({**({'issuer': issuer} if issuer else {}), 'return': path})}"


PAGES: Final = macros("sign_in.html")
