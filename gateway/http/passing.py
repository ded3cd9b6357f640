"""The headers that may pass between a client and a provider of its own API, each with the reason.

Other headers stay in the gateway: the next proxies read headers that identify users, and a provider's headers could
control browsers and SDKs. A ``*`` at the end of a name matches any suffix."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

import attrs

from gateway.http.headers import Headers

Rows = Mapping[str, str]

TO_PROVIDER: Final[Rows] = {
    "user-agent": "the client's name; some providers treat programs differently by it",
    "x-stainless-*": "the SDK's own notes, made for the provider",
    "idempotency-key": "the SDKs' mark of a request that is sent again",
    "x-client-request-id": "an id by which the provider's support finds the request",
    "x-session-id": "OpenCode's: which requests share a prompt cache",
    "x-session-affinity": "the same",
    "traceparent": "W3C Trace Context: which trace the request is part of",
    "tracestate": "the same",
}
"""To providers of every API. Headers of a single API are in its ``WireApi``, those of a single provider in its row."""

TO_CLIENT: Final[Rows] = {
    "retry-after": "the wait that every SDK keeps to",
    "retry-after-ms": "the same, of OpenAI's and Anthropic's SDKs",
    "x-should-retry": "their command to try again, or not",
    "x-ratelimit-*": "what is left of the provider's limits",
    "ratelimit": "the same, as the IETF would have it",
    "ratelimit-*": "the same",
    "anthropic-*": "what is left of Anthropic's limits, by kind",
    "openai-*": "OpenAI's version, model and time of work",
    "x-codex-*": "Codex's limits, and the turn that it goes on with",
    "x-models-etag": "Codex's mark of its list of models",
    "x-reasoning-included": "what Codex's backend has counted",
    "x-oai-request-id": "an id by which the provider's support finds the request",
    "cf-ray": "the same, at a provider behind Cloudflare",
    "apim-request-id": "the same, at Azure",
    "x-ms-client-request-id": "the same, at Azure",
    "x-ms-region": "where Azure has answered from",
    "x-amzn-requestid": "an id for the support of AWS",
    "x-amzn-errortype": "which error of AWS it is",
    "x-amzn-bedrock-*": "Bedrock's count of tokens and time",
    "x-generation-id": "OpenRouter's id of the answer, for its price",
    "x-vercel-id": "an id for the support of Vercel",
    "x-groq-region": "where Groq has answered from",
    "deprecation": "RFC 9745: the model or the path is going",
    "sunset": "RFC 8594: when",
}
"""From every provider to clients of its API."""

ACCOUNT: Final[Rows] = {
    "openai-organization": "who pays, and in an answer the operator's name at the provider",
    "openai-project": "the same",
    "anthropic-organization-id": "the same",
    "anthropic-workspace-id": "the same",
    "chatgpt-account-id": "the same",
    "x-openai-internal-codex-residency": "the region of a ChatGPT workspace, which otherwise refuses Codex",
    "x-goog-user-project": "the same",
}
"""Headers about the credential, in both directions; only if the credential is the client's (``passthrough_auth``)."""


@attrs.frozen(repr=False)
class HeaderNames:
    """A set of lower-case header names: ``exact`` names and all with one of ``prefixes``, except ``barred`` names."""

    exact: frozenset[str]
    prefixes: tuple[str, ...] = ()
    barred: frozenset[str] = frozenset()

    @classmethod
    def of(cls, names: Iterable[str], barred: Iterable[str] = ()) -> "HeaderNames":
        """Return the set of ``names``; a ``*`` at the end of a name matches any suffix."""
        names = tuple(names)
        exact = frozenset(name for name in names if not name.endswith("*"))
        return cls(exact, tuple(name[:-1] for name in names if name.endswith("*")), frozenset(barred) - exact)

    def select(self, headers: Headers) -> list[tuple[str, str]]:
        """Return those of ``headers`` that are in the set."""
        exact, prefixes, barred = self.exact, self.prefixes, self.barred
        return [
            pair for pair in headers if pair[0] in exact or (pair[0].startswith(prefixes) and pair[0] not in barred)
        ]

    def __contains__(self, name: str) -> bool:
        return name in self.exact or (name.startswith(self.prefixes) and name not in self.barred)


@lru_cache(maxsize=512)
def to_provider(api: tuple[str, ...], provider: tuple[str, ...], added: tuple[str, ...], own: bool) -> HeaderNames:
    """Return the client's headers for a provider: those for every provider, for its ``api``, in its row, and ``added``
    ones.

    ``own``: the credential is the client's."""
    account = tuple(ACCOUNT) if own else ()
    return HeaderNames.of((*TO_PROVIDER, *api, *provider, *account, *added), ACCOUNT)


@lru_cache(maxsize=512)
def translated_header_names(added: tuple[str, ...], own: bool) -> HeaderNames:
    """Return the client's headers for a translated request: ``added`` ones, and those of the account if the credential
    is the client's ``own``."""
    return HeaderNames.of((*(tuple(ACCOUNT) if own else ()), *added))


@lru_cache(maxsize=512)
def to_client(added: tuple[str, ...], own: bool) -> HeaderNames:
    """Return the provider's headers for a client of its API."""
    account = tuple(ACCOUNT) if own else ()
    return HeaderNames.of((*TO_CLIENT, *account, *added), ACCOUNT)
