"""The changes of requests for a provider's prompt cache, as the configuration names them."""

from typing import Any, Literal, TypeAlias

import attrs

from configfile.keys import ignored, setting

MarkLifetime: TypeAlias = Literal["5m", "1h"]
RoutingKey: TypeAlias = Literal["conversation", "client"]
Isolation: TypeAlias = Literal["key", "group"]


@attrs.frozen
class EntryPromptCache:
    """Changes of requests for an entry's prompt cache; none by default."""

    marks: MarkLifetime | None = setting(
        "Add cache marks with this lifetime to requests without marks, for Anthropic's models.",
        None,
    )

    key: RoutingKey | None = setting(
        "Add a key by which the provider finds its cache, such as `prompt_cache_key`, if the client sends none: one "
        "for each `conversation` or each `client`.",
        None,
    )
    isolate: Isolation | None = setting(
        "Separate the caches of client keys or groups, so that no client learns what others send. For vLLM "
        "(`cache_salt`) and OpenAI from GPT-5.6 on.",
        None,
    )

    diagnose: bool = setting(
        "Request the [provider's diagnosis](prompt-caching.md#the-providers-own-diagnosis) of misses for the log.",
        False,
        shown="`false`",
    )

    @property
    def acts(self) -> bool:
        """True if the gateway changes requests for the entry's prompt cache."""
        return self.diagnose or self.marks is not None or self.key is not None or self.isolate is not None


@attrs.frozen
class PlanoPromptCaching:
    """Plano's mapping ``prompt_caching`` of the root, for entries without ``prompt_cache``."""

    enabled: bool = setting(
        "Add cache marks as `marks: 5m` does, for entries without their own "
        "[`prompt_cache`](#prompt_cache-of-an-entry).",
        False,
        shown="`false`",
    )
    inject_cache_control: bool = setting("`false` adds no marks.", True, shown="`true`")
    session_affinity: Any = ignored("routes keep a conversation where its cache is")
    min_prefix_tokens: Any = ignored("the minimum of each provider applies")
    session_ttl_seconds: Any = ignored("marks have a lifetime of 5 minutes")

    @property
    def changes(self) -> EntryPromptCache | None:
        """The changes of requests for which it stands."""
        return EntryPromptCache(marks="5m") if self.enabled and self.inject_cache_control else None
