"""Authentication: which clients may come in, and which models each of them may use.

A client shows its key as ``Authorization: Bearer``, ``x-api-key`` or ``x-goog-api-key``, or in several of these, as
SDKs for different APIs do. With ``x-trigate-key`` those are left for the provider's own key, which
``passthrough_auth`` sends on. Or it shows a certificate, where the listener asks for one; a key of this gateway beside
that outranks it.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeAlias

import attrs

from configfile.wording import spelled_time
from gateway.access.refused_keys import KeyRefused
from gateway.config.clients import ClientKey, RealtimeGrant
from gateway.config.model_entry import ModelEntry
from gateway.config.names import Names
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from gateway.http.certificates import NOBODY, CertificateNames
from gateway.http.headers import PLAIN_KEYS, Headers, shown_credential
from streams.errors import GatewayError

OWN_HEADER = "x-trigate-key"

# Claude Code repeats a 401 for minutes without the first; RFC 9110, section 11.6.1, requires the second.
_HEADERS = (("x-should-retry", "false"), ("www-authenticate", "Bearer"))

_MISSING = (
    "a key of this gateway is required: send it as Authorization: Bearer, as x-api-key, x-goog-api-key or x-trigate-key"
)
_SIGNED = (
    "a key of this gateway is required, and AWS's signature is none, for it is made for AWS: send the key as a Bedrock "
    "API key (AWS_BEARER_TOKEN_BEDROCK), or as x-trigate-key"
)
_AMBIGUOUS = "the request holds different keys: send the gateway's key only, or send it as x-trigate-key"
_UNKNOWN = "the key is none of this gateway's: check it for spaces and missing characters, or ask who runs the gateway"
_ENDED = "this key of the gateway has ended on {}: ask who runs the gateway for the one that is in its place"
_CLIENT_ENDED = "this client of the gateway has ended on {}: ask who runs the gateway"
_NO_CLIENT = (
    "the client certificate has none of the names that this gateway's client_keys list, and no key is shown beside it: "
    "ask who runs the gateway"
)
_WRONG_PLACE = (
    "this model takes the provider's own key in authorization or x-api-key: send the gateway's key as x-trigate-key"
)
_UNREAD = "the keys of this gateway cannot be looked up at the moment: try again in a few seconds"
_LIMITED = "the key {!r} is for some models only: this shows what all clients do, and needs a key without `models`"
_NOT_OPERATOR = (
    "the key {!r} is a client's: this shows what all clients do and spend, and needs the metrics_key or the ui_key"
)
_OPERATOR_KEY = "this shows what all clients do and spend: send the metrics_key or the ui_key as Authorization: Bearer"

_Grant: TypeAlias = str | tuple[str, str]
"""An alias, a route or a wildcard entry by its name, or one model of an entry."""


@attrs.frozen
class _Holder:
    """A client of the configuration. It may use what is in each of its ``grants``: with none, everything. ``wall`` is
    ``None`` where every entry may serve it; else it has the names of those that may."""

    key: ClientKey
    grants: tuple[frozenset[_Grant], ...]
    wall: frozenset[str] | None


@attrs.frozen
class _Accepted:
    """A key of ``holder``, refused from ``until`` on."""

    holder: _Holder
    until: datetime | None


class Authenticator:
    """The clients of one configuration, and the models that each may use. Where it asks for no key everybody may. Has
    no state; safe to share."""

    def __init__(self, config: Config, now: Callable[[], float] = time.time) -> None:
        """``now`` is the time as Unix has it, by which keys end."""
        self._now = now
        self._is_open = not config.asks_for_key
        self._unread = config.stored_keys == "unread"
        self._operator_keys = frozenset(key for key in (config.metrics_key, config.ui_key) if key is not None)
        self._is_open_to_view = self._is_open and config.metrics_key is None
        self._names = Names(config.entries, config.aliases, config.routes)
        self._entries = config.entries
        wild = {entry.name for entry in config.entries if entry.wildcard}
        self._holders = tuple(_Holder(key, self._grants(key, wild), self._wall(key)) for key in config.client_keys)
        self._by_name: Mapping[str, _Holder] = {holder.key.name: holder for holder in self._holders}
        self._accepted = dict(one for holder in self._holders for one in _accepted(holder))
        self._certificates = {holder.key.certificate: holder for holder in self._holders if holder.key.certificate}

    def _grants(self, key: ClientKey, wild: set[str]) -> tuple[frozenset[_Grant], ...]:
        return tuple(frozenset(self._grant(name, name in wild) for name in models) for models in key.lists_of_models)

    def _grant(self, name: str, wild: bool) -> _Grant:
        if wild or name in self._names.aliases or name in self._names.routes:
            return name
        found = self._names.find(name)
        return found.entry.name, found.model

    def _wall(self, key: ClientKey) -> frozenset[str] | None:
        if not key.walls:
            return None
        names = [entry.name for entry in self._entries]
        return frozenset(name for name in names if all(matches_one(name, patterns) for patterns in key.walls))

    def wall(self, client: str | None) -> frozenset[str] | None:
        """The names of the entries that may ever serve ``client``, ``None`` for all."""
        return None if client is None else self._by_name[client].wall

    def authenticate(self, headers: Headers, certificate: CertificateNames = NOBODY) -> str | None:
        """The name of the client whose key ``headers`` hold, or whose verified ``certificate`` has come; ``None`` where
        the door is open to all.

        Raises ``GatewayError`` (401), which never repeats the key; 503 for one that nobody could look up yet."""
        if self._is_open:
            return None
        shown = _keys(headers)
        if certificate and (client := self._certified(headers, shown, certificate)) is not None:
            return client
        if not shown:
            missing = _SIGNED if _is_signed(headers) else _MISSING
            raise _unauthorized(_NO_CLIENT if certificate else missing, "missing")
        if len(shown) > 1:
            raise _unauthorized(_AMBIGUOUS, "several")
        accepted = self._find(shown.pop())
        if accepted is None and self._unread:
            raise GatewayError("overloaded", _UNREAD, headers=(("retry-after", "1"),))
        if accepted is None:
            raise _unauthorized(_UNKNOWN, "unknown")
        if accepted.until is not None and self._now() >= accepted.until.timestamp():
            raise _unauthorized(_ENDED.format(spelled_time(accepted.until)), "ended", accepted.holder.key.name)
        return accepted.holder.key.name

    def _certified(self, headers: Headers, shown: set[str], certificate: CertificateNames) -> str | None:
        """The client of a ``certificate``, unless one of the keys ``shown`` beside it is meant for this gateway: SDKs
        send some key always, and ``passthrough_auth`` needs the provider's."""
        holder = next((one for name, one in self._certificates.items() if name in certificate), None)
        if holder is None or any(name == OWN_HEADER for name, _ in headers) or any(map(self._find, shown)):
            return None
        if (end := holder.key.until) is not None and self._now() >= end.timestamp():
            raise _unauthorized(_CLIENT_ENDED.format(spelled_time(end)), "ended", holder.key.name)
        return holder.key.name

    def seconds_left(self, headers: Headers) -> float:
        """The seconds until the key in ``headers``, which is a good one, ends: infinitely many for most."""
        found = [self._find(key) for key in _keys(headers)]
        ends = [one.until.timestamp() - self._now() for one in found if one is not None and one.until is not None]
        return min(ends, default=math.inf)

    def authenticate_operator(self, headers: Headers, certificate: CertificateNames = NOBODY) -> None:
        """Check that a request may see what concerns all clients: it shows ``metrics_key`` or ``ui_key``. With neither
        of the two in the configuration a client key without ``models`` is enough.

        Raises ``GatewayError``: 401 and 503 as ``authenticate`` does, 403 for a client's key."""
        shown = _keys(headers)
        if self._is_open_to_view or any(_digest(key) in self._operator_keys for key in shown):
            return
        if self._is_open:
            raise _unauthorized(_OPERATOR_KEY, "unknown" if shown else "missing")
        client = self.authenticate(headers, certificate)
        assert client is not None
        if self._operator_keys or self._by_name[client].grants:
            message = (_NOT_OPERATOR if self._operator_keys else _LIMITED).format(client)
            raise GatewayError("permission", message, headers=(("x-should-retry", "false"),))

    def _find(self, key: str) -> _Accepted | None:
        """Takes the same time for every key, and for any number of clients: nobody can choose the bytes of a digest,
        and it is compared with those alone whose hash, made with a secret of this process, is the same."""
        return self._accepted.get(_digest(key))

    def check(self, client: str | None, asked: str, entry: ModelEntry, model: str, credential: str | None) -> None:
        """Check that the request of ``client`` (a name from ``authenticate``) for ``model`` of ``entry`` may go out,
        where the entry passes ``credential`` on.

        Raises ``GatewayError``: 403 for a model that is not the client's, 401 where a key of this gateway would go to
        a provider."""
        if not self.allows(client, asked, entry, model):
            message = f"the key {client!r} may not use model {asked!r}; GET /v1/models lists those that it may"
            raise GatewayError("permission", message, param="model", headers=(("x-should-retry", "false"),))
        self.check_credential(entry, credential)

    def reaches(self, client: str | None, entry: ModelEntry) -> bool:
        """True if ``client`` may use a model of ``entry``, whichever that is."""
        if client is None:
            return True
        wall = self.wall(client)
        return (wall is None or entry.name in wall) and all(
            any(self._leads_to(grant, entry) for grant in grants) for grants in self._by_name[client].grants
        )

    def _leads_to(self, grant: _Grant, entry: ModelEntry) -> bool:
        if isinstance(grant, tuple):
            return grant[0] == entry.name
        if grant == entry.name:
            return True
        try:
            return any(one.entry is entry for one in self._names.meaning(grant).found)
        except GatewayError:
            return False

    def knows(self, client: str) -> bool:
        """True if ``client`` is one of this configuration whose time is not over."""
        holder = self._by_name.get(client)
        return holder is not None and (holder.key.until is None or self._now() < holder.key.until.timestamp())

    def is_limited(self, client: str | None) -> bool:
        """True if ``client`` may use some models only."""
        return client is not None and bool(self._by_name[client].grants)

    def check_further(self, client: str | None, at: str, name: str, entry: ModelEntry) -> None:
        """Check that ``client`` may have the provider of ``entry`` use the model ``name`` that stands ``at`` a place of
        the request beside its own: it goes there as it is, so that only the provider's own name will do. Raises
        ``GatewayError`` (403)."""
        if client is None:
            return
        beside = [(other, name) for other in self._beside(entry)]
        if all(
            (entry.wildcard and entry.name in grants) or not grants.isdisjoint(beside)
            for grants in self._by_name[client].grants
        ):
            return
        message = f"the key {client!r} may not use the model {name[:100]!r} that {at} names: leave {at} out"
        raise GatewayError("permission", message, param=at, headers=(("x-should-retry", "false"),))

    def _beside(self, entry: ModelEntry) -> tuple[str, ...]:
        """The entries of the same provider at the same place, ``entry`` among them."""
        place = (entry.provider.id, entry.base_url)
        return tuple(other.name for other in self._entries if (other.provider.id, other.base_url) == place)

    def check_passage(self, client: str | None, entry: ModelEntry, credential: str | None) -> None:
        """Check that ``client`` may pass any request to ``entry``, which may pass ``credential`` on. Raises
        ``GatewayError``: 403, and 401 as ``check`` does."""
        if client is not None:
            key, wall = self._by_name[client].key, self.wall(client)
            if (wall is not None and entry.name not in wall) or not matches_one(entry.name, key.passthrough):
                message = f"the key {client!r} may not pass requests to {entry.name}: `passthrough` does not name it"
                raise GatewayError("permission", message, headers=(("x-should-retry", "false"),))
        self.check_credential(entry, credential)

    def check_credential(self, entry: ModelEntry, credential: str | None) -> None:
        """Raises ``GatewayError`` (401) where ``entry`` would pass a key of this gateway on to its provider."""
        if entry.passthrough_auth and self.is_misplaced(entry, credential):
            raise _unauthorized(_WRONG_PLACE, "wrong place")

    def is_misplaced(self, entry: ModelEntry, credential: str | None) -> bool:
        """True if ``entry`` would pass a key of this gateway on to its provider."""
        return entry.passthrough_auth and bool(credential) and self._find(credential or "") is not None

    def allows(self, client: str | None, asked: str, entry: ModelEntry, model: str) -> bool:
        """True if ``client`` may use ``model`` of ``entry`` under the name ``asked``."""
        if client is None or not (lists := self._by_name[client].grants):
            return True
        named = self._names.configured(asked)
        return all(
            named in grants or (entry.name, model) in grants or (entry.wildcard and entry.name in grants)
            for grants in lists
        )

    def realtime_grant(self, client: str | None) -> RealtimeGrant:
        """What ``client`` may have of realtime sessions that go past the gateway."""
        return RealtimeGrant() if client is None else self._by_name[client].key.realtime

    def allowed(self, client: str | None, names: Iterable[str]) -> frozenset[str]:
        """The ``names`` (configured models) that ``client`` may ask for."""
        return frozenset(name for name in names if self.can_use(client, name))

    def can_use(self, client: str | None, name: str) -> bool:
        """True if ``client`` may ask for a model by ``name``, one of the configuration's."""
        if client is None or not (self._by_name[client].grants or self._by_name[client].key.walls):
            return True
        try:
            meaning = self._names.meaning(name)
        except GatewayError:  # two entries offer it: nobody gets it under this name
            return False
        wall = self.wall(client)
        inside = [one for one in meaning.found if wall is None or one.entry.name in wall]
        return bool(inside) and all(self.allows(client, name, one.entry, one.model) for one in inside)


