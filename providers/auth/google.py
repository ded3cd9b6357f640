"""The signer for Google's tokens, with the project whose quota their requests use."""

import attrs

from providers.auth.credential import Credential, ProjectToken
from providers.auth.keys import BEARER_TOKEN
from providers.auth.signer import UnsignedRequest

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
