"""Authentication: which clients may connect, and which models each may use.

A client sends its key as ``Authorization: Bearer``, ``x-api-key`` or ``x-goog-api-key``, or in several of them, as the
SDKs do. With ``x-trigate-key``, the other headers can carry the provider's own key for ``passthrough_auth``. A client
certificate also identifies a client; a gateway key in the same request takes precedence."""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final, TypeAlias

import attrs

from configfile.wording import spell_time
from gateway import OPEN_KEY
from gateway.access.refused_keys import KeyRefused
from gateway.config.clients import ClientKey, Role
from gateway.config.model_entry import ModelEntry
from gateway.config.names import Names
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from gateway.http.certificates import NOBODY, CertificateNames
from gateway.http.headers import PLAIN_KEYS, Headers, sent_credential
from streams.errors import GatewayError

OWN_HEADER = "x-trigate-key"

# Claude Code retries a 401 for minutes without the first header; RFC 9110, section 11.6.1, requires the second.
_HEADERS = (("x-should-retry", "false"), ("www-authenticate", "Bearer"))

_MISSING = (
    "this gateway requires a key: send it as Authorization: Bearer, or as x-api-key, x-goog-api-key or x-trigate-key"
)
_SIGNED = (
    "this gateway requires a key and does not accept AWS signatures: send the key as a Bedrock API key "
    "(AWS_BEARER_TOKEN_BEDROCK), or as x-trigate-key"
)
_AMBIGUOUS = "the request has several different keys: send only the gateway's key, or send it as x-trigate-key"
_UNKNOWN = "unknown key: check it for spaces and missing characters, or ask the gateway's operator"
_OPERATORS_OWN = "this is the gateway's metrics_key or ui_key, for metrics and operators' pages: send a client's key"
_ENDED = "this key expired on {}: ask the gateway's operator for the new key"
_CLIENT_ENDED = "the access of this client expired on {}: ask the gateway's operator"
_NO_CLIENT = (
    "the client certificate matches none of the gateway's client_keys, and the request has no key: ask the "
    "gateway's operator"
)
_WRONG_PLACE = (
    "this model needs the provider's own key in authorization or x-api-key: send the gateway's key as x-trigate-key"
)
_OF_ANOTHER = "this model needs a key or login of {}, and the request has another provider's, which is not passed on"
_UNREAD = "the gateway cannot read its stored keys at the moment: try again in a few seconds"
_LIMITED = "the key {!r} is limited to some models: this page shows all clients, and needs a key without `models`"
_NOT_OPERATOR = (
    "the key {!r} belongs to a client: this page shows the usage of all clients, and needs the metrics_key or the "
    "ui_key"
)
_NOT_AUDITOR = "{} is a user here: this page shows the usage of all clients, and needs the role auditor or admin"
_OPERATOR_KEY = "this page shows the usage of all clients: send the metrics_key or the ui_key as Authorization: Bearer"

_Grant: TypeAlias = str | tuple[str, str]
"""The name of an alias, route or wildcard entry, or the names of an entry and one of its models."""


@attrs.frozen(eq=False, repr=False)
class _Holder:
    """A client of the configuration.

    The client may use a model that each list in ``grants`` contains; without lists, every model. ``wall`` has the names
    of the entries that may serve it, ``None`` for all."""

    key: ClientKey
    grants: tuple[frozenset[_Grant], ...]
    wall: frozenset[str] | None


@attrs.frozen(eq=False, repr=False)
class _Accepted:
    """A key of ``holder``, rejected from ``until`` on."""

    holder: _Holder
    until: datetime | None


_MODELS: Final = ("entries", "aliases", "routes")
"""The parts of a configuration by which models are found."""


