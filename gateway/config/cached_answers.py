"""Which answers are kept to be given again, for whom, and where."""

from typing import Annotated, Any, Literal, TypeAlias

import attrs

from configfile.keys import Kind, setting
from configfile.kinds import Secret, Size, Wait
from configfile.wording import Wrong, describe
from gateway.config.kinds import FilePath

CacheScope: TypeAlias = Literal["key", "group", "all"]
"""Who shares a cached answer: the requests of one client key, of its group, or everybody for whom this holds."""

CacheWhen: TypeAlias = Literal["always", "deterministic"]
"""Whether all requests are answered from the cache, or only those that say ``temperature: 0``."""

CachePace: TypeAlias = Literal["none", "recorded"]
"""Whether a cached stream comes immediately, or with the pauses in which it came first."""


@attrs.frozen
class CacheUse:
    """The use of the response cache for a name or a client."""

    ttl: Wait = setting("How long an answer is given again.")
    scope: CacheScope = setting(
        "Who shares an answer: the requests of one client key, of its group (its own where it has none), or of all "
        "keys for which the cache is used with `all`.",
        "key",
    )
    strict: bool = setting(
        "Let requests share no answer that differ in anything they say: not in `stream`, `user`, `metadata` and the "
        "other members which [no answer depends on](caching.md#what-counts-as-the-same-request).",
        False,
    )
    when: CacheWhen = setting(
        "`deterministic`: only requests that say `temperature: 0` are answered from the cache.", "always"
    )
    pace: CachePace = setting(
        "Whether a cached stream comes at once (`none`), or with the pauses in which it came first (`recorded`).",
        "none",
    )


def _switch(value: Any) -> Any:
    if value is False or isinstance(value, dict):
        return CacheUse if isinstance(value, dict) else None
    raise Wrong(describe(value), "this must be a mapping such as {ttl: 1h}, or false for no cached answers")


CacheSwitch: TypeAlias = (
    Annotated[CacheUse | Literal[False], Kind("mapping, or `false`", pick=_switch, parts=(Literal[False], CacheUse))]
    | None
)
"""The use of the cache for a client; ``False`` where none of its requests is answered from it, ``None`` where it is as
the name says."""


@attrs.frozen
class AnswerCacheSettings:
    """Where answers are kept, and how many. ``path`` is set for sqlite and ``url`` for redis."""

    type: Literal["memory", "sqlite", "redis"] = setting(
        "`memory`: each worker has its own, which ends with it; `sqlite`: all workers of this machine; `redis` "
        "(Valkey, too): several gateways.",
        "memory",
    )
    path: FilePath | None = setting(
        "`sqlite`, required: the file, readable by its owner alone. Its directory must be there.", None
    )
    url: Secret | None = setting(
        "`redis`, required: `rediss://user:password@host:6379/1` (`redis://` without TLS, `unix:///path/socket`). Keys"
        " begin with `{trigate-answers}:`.",
        None,
        secret=True,
    )
    max_bytes: Size = setting(
        "When there is more, what was used least recently goes. No client's answers take more than half of it.",
        64 * 2**20,
        shown="`memory`: `64MiB`; else `1GiB`",
    )
    max_request: Size = setting("Longer requests are not answered from the cache.", 2**20)
    max_answer: Size = setting("Longer answers are not kept.", 4 * 2**20)
    max_ttl: Wait = setting("The longest `ttl` that a name or a client may have.", 86400.0)
