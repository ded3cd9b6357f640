"""Advice on unknown keys about people."""

from typing import Final

from gateway.config.parts import Absent, Instead
from gateway.config.settings import Config

ADVICE: Final = (
    Absent(
        "User accounts",
        "people sign in with the identity provider in `issuers`, and other clients have keys, from `client_keys` or "
        "`trigate keys`",
        "users user organizations governance virtual_keys customers rbac roles permissions admin_key custom_auth",
        (Config,),
    ),
    Instead(
        "list the identity providers of people under `issuers`", "people oauth oauth2 oidc saml sign_in sso", (Config,)
    ),
)
