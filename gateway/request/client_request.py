"""The HTTP side of a client's request, and its ``anthropic-beta`` header."""

from collections.abc import Collection, Iterable

import attrs

from gateway.http.headers import Headers, bearer_token, sent_credential
from gateway.request.parse import NO_PARAMETERS, PathParameters
from providers.errors.member_paths import BETA, Path
from providers.neutral.patterns import fits, is_wild
from providers.neutral.wire_api import WireApi
from streams.framing import Framing


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class ClientRequest:
    """The HTTP side of a client's request: headers with lower-case names, the query string without its ``?``, the name
    of the client that its key belongs to, and what its path contains."""

    headers: Headers
    query: str
    client: str | None = None
    path: PathParameters = NO_PARAMETERS

    def header(self, name: str) -> str | None:
        """Return the last value of the header ``name`` (lower case), or ``None``."""
        return dict(self.headers).get(name)

    def framing(self, wire: WireApi) -> Framing:
        """Return the framing of a stream of ``wire`` for this client."""
        return self.path.framing or wire.framing_for(self.query)

    @property
    def credential(self) -> str | None:
        """The client's key from any of the SDKs' headers; only for ``passthrough_auth``."""
        return sent_credential(self.headers)

    @property
    def has_bearer(self) -> bool:
        """Whether ``credential`` came as ``Authorization: Bearer``."""
        return bool(bearer_token(self.headers))


def betas_of(request: ClientRequest) -> list[str]:
    """Return the values of the ``anthropic-beta`` header of a request."""
    return [beta.strip() for name, value in request.headers if name == BETA for beta in value.split(",")]


def with_betas(request: ClientRequest, betas: Collection[str]) -> ClientRequest:
    """Add ``betas`` to the ``anthropic-beta`` header of a request."""
    if not betas:
        return request
    present = betas_of(request)
    if all(beta in present for beta in betas):
        return request
    value = ",".join(dict.fromkeys((*present, *betas)))
    others = tuple(pair for pair in request.headers if pair[0] != BETA)
    return attrs.evolve(request, headers=(*others, (BETA, value)))


def with_headers(request: ClientRequest, headers: Headers) -> ClientRequest:
    """Replace the headers of a request that are among ``headers``, and omit those with an empty value."""
    if not headers:
        return request
    names = {name for name, _ in headers}
    others = tuple(pair for pair in request.headers if pair[0] not in names)
    return attrs.evolve(request, headers=(*others, *(pair for pair in headers if pair[1])))


def without_betas(request: ClientRequest, paths: Iterable[Path]) -> tuple[ClientRequest, tuple[str, ...]]:
    """Remove the values of ``anthropic-beta`` that match ``paths`` (shell patterns), and return their paths."""
    patterns = [path[1] if len(path) > 1 else "*" for path in paths if path[0] == BETA]
    if not patterns:
        return request, ()
    names = frozenset(patterns)  # many if a provider repeats those of the client
    wild = [pattern for pattern in names if is_wild(pattern)]
    headers: list[tuple[str, str]] = []
    dropped: list[str] = []
    for name, value in request.headers:
        if name == BETA:
            betas = [beta.strip() for beta in value.split(",")]
            removed = {beta for beta in betas if beta in names or any(fits(beta, one) for one in wild)}
            dropped.extend(f"{BETA}.{beta}" for beta in betas if beta in removed)
            if removed:
                value = ",".join(beta for beta in betas if beta not in removed)
        if value or name != BETA:
            headers.append((name, value))
    return attrs.evolve(request, headers=tuple(headers)), tuple(dropped)
