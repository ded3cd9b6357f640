"""Members of requests that providers rejected, remembered in this process and omitted from later requests."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import attrs

from gateway.request.client_request import ClientRequest
from gateway.routing.target import NOTHING, Omissions, Target
from gateway.shared.owned_entries import OwnedEntries
from providers.apis import CODECS
from providers.errors.rejected import Path

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
        self._found: OwnedEntries[RejectionKey, OrderedDict[Path, float]] = OwnedEntries(MOST_KEYS)

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