class Authenticator:
    """The clients of one configuration and the models that each may use.

    If the configuration requires no key, every client may use everything. Stateless and safe to share."""

    def __init__(
        self, config: Config, now: Callable[[], float] = time.time, before: "Authenticator | None" = None
    ) -> None:
        """Reuse the rights of unchanged clients from the last configuration's ``before``: there may be thousands.

        ``now`` returns Unix time, by which keys expire."""
        self._now = now
        self._config = config
        self._is_open = not config.asks_for_key
        self._unread = config.stored_clients == "unread"
        self._operator_keys = frozenset(key for key in (config.metrics_key, config.ui_key) if key is not None)
        self._is_open_to_view = self._is_open and config.metrics_key is None
        self._names = Names.of(config)
        self._entries = config.entries
        wild = {entry.name for entry in config.entries if entry.wildcard}
        self.unlisted: Final = config.unlisted
        """Clients that no list has; ``None`` if the configuration has none."""

        known = {} if before is None else before._reusable_holders(config)

        def make_holder(key: ClientKey) -> _Holder:
            found = known.get(key.name)
            if found is not None and found.key is key:
                return found
            return _Holder(key, self._grants(key, wild), self._entries_within_walls(key))

        self._by_name = config.by_client(make_holder)
        known.clear()  # the table keeps the function for unlisted clients
        holders = self._by_name.values()
        self._accepted = dict(one for holder in holders for one in _accepted_keys(holder))
        self._certificates = {holder.key.certificate: holder for holder in holders if holder.key.certificate}

    def _reusable_holders(self, config: Config) -> dict[str, _Holder]:
        """Return the clients by name if ``config`` has the same models, on which their rights depend."""
        is_same = all(getattr(config, name) is getattr(self._config, name) for name in _MODELS)
        return {holder.key.name: holder for holder in self._by_name.values()} if is_same else {}

    def _grants(self, key: ClientKey, wild: set[str]) -> tuple[frozenset[_Grant], ...]:
        return tuple(frozenset(self._grant(name, name in wild) for name in models) for models in key.lists_of_models)

    def _grant(self, name: str, wild: bool) -> _Grant:
        if wild or name in self._names.aliases or self._names.route_of(name) is not None:
            return name
        found = self._names.find(name)
        return found.entry.name, found.model

    def _entries_within_walls(self, key: ClientKey) -> frozenset[str] | None:
        if not key.walls:
            return None
        names = [entry.name for entry in self._entries]
        return frozenset(name for name in names if all(matches_one(name, patterns) for patterns in key.walls))

    def group_of(self, client: str | None) -> str | None:
        """Return the name of the group of ``client``, if it has one."""
        return None if client is None else self._by_name[client].key.group_name

    def role_of(self, client: str | None) -> Role:
        """Return the role of ``client`` in the current request, which the file alone gives.

        The credential of an unlisted client decides about its role."""
        if client is None:
            return "user"
        sent = None if self.unlisted is None else self.unlisted.sent_rights(client)
        return self._by_name[client].key.role if sent is None else sent.caller.role

    def find_group(self, client: str | None) -> str | None:
        """Return the group of ``client``, which may have been removed from the configuration since its request."""
        known = None if client is None else self._by_name.get(client)
        return None if known is None else known.key.group_name

    def wall(self, client: str | None) -> frozenset[str] | None:
        """Return the names of the entries that may ever serve ``client``, ``None`` for all."""
        return None if client is None else self._by_name[client].wall

    def authenticate(self, headers: Headers, certificate: CertificateNames = NOBODY) -> str | None:
        """Return the name of the client that the key in ``headers`` or the verified ``certificate`` identifies.

        Return ``None`` if no key is required. Raises ``GatewayError``: 401 without repeating the key, 503 if the stored
        keys could not be read yet."""
        if self._is_open:
            return None
        keys = sent_keys(headers)
        if certificate and (client := self._client_of_certificate(headers, keys, certificate)) is not None:
            return client
        if self.unlisted is not None and not any(map(self._find, keys)):
            unlisted = self.unlisted.identify(headers, keys)
            if unlisted is not None:
                return unlisted
        if not keys:
            missing = _SIGNED if _is_signed(headers) else _MISSING
            raise _key_refusal(_NO_CLIENT if certificate else missing, "missing")
        if len(keys) > 1:
            raise _key_refusal(_AMBIGUOUS, "several")
        key = keys.pop()
        accepted = self._find(key)
        if accepted is None and _digest(key) in self._operator_keys:
            raise _key_refusal(_OPERATORS_OWN, "unknown")
        if accepted is None and self._unread:
            raise GatewayError("overloaded", _UNREAD, headers=(("retry-after", "1"),))
        if accepted is None:
            raise _key_refusal(_UNKNOWN, "unknown")
        if accepted.until is not None and self._now() >= accepted.until.timestamp():
            raise _key_refusal(_ENDED.format(spell_time(accepted.until)), "ended", accepted.holder.key.name)
        return accepted.holder.key.name

    def _client_of_certificate(self, headers: Headers, keys: set[str], certificate: CertificateNames) -> str | None:
        """Return the client that ``certificate`` identifies, unless the request also has a key of this gateway.

        SDKs always send some key, and ``passthrough_auth`` needs the provider's: other keys do not count."""
        holder = next((one for name, one in self._certificates.items() if name in certificate), None)
        if holder is None or any(name == OWN_HEADER for name, _ in headers) or any(map(self.is_own_credential, keys)):
            return None
        if (end := holder.key.until) is not None and self._now() >= end.timestamp():
            raise _key_refusal(_CLIENT_ENDED.format(spell_time(end)), "ended", holder.key.name)
        return holder.key.name

    def seconds_left(self, headers: Headers) -> float:
        """Return the seconds until the valid key in ``headers`` expires, infinity for most."""
        keys = sent_keys(headers)
        found = [self._find(key) for key in keys]
        if self.unlisted is not None and not any(found):
            return self.unlisted.seconds_left(headers, keys)
        ends = [one.until.timestamp() - self._now() for one in found if one is not None and one.until is not None]
        return min(ends, default=math.inf)

    def authenticate_operator(self, headers: Headers, certificate: CertificateNames = NOBODY) -> None:
        """Check that a request has the ``metrics_key`` or ``ui_key``, and so may see data of all clients.

        If neither is configured, a client key without ``models`` is enough. Raises ``GatewayError``: 401 and 503 as
        ``authenticate`` does, 403 for a client's key."""
        keys = sent_keys(headers)
        if self._is_open_to_view or any(_digest(key) in self._operator_keys for key in keys):
            return
        if self._is_open:
            raise _key_refusal(_OPERATOR_KEY, "unknown" if keys else "missing")
        client = self.authenticate(headers, certificate)
        assert client is not None
        if self.role_of(client) in ("auditor", "admin"):
            return
        if self._by_name[client].key.source == "rule":
            raise GatewayError("permission", _NOT_AUDITOR.format(client), headers=(("x-should-retry", "false"),))
        if self._operator_keys or self._by_name[client].grants:
            message = (_NOT_OPERATOR if self._operator_keys else _LIMITED).format(client)
            raise GatewayError("permission", message, headers=(("x-should-retry", "false"),))

    async def prepare(self, headers: Headers, certificate: CertificateNames = NOBODY) -> None:
        """Wait until ``authenticate`` can judge the token in a request, two seconds at most. Never raises.

        Only a token of an unlisted client may take time."""
        if self.unlisted is None or any(name in certificate for name in self._certificates):
            return
        keys = sent_keys(headers)
        if not any(_digest(key) in self._operator_keys or self._find(key) for key in keys):
            await self.unlisted.prepare(headers, keys)

    def is_own_credential(self, credential: str) -> bool:
        """Return whether ``credential`` is for this gateway: a client key, or a token of an unlisted client."""
        return self._find(credential) is not None or (self.unlisted is not None and self.unlisted.owns(credential))

    def _find(self, key: str) -> _Accepted | None:
        """Return the accepted key that equals ``key``, in constant time.

        The lookup compares digests whose hash depends on a secret of this process, so timing reveals nothing about
        other keys."""
        return self._accepted.get(_digest(key))

    def check(self, client: str | None, model_name: str, entry: ModelEntry, model: str, credential: str | None) -> None:
        """Check that ``client`` may use ``model`` of ``entry``, which may pass ``credential`` on.

        Raises ``GatewayError``: 403 if the client may not use the model, 401 if a gateway key would reach a
        provider."""
        if not self.allows(client, model_name, entry, model):
            key = None if client is None else self._by_name[client].key
            message = (
                f"the key {client!r} has the role {key.role} and no `models`, so it may use no model: list them in the "
                "configuration, or use another key"
                if key is not None and key.models == () and key.role != "user"
                else f"the key {client!r} may not use the model {model_name!r}; GET /v1/models lists the models that "
                "it may use"
            )
            raise GatewayError("permission", message, param="model", headers=(("x-should-retry", "false"),))
        self.check_credential(entry, credential)

    def reaches(self, client: str | None, entry: ModelEntry) -> bool:
        """Return whether ``client`` may use any model of ``entry``."""
        if client is None:
            return True
        wall = self.wall(client)
        return (wall is None or entry.name in wall) and all(
            any(self._covers(grant, entry) for grant in grants) for grants in self._by_name[client].grants
        )

    def _covers(self, grant: _Grant, entry: ModelEntry) -> bool:
        if isinstance(grant, tuple):
            return grant[0] == entry.name
        if grant == entry.name:
            return True
        try:
            return any(one.entry is entry for one in self._names.meaning(grant).found)
        except GatewayError:
            return False

    def knows(self, client: str) -> bool:
        """Return whether ``client``, which the gateway permitted a request, is configured and has not expired."""
        if self.unlisted is not None and (is_unlisted := self.unlisted.admit_by_name(client)) is not None:
            return is_unlisted
        holder = self._by_name.get(client)
        return holder is not None and (holder.key.until is None or self._now() < holder.key.until.timestamp())

    def is_limited(self, client: str | None) -> bool:
        """Return whether ``client`` may use some models only."""
        return client is not None and bool(self._by_name[client].grants)

    def check_additional_model(self, client: str | None, at: str, name: str, entry: ModelEntry) -> None:
        """Check that ``client`` may use the additional model ``name`` that member ``at`` of the request contains.

        The gateway sends this name unchanged, so it must be the provider's own. Raises ``GatewayError`` (403)."""
        if client is None or not (groups_of_grants := self._by_name[client].grants):
            return
        alternatives = [(other, name) for other in self._at_same_endpoint(entry)]
        if all(
            (entry.wildcard and entry.name in grants) or not grants.isdisjoint(alternatives)
            for grants in groups_of_grants
        ):
            return
        message = f"the key {client!r} may not use the model {name[:100]!r} in {at}: remove {at}"
        raise GatewayError("permission", message, param=at, headers=(("x-should-retry", "false"),))

    def _at_same_endpoint(self, entry: ModelEntry) -> tuple[str, ...]:
        """Return the names of the entries for the same provider and base URL, ``entry`` included."""
        place = (entry.provider.id, entry.base_url)
        return tuple(other.name for other in self._entries if (other.provider.id, other.base_url) == place)

    def check_credential(self, entry: ModelEntry, credential: str | None) -> None:
        """Raise ``GatewayError`` (401) if ``entry`` would pass a gateway key, or another provider's, on to its
        provider."""
        if self.is_misplaced(entry, credential):
            is_own = self.is_own_credential(credential or "")
            raise _key_refusal(_WRONG_PLACE if is_own else _OF_ANOTHER.format(entry.provider.id), "wrong place")

    def is_misplaced(self, entry: ModelEntry, credential: str | None) -> bool:
        """Return whether ``entry`` would pass a gateway key, or another provider's, on to its provider."""
        if not entry.passthrough_auth or not credential:
            return False
        return self.is_own_credential(credential) or entry.refuses(credential)

    def lacks_credential(self, entry: ModelEntry, credential: str | None) -> bool:
        """Return whether ``entry`` passes a client's credential on, and this client has none for its provider."""
        return entry.passthrough_auth and (credential in (None, OPEN_KEY) or self.is_misplaced(entry, credential))

    def allows(self, client: str | None, model_name: str, entry: ModelEntry, model: str) -> bool:
        """Return whether ``client`` may use ``model`` of ``entry`` when it requests ``model_name``."""
        if client is None or not (lists := self._by_name[client].grants):
            return True
        named = self._names.configured(model_name)
        route = self._names.route_of(named)
        return all(
            named in grants
            or (entry.name, model) in grants
            or (entry.wildcard and entry.name in grants)
            or (route is not None and route.name in grants)
            for grants in lists
        )

    def rights_of(self, client: str | None) -> ClientKey | None:
        """Return the client with its rights, ``None`` if no key is required."""
        return None if client is None else self._by_name[client].key

    def allowed_models(self, client: str | None, names: Iterable[str]) -> frozenset[str]:
        """Return those of ``names`` (configured models) that ``client`` may request."""
        return frozenset(name for name in names if self.can_use(client, name))

    def can_use(self, client: str | None, name: str) -> bool:
        """Return whether ``client`` may request the configured model ``name``."""
        if client is None or not (self._by_name[client].grants or self._by_name[client].key.walls):
            return True
        try:
            meaning = self._names.meaning(name)
        except GatewayError:  # two entries have it: ambiguous for every client
            return False
        wall = self.wall(client)
        inside = [one for one in meaning.found if wall is None or one.entry.name in wall]
        return bool(inside) and all(self.allows(client, name, one.entry, one.model) for one in inside)


