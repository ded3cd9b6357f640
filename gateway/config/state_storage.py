"""The storage of conversations, that of counters, and their requirements."""

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import parts, setting
from configfile.kinds import Secret, Size, Wait
from gateway.config.findings import Findings
from gateway.config.kinds import FilePath, SealingKeys

StorageType: TypeAlias = Literal["memory", "sqlite", "postgres", "none"]


@attrs.frozen(repr=False)
class StateStorage:
    """The storage of responses, conversations and threads.

    ``ttl`` is in seconds since a conversation's last turn; ``max_bytes`` of ``None`` is no limit. ``path`` is set for
    sqlite, ``connection_string`` for postgres. The first ``encryption_key`` encrypts, all decrypt; without keys, data
    is not encrypted."""

    type: StorageType = setting(
        "`memory` is lost when the gateway stops; `none` keeps nothing.", "memory", required=True
    )
    ttl: Wait = setting(
        "The lifetime of a whole conversation after its last turn.",
        24 * 3600.0,
        shown="`30d`; `memory`: `24h`",
    )
    max_bytes: Size | None = setting(
        "The size beyond which the largest client's oldest conversations are removed.",
        16 * 2**20,
        shown="`memory`: `16MiB`; `sqlite`: `1GiB`; `postgres`: no limit",
    )
    path: FilePath | None = setting(
        "Required with `sqlite`: the file on a local disk, readable only by its owner. A relative path starts in the "
        "directory in which you run trigate.",
        None,
    )
    connection_string: Secret | None = setting(
        "Required with `postgres`: a URL (`postgresql://user:password@host:5432/database`) or libpq's parameters. "
        "The gateway creates its tables `trigate_*`.",
        None,
        secret=True,
    )
    encryption_key: SealingKeys = setting(
        "32 bytes in base64 (`openssl rand -base64 32`) that [encrypt](state.md#encryption) contents with AES-256-GCM. "
        "In a list, the first key writes and every key reads.",
        (),
        shown="not encrypted",
        secret=True,
    )
    parts: Mapping[Any, Any] = parts()


STORAGE: Final[Mapping[StorageType, StateStorage]] = {
    "memory": StateStorage(),
    "sqlite": StateStorage("sqlite", ttl=30 * 86400.0, max_bytes=2**30),
    "postgres": StateStorage("postgres", ttl=30 * 86400.0, max_bytes=None),
    "none": StateStorage("none"),
}
"""The defaults of each type."""

KEEPING_KEYS: Final[tuple[StorageType, ...]] = ("sqlite", "postgres")
"""The types that can store client keys for all processes and the command line."""


def is_storage_in_doubt(storage: StateStorage | None, findings: Findings) -> bool:
    """Return whether the file has a type for its ``storage`` that could not be read."""
    return ("state_storage",) in findings.faulty if storage is None else ("state_storage", "type") in findings.faulty


@attrs.frozen(repr=False)
class CounterSettings:
    """The store of rates, budgets and slots.

    ``when_down`` decides whether gateways use their share or refuse limited requests while the store is unavailable."""

    type: Literal["memory", "redis", "postgres"] = setting(
        "`memory`: for all workers of this machine, lost when they stop. `redis` (or Valkey) and `postgres`: for "
        "[several gateways](limits.md#several-gateways).",
        "memory",
    )
    url: Secret | None = setting(
        "Required with `redis` and `postgres`: `rediss://user:password@host:6379/0` (`redis://` without TLS, "
        "`unix:///path/socket`), `postgresql://user:password@host:5432/database`. Keys begin with `{trigate}:`, "
        "tables with `trigate_`.",
        None,
        secret=True,
    )
    when_down: Literal["share", "refuse"] = setting(
        "While the storage is unavailable, each process uses a share of the remaining amount, or limited requests get "
        "429.",
        "share",
    )
