"""The content of the sign-in pages, whose text is in the template ``sign_in.html``."""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlencode

from gateway.features.people.html import Html, macros
from gateway.features.people.oauth.paths import LOGIN


def login_link(path: str, issuer: str | None = None) -> str:
    """Return the address that starts a sign-in, to return to ``path``."""
    return f"{LOGIN}?{urlencode({**({'issuer': issuer} if issuer else {}), 'return': path})}"


_PAGES: Final = macros("sign_in.html")
issuer_choice: Callable[..., Html] = _PAGES.issuer_choice
code_form: Callable[..., Html] = _PAGES.code_form
approval: Callable[..., Html] = _PAGES.approval
failure: Callable[..., Html] = _PAGES.failure
sign_out_question: Callable[..., Html] = _PAGES.sign_out_question
signed_out: Callable[..., Html] = _PAGES.signed_out
APPROVED: Final[Html] = _PAGES.approved()
DENIED: Final[Html] = _PAGES.denied()
NOT_SIGNED_IN: Final[Html] = _PAGES.not_signed_in()
