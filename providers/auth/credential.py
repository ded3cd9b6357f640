"""Credentials: what requests to a provider are signed with."""

from typing import Literal, TypeAlias

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


Credential: TypeAlias = str | AwsKeys | ProjectToken
"""A key or a token that goes out as it is, keys that only sign, or a token with more that goes out."""


def secrets_of_credential(credential: Credential | None) -> tuple[str, ...]:
    """What nobody may see of ``credential``."""
    match credential:
        case AwsKeys(id, secret, token):
            return tuple(filter(None, (id, secret, token)))
        case ProjectToken(token):
            return (token,)
        case str() if credential:
            return (credential,)
        case _:
            return ()
