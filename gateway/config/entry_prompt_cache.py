"""The key ``prompt_cache`` of an entry: changes of requests for the provider's prompt cache."""

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
        "Add cache marks to requests that have none, with this lifetime, where the provider caches only marked "
        "prompts (Anthropic's models). They follow the tools, the instructions and the user's last message. An "
        "earlier message that is far away gets one, too.",
        None,
    )

    key: RoutingKey | None = setting(
        "Add a key by which the provider routes requests to one cache, such as `prompt_cache_key`, if the client "
        "sends none. Each `conversation` has a key, or each `client`.",
        None,
    )
    isolate: Isolation | None = setting(
        "Separate the caches of client keys or of groups at the provider, so that no client learns from cached token "
        "counts what others send. For vLLM (`cache_salt`) and OpenAI's models from GPT-5.6 on (`prompt_cache_key`).",
        None,
    )

    diagnose: bool = setting(
        "Request the provider's own diagnosis of misses, which is then in the log. For Anthropic (Messages), and for "
        "OpenAI's models from GPT-5.6 on (Responses). If the client requests one itself, its request stays unchanged.",
        False,
        shown="`false`",
    )

    @property
    def acts(self) -> bool:
        """Whether the gateway changes requests for the entry's prompt cache."""
        return self.diagnose or self.marks is not None or self.key is not None or self.isolate is not None


@attrs.frozen
class PlanoPromptCaching:
    """Plano's mapping ``prompt_caching`` of the root, for entries without ``prompt_cache``."""

    enabled: bool = setting(
        "`true` adds cache marks to the requests of each entry that has no [`prompt_cache`](#prompt_cache-of-an-entry) "
        "of its own and whose provider needs them, as `marks: 5m` does.",
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
