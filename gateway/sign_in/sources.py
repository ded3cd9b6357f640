"""The sources of credentials that a configuration needs."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import assert_never

from gateway.config.settings import AwsSignIn, AzureSignIn, Config, GoogleSignIn, SignIn
from gateway.sign_in.aws import fetch_aws
from gateway.sign_in.azure import fetch_azure
from gateway.sign_in.google import GoogleTokens
from gateway.sign_in.refreshed import Fetched, RefreshedCredential
from gateway.upstream.credentials import CredentialSource


def sources_of(config: Config, before: Mapping[str, CredentialSource]) -> dict[str, CredentialSource]:
    """The sources by the names of entries, one for all that sign in alike. Those of the configuration ``before`` go on
    with what they have."""
    known = {one.sign_in: one for one in before.values() if isinstance(one, RefreshedCredential)}
    found: dict[str, CredentialSource] = {}
    for entry in config.entries:
        if (sign_in := entry.sign_in) is not None:
            found[entry.name] = known.setdefault(sign_in, RefreshedCredential(sign_in, _fetch(sign_in)))
    return found


def _fetch(sign_in: SignIn) -> Callable[[], Fetched]:
    match sign_in:
        case AwsSignIn():
            return partial(fetch_aws, sign_in)
        case GoogleSignIn():
            return GoogleTokens(sign_in)
        case AzureSignIn():
            return partial(fetch_azure, sign_in)
        case _:
            assert_never(sign_in)
