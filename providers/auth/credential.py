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


Credential: TypeAlias = str | AwsKeys
"""A key or a token that goes out as it is, or keys that only sign."""


def secrets_of_credential(credential: Credential | None) -> tuple[str, ...]:
    """What nobody may see of ``credential``."""
    match credential:
        case AwsKeys(id, secret, token):
            return tuple(filter(None, (id, secret, token)))
        case str() if credential:
            return (credential,)
        case _:
            return ()
