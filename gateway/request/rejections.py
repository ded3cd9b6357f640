"""Parts of requests that providers rejected: those that can be omitted are, and are remembered for later requests."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs

from gateway.request.client_request import ClientRequest, betas_of
from gateway.request.prepared import Prepared
from gateway.routing.plan import Outcome
from gateway.routing.target import NOTHING, Omissions, Target
from gateway.shared.owned_entries import OwnedEntries
from providers.apis import CODECS
from providers.errors.failures import rejects_reasoning
from providers.errors.member_paths import BETA, OTHER_API, ROUTE, WHOLE, Path, remove_path
from providers.errors.rejected import find_rejected, find_sole_rejected, is_protected, may_omit
from providers.neutral.fields import parse_json
from streams.errors import GatewayError
from streams.events import ErrorInfo


def rejected_parts(
    error: ErrorInfo,
    prepared: Prepared,
    client_request: ClientRequest,
    target: Target,
    prepare: Callable[[Omissions], Prepared],
    *,
    streams: bool = False,
) -> Omissions:
    """Return the parts of a request that the provider's ``error`` rejects and that can be omitted.

    They are in the body ``prepared`` or the headers ``client_request``.

    ``prepare`` writes the same request with omissions. A member about privacy, safety, identity or storage is included
    only if the error names nothing else: otherwise a quotation of the client's text could remove it. The address or
    the API is included if the provider of ``target`` has another one, the stream if ``streams``: the client receives
    one that is made from the whole answer."""
    sole_rejected = find_sole_rejected(error)
    named = [path for path in find_rejected(error) if path not in prepared.omissions.paths]
    named = [path for path in named if (path,) == sole_rejected or not is_protected(path)]
    named = [path for path in named if streams or path[:1] != WHOLE]
    if (elsewhere := next((path for path in named if _is_elsewhere(path, target)), None)) is not None:
        return Omissions(paths=(elsewhere,))
    if (whole := next((path for path in named if path[:1] == WHOLE), None)) is not None:
        return Omissions(paths=(whole,))
    omittable = {*_present_betas(client_request, named), *_omittable_members(prepared, named)}
    found = tuple(path for path in named if path in omittable)
    return Omissions(rejects_reasoning(error) and _has_reasoning(prepared, prepare), found)


def learned_paths(outcomes: Sequence[Outcome], target: Target) -> tuple[Path, ...]:
    """Return the paths to remember after a success of ``target`` that followed ``outcomes``.

    Each earlier rejection must have named one member alone, and its repetition must have omitted only that. Members
    about privacy, safety, identity or storage are never remembered."""
    refusals = [outcome for outcome in outcomes if outcome.target is target and outcome.refused]
    for refusal in refusals:
        omitted = refusal.refused.paths
        if refusal.refused != Omissions(paths=omitted) or not {*omitted} <= {*find_sole_rejected(refusal.error)}:
            return ()
    return tuple(path for outcome in refusals for path in outcome.refused.paths if not is_protected(path))


def _is_elsewhere(path: Path, target: Target) -> bool:
    """Return whether ``path`` rejects the address or the API, and the provider of ``target`` has another one."""
    if path == ROUTE:
        return target.alternative_url is not None
    if path[0] != OTHER_API or target.endpoint_place is not None:  # other endpoints exist in one API
        return False
    return path[1] != target.api and path[1] in target.row.other_apis


def _has_reasoning(prepared: Prepared, prepare: Callable[[Omissions], Prepared]) -> bool:
    """Return whether the request contains reasoning of earlier turns."""
    if prepared.omissions.reasoning:
        return False
    try:
        other = prepare(attrs.evolve(prepared.omissions, reasoning=True))
    except GatewayError:
        return False
    return other.outgoing.body != prepared.outgoing.body


def _present_betas(client_request: ClientRequest, paths: Iterable[Path]) -> Iterator[Path]:
    """Yield those of ``paths`` that are betas of the request, which may have thousands that the provider repeats."""
    present = {(BETA, beta) for beta in betas_of(client_request)}
    yield from (path for path in paths if path in present or (path == (BETA,) and present))


def _omittable_members(prepared: Prepared, paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the first ``MOST_PATHS`` of ``paths`` that the request contains, if it can be sent without them.

    A removal takes time in proportion to the body, so an error cannot cause many."""
    from providers.errors.other_shapes import find_shape  # imported soon after the start

    members = [path for path in paths if path[0] != BETA][:MOST_PATHS]
    try:
        body = parse_json(prepared.outgoing.body, dict[str, Any]) if members else {}
    except GatewayError:  # it has no members: it was forwarded unchanged
        return
    for path in members:
        if (shape := find_shape(path)) is not None:
            if shape.change(body):
                yield path
            continue
        _, places = remove_path(body, path)
        if places and all(may_omit(place, body) for place in places):
            yield path


