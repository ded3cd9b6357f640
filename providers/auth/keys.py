"""Signers that send a credential unchanged in a header."""

import attrs

from providers.auth.credential import Credential, ProjectToken
from providers.auth.signer import UnsignedRequest


@attrs.frozen(repr=False)
class HeaderKey:
    """A signer that sends the credential in the header ``name``, after ``prefix``."""

    name: str
    prefix: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def sign(self, request: UnsignedRequest, credential: Credential, at: float) -> tuple[tuple[str, str], ...]:
        assert isinstance(credential, str), "keys that only sign never go out"
        return (self.header(credential),)

    def header(self, credential: str) -> tuple[str, str]:
        return self.name, self.prefix + credential


BEARER_TOKEN = HeaderKey("authorization", "Bearer ")
X_API_KEY = HeaderKey("x-api-key")
X_GOOG_API_KEY = HeaderKey("x-goog-api-key")
API_KEY = HeaderKey("api-key")


PROJECT = "x-goog-user-project"
"""The header of the quota project (https://cloud.google.com/docs/quotas/set-quota-project)."""


@attrs.frozen(repr=False)
class GoogleToken:
    """A signer that sends a bearer token, with its project if it has one, which personal tokens require."""

    @property
    def names(self) -> tuple[str, ...]:
        return ("authorization", PROJECT)

    def sign(self, request: UnsignedRequest, credential: Credential, at: float) -> tuple[tuple[str, str], ...]:
        if not isinstance(credential, ProjectToken):
            return BEARER_TOKEN.sign(request, credential, at)
        return (BEARER_TOKEN.header(credential.token), (PROJECT, credential.project))


GOOGLE_TOKEN = GoogleToken()
