"""The sources of credentials that a configuration needs."""

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final, cast

from gateway.config.settings import Config
from gateway.config.sign_ins import AwsSignIn, AzureSignIn, GoogleSignIn, SignIn
from gateway.named_imports import import_named
from gateway.sign_in.refreshed import Fetched, RefreshedCredential
from gateway.upstream.request import CredentialSource


def sources_of(config: Config, before: Mapping[str, CredentialSource]) -> dict[str, CredentialSource]:
    """Return the credential sources by the names of entries; entries with equal sign-ins share one.

    A sign-in that is also in ``before``, the sources of the previous configuration, keeps its source."""
    known = {one.sign_in: one for one in before.values() if isinstance(one, RefreshedCredential)}
    found: dict[str, CredentialSource] = {}
    for entry in config.entries:
        if (sign_in := entry.sign_in) is not None:
            found[entry.name] = known.setdefault(sign_in, RefreshedCredential(sign_in, fetch_function(sign_in)))
    return found


_FETCHES: Final[Mapping[type[SignIn], str]] = {
    AwsSignIn: "gateway.sign_in.aws:aws_keys",
    GoogleSignIn: "gateway.sign_in.google:GoogleTokens",
    AzureSignIn: "gateway.sign_in.azure:azure_tokens",
}
"""The makers of the functions that fetch the credential of a sign-in."""

BEARER: Final = "AWS_BEARER_TOKEN_BEDROCK"


def fetch_function(sign_in: SignIn) -> Callable[[], Fetched]:
    """Return the function that fetches a credential of ``sign_in``. It blocks, and may raise anything.

    The library is imported for the first fetch."""

    @cache
    def own_fetch() -> Callable[[], Fetched]:
        return cast("Callable[[], Fetched]", import_named(_FETCHES[type(sign_in)])(sign_in))

    def fetch() -> Fetched:
        token = _environment_key(sign_in)
        return own_fetch()() if token is None else Fetched(token)

    return fetch


def _environment_key(sign_in: SignIn) -> str | None:
    """Return the environment's Bedrock API key if ``sign_in`` is AWS's, and sets no other account."""
    if not isinstance(sign_in, AwsSignIn) or sign_in.keys or sign_in.profile or sign_in.role_arn:
        return None
    return os.environ.get(BEARER) or None
