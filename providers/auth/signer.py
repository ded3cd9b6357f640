"""Signers, which return the headers that authenticate a request to a provider; their credentials; and signers that send
a credential unchanged in a header."""

from collections.abc import Collection, Sequence
from typing import Final, Literal, Protocol, TypeAlias

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


_OWNERS: Final[Sequence[tuple[str, Collection[str]]]] = (
    ("sk-ant-", ("anthropic",)), ("sk-or-", ("openrouter",)), ("sk-proj-", ("openai",)), ("AIza", ("gemini",)),
    ("ya29.", ("gemini",)), ("eyJ", ("chatgpt", "openai", "gemini")),
)  # fmt: skip
"""The providers that accept credentials with a prefix, among those whose credentials have prefixes of their own. A JSON
Web Token is a login with ChatGPT, or one for OpenAI or Google."""

_WITH_OWN_PREFIX: Final = frozenset(owner for _, owners in _OWNERS for owner in owners)


def is_of_another(credential: str, provider: str) -> bool:
    """Return whether ``credential`` certainly belongs to a provider other than ``provider``, an id."""
    owners = next((owners for prefix, owners in _OWNERS if credential.startswith(prefix)), None)
    return owners is not None and provider in _WITH_OWN_PREFIX and provider not in owners


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


@attrs.frozen(repr=False, slots=False)  # one for each request, and made with fewer calls
class UnsignedRequest:
    """A request to a provider, complete except for the signer's headers. Header names are in lower case."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Signer(Protocol):
    """A signer of requests with a provider's credential; it runs for each attempt, as signatures may be valid only
    once."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the headers that it adds, in lower case. The client's headers of these names are removed."""

    def sign(self, request: UnsignedRequest, credential: Credential, at: float) -> tuple[tuple[str, str], ...]:
        """Return the headers to add to ``request``, with names in lower case.

        ``at`` is the time in Unix seconds; the same arguments always give the same headers. Raises ``GatewayError`` if
        ``credential`` cannot sign the request.
        """


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
        return ((self.name, self.prefix + credential),)

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
