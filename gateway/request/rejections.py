"""Members of requests that providers have rejected, remembered in this process so that it is not sent to them again."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable

import attrs

from gateway.request.client_request import ClientRequest
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.errors.rejected import Path

LIFETIME = 3600.0  # seconds: a server that has learned the member meanwhile gets it again
MOST_KEYS = 512
MOST_PATHS = 32
DIGEST = 16  # characters of the digest of a credential


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class RejectionKey:
    """The two parties of a rejection: one model at one address, in one version of its API, by one entry; and the client
    that met it. What one account may not say another may, and no client decides what others send."""

    url: str
    model: str
    version: str | None = None
    entry: str = ""
    account: str | None = attrs.field(default=None, repr=False)
    """Tells the clients' own credentials apart where those are passed on; they cannot be had from it."""

    client: str | None = None
    """The client by its name, where there are keys."""

    @classmethod
    def to(cls, target: Target, asked: ClientRequest) -> "RejectionKey":
        """Where clients say themselves which version they speak, what one refuses another may take."""
        header = CODECS[target.api].wire.version_header if target.lane == "byte" else None
        version = None if header is None else asked.header(header)
        account = _digest(asked.credential) if target.entry.passthrough_auth else None
        return cls(target.url, target.model, version, target.entry.name, account, asked.client)


def _digest(credential: str | None) -> str | None:
    if credential is None:
        return None
    return hashlib.sha256(credential.encode(errors="surrogatepass")).hexdigest()[:DIGEST]


class RejectionCache:
    """Paths by whom they were refused by. Bounded: the oldest go first. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: OrderedDict[RejectionKey, OrderedDict[Path, float]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._found)

    def of(self, spoken: RejectionKey) -> tuple[Path, ...]:
        """The paths to leave out of a request, in the order in which it was learned."""
        paths = self._found.get(spoken)
        if paths is None:
            return ()
        now = self._clock()
        for path in [path for path, until in paths.items() if until <= now]:
            del paths[path]
        if not paths:
            del self._found[spoken]
        return tuple(paths)

    def add(self, spoken: RejectionKey, paths: Iterable[Path]) -> None:
        until = self._clock() + LIFETIME
        known = self._found.setdefault(spoken, OrderedDict())
        self._found.move_to_end(spoken)
        for path in paths:
            known[path] = until
            known.move_to_end(path)
        while len(known) > MOST_PATHS:
            known.popitem(last=False)
        while len(self._found) > MOST_KEYS:
            self._found.popitem(last=False)