def _accepted(holder: _Holder) -> Iterator[tuple[bytes, _Accepted]]:
    """Its keys, by their digests."""
    for key in holder.key.keys:
        ends = [end for end in (key.until, holder.key.until) if end is not None]
        yield key.digest, _Accepted(holder, min(ends, default=None))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("latin-1", "replace")).digest()


def _keys(headers: Headers) -> set[str]:
    """The different keys that a request shows; of a proxy's ``Authorization: Basic`` nothing is to be said here."""
    if own := {value.strip() for name, value in headers if name == OWN_HEADER}:
        return own
    bearers = (value[7:] for name, value in headers if name == "authorization" and value[:7].lower() == "bearer ")
    plain = (value for name, value in headers if name in PLAIN_KEYS)
    return {key for value in (*bearers, *plain) if (key := value.strip())}


def _is_signed(headers: Headers) -> bool:
    """Whether an SDK of AWS's has signed the request with credentials of its own, as it does unless it has a token."""
    return any(name == "authorization" and value.startswith("AWS4-HMAC-") for name, value in headers)


def passed_by(headers: Headers) -> str:
    """A name for whoever shows the credential for a provider in ``headers``, from which it cannot be had: one name for
    all who show none."""
    shown = (shown_credential(headers) or "").encode("latin-1", "replace")
    return "credential " + hashlib.sha256(shown).hexdigest()[:32]


def _unauthorized(message: str, reason: str, client: str | None = None) -> KeyRefused:
    return KeyRefused(message, reason, client, headers=_HEADERS)
