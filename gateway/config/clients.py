"""The clients of the gateway, their keys and groups."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from configfile.expanded import Unresolved
from configfile.keys import parts, setting
from configfile.kinds import Secret
from gateway.config.allowances import RateLimits
from gateway.config.amounts import Budget
from gateway.config.kinds import CertificateName, Digest, Name, Timestamp
from gateway.config.limits import ClientLimits
from gateway.config.parts import ClientRights

KeySource: TypeAlias = Literal["file", "state storage", "rule"]
"""Where a client is declared; the clients of a ``rule`` are in no list: credentials name them."""

Role: TypeAlias = Literal["user", "lead", "auditor", "admin"]


def _key_digest(key: "AcceptedKey") -> bytes:
    """Return the SHA-256 digest of a key, empty without one."""
    if key.sha256 is not None:
        return key.sha256.encode() if isinstance(key.sha256, Unresolved) else bytes.fromhex(key.sha256)
    return hashlib.sha256(key.key.encode()).digest() if key.key else b""


@attrs.frozen
class AcceptedKey:
    """A client's key as its SHA-256 ``digest``, rejected from ``until`` on (``None``: never).

    ``key`` is the key itself if the file has it, so that the log can mask it."""

    holds_secrets = True

    key: Secret | None = setting("The key.", None, secret=True, eq=False)
    sha256: Digest | None = setting("Its digest, instead of `key`.", None, secret=True, eq=False)
    until: Timestamp | None = setting(
        "The expiry of this key, if it is earlier than the client's.",
        None,
        shown="never",
        absent="without an end",
    )
    digest: bytes = attrs.field(default=attrs.Factory(_key_digest, takes_self=True), repr=False)


@attrs.frozen
class ClientGroup:
    """A group of clients with common settings, ``ratelimits`` and ``budgets``."""

    holds_secrets = True

    name: Name = setting("The unique name for `group` of a client.", shape={"minLength": 1})
    models: tuple[str, ...] | None = setting("As a client's.", None, shown="all", shape={"minItems": 1}, absent="all")
    only: tuple[str, ...] | None = setting("As a client's.", None, shown="all", shape={"minItems": 1}, absent="all")
    ratelimits: RateLimits = setting("For all clients of the group together.", factory=RateLimits, shown="no limit")
    budgets: tuple[Budget, ...] = setting("For all clients of the group together.", ())
    parts: Mapping[type, Any] = parts()


@attrs.frozen
class ClientKey(ClientRights):
    """A client with its name, which also owns its state, and its keys or the name in its ``certificate``.

    ``models`` and ``only`` of ``None`` mean all. ``only`` has shell patterns over entry names. ``group_name`` is the
    name in the file, ``group`` that group. ``source`` is where the client is stored, ``declared_in`` the root key with
    its rights."""

    holds_secrets = True

    name: Name = setting("The client's unique name, `client` in the log.", shape={"minLength": 1}, compared=False)
    key: Secret | None = setting("The key, best from a variable.", None, secret=True)
    certificate: CertificateName | None = setting(
        "A name in the client's [certificate](#certificates-of-clients), instead of a key or in addition. Needs a "
        "listener with `tls.client_ca`.",
        None,
    )
    sha256: Digest | None = setting(
        'The digest of the key, instead of `key`: `printf %s "$KEY" | sha256sum`.',
        None,
        secret=True,
    )
    keys: tuple[AcceptedKey, ...] = setting(
        "Several valid keys, instead of `key` and `sha256`.",
        (),
        shape={"minItems": 1},
        compared=False,
    )
    until: Timestamp | None = setting(
        "The expiry of all its keys: a date (valid to its end) or an RFC 3339 time, in UTC. Then requests get 401.",
        None,
        shown="never",
        absent="without an end",
    )
    models: tuple[str, ...] | None = setting(
        "The models that it may use: names, `provider/model id`s or aliases. `groq/*` allows all of that wildcard, "
        "`[]` none. Others get 403, also in lists of a request (`fallbacks`, …). An alias does not allow its targets.",
        None,
        shown="all; with a `role`, none",
        absent="all",
    )
    group_name: str | None = setting(
        "One of the [client_groups](#client_groups). The client may use what both allow.",
        None,
        compared=False,
        name="group",
    )
    only: tuple[str, ...] | None = setting(
        "The only entries that get its requests, by name with `*`, as in `eu-*`.",
        None,
        shown="all",
        shape={"minItems": 1},
        absent="all",
    )
    ratelimits: RateLimits = setting(
        "Its rates and simultaneous requests. Beyond a limit it gets 429.",
        factory=RateLimits,
        shown="no limit",
    )
    limits: ClientLimits = setting("Its own shares.", ClientLimits(), shown="`limits.per_client`")
    budgets: tuple[Budget, ...] = setting(
        "The amounts that it may spend, such as `[20 usd/day, 5 usd/run]`.",
        (),
    )
    role: Role = setting("Its [rights](people.md#set-rights) over other clients.", "user")
    parts: Mapping[type, Any] = parts()
    group: ClientGroup | None = None
    source: KeySource = "file"
    declared_in: str = "client_keys"

    @property
    def credentials(self) -> tuple[bytes | str, ...]:
        """The digests of its keys, and its certificate: no other client may have them."""
        return (*(key.digest for key in self.keys), *(() if self.certificate is None else (self.certificate,)))

    @property
    def lists_of_models(self) -> tuple[tuple[str, ...], ...]:
        """Its own list of models and its group's: it may use models in both."""
        both = (self.models, None if self.group is None else self.group.models)
        return tuple(models for models in both if models is not None)

    @property
    def walls(self) -> tuple[tuple[str, ...], ...]:
        """Its own entry patterns and its group's: an entry must match both."""
        both = (self.only, None if self.group is None else self.group.only)
        return tuple(patterns for patterns in both if patterns is not None)


def name_of_group(client: ClientKey) -> str | None:
    """Return the name of the group of ``client``, if it has one."""
    return None if client.group is None else client.group.name
