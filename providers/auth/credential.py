"""Credentials for signing requests to providers."""

from typing import Final, Literal, TypeAlias

import attrs

SignInName: TypeAlias = Literal["aws", "google", "azure"]
"""The clouds at which the gateway can sign in."""


@attrs.frozen
class AwsKeys:
    """The keys of an AWS identity.

    ``token`` is the session token of temporary keys; ``region`` is the default for requests that determine none.
    """

    id: str = attrs.field(repr=False)
    secret: str = attrs.field(repr=False)
    token: str | None = attrs.field(default=None, repr=False)
    region: str | None = None


@attrs.frozen
class ProjectToken:
    """A Google token with the project whose quota its requests use."""

    token: str = attrs.field(repr=False)
    project: str


@attrs.frozen
class BearerToken:
    """A token that is sent as ``Authorization: Bearer``, even if the provider's keys use another header."""

    token: str = attrs.field(repr=False)


Credential: TypeAlias = str | AwsKeys | ProjectToken | BearerToken
"""A key or token that is sent, or AWS keys that only sign."""

SUBSCRIPTION_TOKENS: Final = ("sk-ant-oat",)
"""Prefixes of access tokens from a login to a subscription: Claude's, of ``/login`` and ``claude setup-token``
(https://code.claude.com/docs/en/authentication)."""

ACCESS_TOKENS: Final = (*SUBSCRIPTION_TOKENS, "eyJ", "ya29.")
"""Prefixes of OAuth access tokens, which providers only accept as ``Authorization: Bearer``; includes JSON Web Tokens
(RFC 7519) and Google's."""


def is_subscription_token(credential: str | None) -> bool:
    """Return whether ``credential`` is the access token of a login to a subscription."""
    return credential is not None and credential.startswith(SUBSCRIPTION_TOKENS)


def secret_parts(credential: Credential | None) -> tuple[str, ...]:
    """Return the parts of ``credential`` that must not appear in any output."""
    match credential:
        case AwsKeys(id, secret, token):
            return tuple(filter(None, (id, secret, token)))
        case ProjectToken(token) | BearerToken(token):
            return (token,)
        case str() if credential:
            return (credential,)
        case _:
            return ()
