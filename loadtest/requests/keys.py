"""Chooses the API key for each target.

A key that the user selects goes to every target. Otherwise, a provider's own host gets that provider's key, and other
hosts get none: no key in the environment reaches a server by accident.
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import attrs

from loadtest.masking import mask_url
from providers.catalog.providers import CATALOG

GATEWAY_KEY: Final = "TRIGATE_API_KEY"  # the variable in which clients of a gateway have their key

OWN_KEYS: Final[Mapping[str, str]] = {
    str(urlsplit(row.base_url).hostname): row.key_env for row in CATALOG.values() if row.base_url and row.key_env
}
"""The variable with each provider's key, by its host."""


@attrs.frozen
class Credential:
    """The key for a target: the ``value`` of ``variable``, if known and set.

    ``is_chosen``: the user chose the variable.
    """

    variable: str | None = None
    value: str | None = attrs.field(default=None, repr=False)
    is_chosen: bool = False


def credential_for(url: str, key_env: str | None, env: Mapping[str, str]) -> Credential:
    """Return the key for the server at ``url``. ``key_env`` is the variable that the user chose."""
    variable = key_env or _provider_variable(url)
    value = env.get(variable, "").strip() if variable else ""
    return Credential(variable, value or None, key_env is not None)


def _provider_variable(url: str) -> str | None:
    """Return the key variable of the provider with this host, if the connection is secure."""
    parts = urlsplit(url)
    return OWN_KEYS.get(parts.hostname or "") if parts.scheme == "https" and parts.port in (None, 443) else None


def describe_key(url: str, found: Credential) -> str:
    """Describe the key that the target at ``url`` gets, for the user."""
    if found.value:
        why = "" if found.is_chosen else ", because this is the provider's own host"
        return f"{mask_url(url)}: using the key in ${found.variable}{why}"
    missing = f", because ${found.variable} is not set" if found.variable else ""
    return f"{mask_url(url)}: sending no key{missing} (--key-env NAME sends the key in $NAME)"


def key_advice(found: Credential) -> str:
    """Return advice on a rejected key."""
    why = f"the server rejects the key in ${found.variable}" if found.value else "the load sent no key"
    return (
        f"{why}: give the variable with the right key with --key-env; a gateway needs one of its client keys, often in "
        f"${GATEWAY_KEY}"
    )
