"""The clients that may use the gateway, their keys and their groups."""

import hashlib
from typing import Literal, TypeAlias

import attrs

from configfile.expanded import Unresolved
from configfile.keys import setting
from configfile.kinds import Secret
from gateway.config.allowances import RateLimits
from gateway.config.amounts import Budget
from gateway.config.cached_answers import CacheSwitch
from gateway.config.kinds import CertificateName, Digest, Timestamp
from gateway.config.limits import ClientLimits

KeySource: TypeAlias = Literal["file", "state storage"]


def _digest_of(key: "AcceptedKey") -> bytes:
    """The SHA-256 digest of a key; nothing without one."""
    if key.sha256 is not None:
        return key.sha256.encode() if isinstance(key.sha256, Unresolved) else bytes.fromhex(key.sha256)
    return hashlib.sha256(key.key.encode()).digest() if key.key else b""


@attrs.frozen
class AcceptedKey:
    """A key of a client, by its SHA-256 ``digest``; refused from ``until`` on, ``None`` for never. ``key`` is the key
    itself where the file has it, for the log to leave it out."""

    holds_secrets = True

    key: Secret | None = setting("The key, best from a variable.", None, secret=True, eq=False)
    sha256: Digest | None = setting("In place of `key`, its digest.", None, secret=True, eq=False)
    until: Timestamp | None = setting(
        "The end of this key, as the client's `until` above; of the two, the earlier one holds.",
        None,
        shown="never",
        absent="without an end",
    )
    digest: bytes = attrs.field(default=attrs.Factory(_digest_of, takes_self=True), repr=False)


@attrs.frozen
class ClientGroup:
    """Several clients to which the same applies; ``ratelimits`` and ``budgets`` are for all of them together."""

    holds_secrets = True

    name: str = setting("What `group` of a client calls it. Unique.", shape={"minLength": 1})
    models: tuple[str, ...] | None = setting(
        "As a client's `models`.", None, shown="all", shape={"minItems": 1}, absent="all"
    )
    only: tuple[str, ...] | None = setting(
        "As a client's `only`.", None, shown="all", shape={"minItems": 1}, absent="all"
    )
    ratelimits: RateLimits = setting(
        "As a client's `ratelimits`, for all of its clients together.", factory=RateLimits, shown="no limit"
    )
    budgets: tuple[Budget, ...] = setting(
        "What all of its clients together may spend, as a client's `budgets`.", (), shown="none"
    )


@attrs.frozen
class RealtimeGrant:
    """What a client may use of realtime sessions that bypass the gateway."""

    client_secrets: bool = setting(
        "`POST /v1/realtime/client_secrets`: a credential of the provider that lives for minutes, for a browser. "
        "Whoever has it talks to the provider unseen.",
        False,
    )
    calls: bool = setting(
        "`POST /v1/realtime/calls`: a call over WebRTC, whose sound goes past the gateway, and what is done with it.",
        False,
    )


@attrs.frozen
class ClientKey:
    """A client: a name for the log, which also owns its state, and its keys, several of them while one replaces
    another, or a name in its ``certificate``. ``models`` and ``only`` of ``None`` are all of them. ``only`` and
    ``passthrough`` are shell patterns over the names of entries. ``group_name`` is what the file says, ``group`` the
    group of that name, and ``source`` where the client is written."""

    holds_secrets = True

    name: str = setting("Who it is: `client` in the log. Unique.", shape={"minLength": 1})
    key: Secret | None = setting("The key, best from a variable.", None, secret=True)
    certificate: CertificateName | None = setting(
        "In place of a key or beside it, a name in the certificate that the client shows to a listener with "
        "`tls.client_ca`; see [below](#certificates-of-clients).",
        None,
    )
    sha256: Digest | None = setting(
        'In place of `key`, its digest: `printf %s "$KEY" | sha256sum`. The file then holds no secret.',
        None,
        secret=True,
    )
    keys: tuple[AcceptedKey, ...] = setting(
        "In place of both, several keys of the one client, each as `{key: …}` or `{sha256: …}`: while one takes "
        "another's place, both are good. See [below](#several-keys).",
        (),
        shape={"minItems": 1},
    )
    until: Timestamp | None = setting(
        "The end of all its keys: a date, to whose end they are good, or a time as RFC 3339 writes it, both in UTC. "
        "From then on they are a 401 that says so.",
        None,
        shown="never",
        absent="without an end",
    )
    models: tuple[str, ...] | None = setting(
        "The models that it may use: names, `provider/model id`s or aliases of this file; a wildcard entry's name "
        "(`groq/*`) is all of its models. Others are a 403 and are not in its `GET /v1/models`, also where a request "
        "names them beside its own (`models`, `fallbacks`, a tool's `model`, …). An alias in the list allows no other "
        "name of its model.",
        None,
        shown="all",
        shape={"minItems": 1},
        absent="all",
    )
    group_name: str | None = setting(
        "The one of [client_groups](#client_groups) that it is of. What that allows, and what the client itself is "
        "allowed, both hold: it may use what is in both lists.",
        None,
        shown="none",
        compared=False,
        name="group",
    )
    only: tuple[str, ...] | None = setting(
        "The entries that may ever serve it, by their names; `*` stands for any letters, as in `eu-*`. Nothing else is"
        " asked for it, whatever fails and whatever its request says. It may use a name with several targets by way of"
        " those that are among these.",
        None,
        shown="all",
        shape={"minItems": 1},
        absent="all",
    )
    ratelimits: RateLimits = setting(
        "How much it may ask for, and how much at once; see [ratelimits](#ratelimits). One request too many is a 429 "
        "that says which limit it is, and when to try again.",
        factory=RateLimits,
        shown="no limit",
    )
    limits: ClientLimits = setting(
        "Its own [shares](#shares), where they are not those of all.", ClientLimits(), shown="`limits.per_client`"
    )
    budgets: tuple[Budget, ...] = setting(
        "What it may spend, such as `[20 usd/day, 5 usd/run]`; see [below](#budgets). Its group's hold besides.",
        (),
        shown="none",
    )
    passthrough: tuple[str, ...] = setting(
        "The entries with `passthrough: true` to which it may pass any request, by their names; `*` stands for any "
        "letters.",
        (),
        shown="none",
    )
    realtime: RealtimeGrant = setting(
        "What it may have of realtime sessions that go past the gateway, such as `{client_secrets: true}`; see "
        "[realtime sessions](realtime.md#past-the-gateway).",
        RealtimeGrant(),
        shown="nothing",
    )
    foreign_ids: bool = setting(
        "Let it use the provider's own ids of files, vector stores, batches and their like, and see the provider's "
        "lists: all that was made with the provider's key, by whomever. Others see what they have made themselves; see"
        " [files](files.md).",
        False,
    )
    cache: CacheSwitch = setting(
        "Give it the same answer to the same request again, whichever model it asks: in place of what the name says "
        "that it asks for. `false`: never. See [below](#of-a-name-or-a-client).",
        None,
        shown="as the name says",
    )
    group: ClientGroup | None = None
    source: KeySource = "file"

    @property
    def lists_of_models(self) -> tuple[tuple[str, ...], ...]:
        """Its own and its group's: it may use what is in each of them."""
        both = (self.models, None if self.group is None else self.group.models)
        return tuple(models for models in both if models is not None)

    @property
    def walls(self) -> tuple[tuple[str, ...], ...]:
        """The patterns of its own and of its group's: what serves it matches one in each of them."""
        both = (self.only, None if self.group is None else self.group.only)
        return tuple(patterns for patterns in both if patterns is not None)