LIFETIME = 3600.0  # seconds, because a server may learn to accept the member
MOST_KEYS = 512
MOST_PATHS = 32
DIGEST = 16  # characters of the digest of a credential


@attrs.frozen(slots=False)  # created for each request; cheaper to construct without slots
class RejectionKey:
    """Identifies a rejection: the model, address, API version and entry that rejected the member, and the client that
    sent it.

    Another account may use the member, and no client affects the requests of others."""

    url: str
    model: str
    version: str | None = None
    entry: str = ""
    account: str | None = attrs.field(default=None, repr=False)
    """Distinguishes the clients' own credentials if they are forwarded, without revealing them."""

    client: str | None = None
    """The client's name, if there are keys."""

    @property
    def owner(self) -> str:
        """The client to which the rejection belongs: its name, or the digest of its own credential."""
        return self.client or self.account or ""

    @classmethod
    def to(cls, target: Target, client_request: ClientRequest) -> "RejectionKey":
        """Return the key of ``target`` and the client.

        It includes the version header of the client, because versions accept different members."""
        header = CODECS[target.api].wire.version_header if target.lane == "byte" else None
        version = None if header is None else client_request.header(header)
        account = _digest(client_request.credential) if target.entry.passthrough_auth else None
        return cls(target.url, target.model, version, target.entry.name, account, client_request.client)


def _digest(credential: str | None) -> str | None:
    if credential is None:
        return None
    return hashlib.sha256(credential.encode(errors="surrogatepass")).hexdigest()[:DIGEST]


class RejectionCache:
    """Rejected paths by key. Bounded: the client with the most keys loses its oldest. ``clock`` returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: OwnedEntries[str, RejectionKey, OrderedDict[Path, float]] = OwnedEntries(MOST_KEYS)

    def known_omissions(self, target: Target, client_request: ClientRequest) -> Omissions:
        """Return the parts of the client's request that the provider of ``target`` rejected before."""
        if not self._found:
            return NOTHING
        paths = self.of(RejectionKey.to(target, client_request))
        return Omissions(paths=paths) if paths else NOTHING

    def remember(self, target: Target, client_request: ClientRequest, paths: Iterable[Path]) -> None:
        """Remember that the provider of ``target`` rejects ``paths`` in the client's requests."""
        self.add(RejectionKey.to(target, client_request), paths)

    def of(self, key: RejectionKey) -> tuple[Path, ...]:
        """Return the paths to omit from a request, in the order of their rejections."""
        paths = self._found.get(key.owner, key)
        if paths is None:
            return ()
        now = self._clock()
        for path in [path for path, until in paths.items() if until <= now]:
            del paths[path]
        if not paths:
            self._found.remove(key.owner, key)
        return tuple(paths)

    def add(self, key: RejectionKey, paths: Iterable[Path]) -> None:
        until = self._clock() + LIFETIME
        known = self._found.get(key.owner, key) or OrderedDict[Path, float]()
        self._found.put(key.owner, key, known)
        for path in paths:
            known[path] = until
            known.move_to_end(path)
        while len(known) > MOST_PATHS:
            known.popitem(last=False)
