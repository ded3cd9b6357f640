"""Credentials: what requests to a provider are signed with."""

from typing import Final, Literal, TypeAlias

import attrs

SignInName: TypeAlias = Literal["aws", "google", "azure"]
"""The clouds at which the gateway can sign in."""


@attrs.frozen
class AwsKeys:
    """The keys of an AWS identity. ``token`` goes with keys that end; ``region`` is where its owner usually is, for
    requests that say nothing of it themselves."""

    id: str = attrs.field(repr=False)
    secret: str = attrs.field(repr=False)
    token: str | None = attrs.field(default=None, repr=False)
    region: str | None = None


@attrs.frozen
class ProjectToken:
    """A token of Google's that says on whose quota its requests are."""

    token: str = attrs.field(repr=False)
    project: str


@attrs.frozen
class BearerToken:
    """A token that goes out as ``Authorization: Bearer``, also where the provider's keys have a header of their own."""

    token: str = attrs.field(repr=False)


Credential: TypeAlias = str | AwsKeys | ProjectToken | BearerToken
"""A key or a token that goes out unchanged, keys that only sign, or a token with more that goes out."""

SUBSCRIPTION_TOKENS: Final = ("sk-ant-oat",)
"""Beginnings of the access tokens that a login to a subscription gives: Claude's, of ``/login`` and ``claude
setup-token`` (https://code.claude.com/docs/en/authentication)."""

ACCESS_TOKENS: Final = (*SUBSCRIPTION_TOKENS, "eyJ", "ya29.")
"""Beginnings of OAuth access tokens, which providers accept as ``Authorization: Bearer`` alone: also JSON Web Tokens
(RFC 7519) and Google's."""


def is_subscription_token(credential: str | None) -> bool:
    """True for the access token of a login whose requests a subscription pays for."""
    return credential is not None and credential.startswith(SUBSCRIPTION_TOKENS)


def secrets_of_credential(credential: Credential | None) -> tuple[str, ...]:
    """Return what nobody may see of ``credential``."""
    match credential:
        case AwsKeys(id, secret, token):
            return tuple(filter(None, (id, secret, token)))
        case ProjectToken(token) | BearerToken(token):
            return (token,)
        case str() if credential:
            return (credential,)
        case _:
            return ()