def _accepted_keys(holder: _Holder) -> Iterator[tuple[bytes, _Accepted]]:
    """Yield the digest of each key of ``holder`` with the accepted key."""
    for key in holder.key.keys:
        ends = [end for end in (key.until, holder.key.until) if end is not None]
        yield key.digest, _Accepted(holder, min(ends, default=None))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("latin-1", "replace")).digest()


def sent_keys(headers: Headers) -> set[str]:
    """Return the different keys in a request; ``Authorization: Basic`` of a proxy is ignored."""
    if own := {value.strip() for name, value in headers if name == OWN_HEADER}:
        return own
    bearers = (value[7:] for name, value in headers if name == "authorization" and value[:7].lower() == "bearer ")
    plain = (value for name, value in headers if name in PLAIN_KEYS)
    return {key for value in (*bearers, *plain) if (key := value.strip())}


def _is_signed(headers: Headers) -> bool:
    """Return whether an AWS SDK signed the request, as it does unless it has a bearer token."""
    return any(name == "authorization" and value.startswith("AWS4-HMAC-") for name, value in headers)


def credential_pseudonym(headers: Headers) -> str:
    """Return a pseudonym of the provider credential in ``headers``.

    The credential cannot be derived from it. All requests without a credential share one."""
    shown = (sent_credential(headers) or "").encode("latin-1", "replace")
    return "credential " + hashlib.sha256(shown).hexdigest()[:32]


def _key_refusal(message: str, reason: str, client: str | None = None) -> KeyRefused:
    return KeyRefused(message, reason, client, headers=_HEADERS)
