"""The keys about providers' prompt caches: what entries change for them, and what the gateway remembers of prompts to
explain their misses."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, ignored, setting
from configfile.kinds import Size
from configfile.wording import Wrong, describe
from gateway.config.findings import Findings
from gateway.config.live_view import UiSettings, shown_answers

MarkLifetime: TypeAlias = Literal["5m", "1h"]
RoutingKey: TypeAlias = Literal["conversation", "client"]
Isolation: TypeAlias = Literal["key", "group"]


@attrs.frozen
class EntryPromptCache:
    """Changes of requests for an entry's prompt cache; none by default."""

    marks: MarkLifetime | None = setting(
        "Add cache marks with this lifetime to requests that have none, at providers that cache only marked prompts "
        "(Anthropic's models).",
        None,
    )

    key: RoutingKey | None = setting(
        "Add a key by which the provider finds its cache, such as `prompt_cache_key`, if the client sends none: one "
        "for each `conversation` or each `client`.",
        None,
    )
    isolate: Isolation | None = setting(
        "Separate the caches of client keys or groups at the provider, so that no client learns what others send. "
        "For vLLM (`cache_salt`) and OpenAI's models from GPT-5.6 on.",
        None,
    )

    diagnose: bool = setting(
        "Request the provider's own diagnosis of misses for the log, unless the client does. For Anthropic "
        "(Messages), and OpenAI's models from GPT-5.6 on (Responses).",
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


LEAST_MEMORY: Final = 2**20
MOST_MEMORY: Final = 256 * 2**20
"""The workers' memory has this many bytes for prompts. The system provides only the used part."""


def _read_memory(size: int) -> int:
    if not LEAST_MEMORY <= size <= MOST_MEMORY:
        raise Wrong(describe(size), "expected a size from 1MiB to 256MiB")
    return size


MOST_TEXTS: Final = 2**30


def _read_texts(size: int) -> int:
    if size and not LEAST_MEMORY <= size <= MOST_TEXTS:
        raise Wrong(describe(size), "expected 0, or a size from 1MiB to 1GiB")
    return size


PromptMemory: TypeAlias = Annotated[int, Kind("1MiB to 256MiB", _read_memory, pick=lambda _: Size, parts=(Size,))]

PromptTextMemory: TypeAlias = Annotated[
    int, Kind("`0`, or 1MiB to 1GiB", _read_texts, pick=lambda _: Size, parts=(Size,))
]


@attrs.frozen(repr=False)
class PromptCacheSettings:
    """The mapping ``prompt_cache`` of the root."""

    memory: PromptMemory = setting(
        "The memory for digests of prompts, for all workers of a machine. One client uses at most half of it.",
        32 * 2**20,
        shown="`32MiB`",
    )
    texts: PromptTextMemory = setting(
        "The memory of each process for the latest prompts, after the masks of [steps](steps.md). The [live "
        "view](ui.md) then shows the text that broke a cache. One client uses at most half of it.",
        0,
        shown="`0`",
    )


def check_texts(ui: UiSettings | Literal[False], *, has_key: bool, findings: Findings) -> None:
    """Warn of texts that no page shows, or for which no key protects the page that shows them."""
    if shown_answers(ui) == "none":
        cause = "`ui: {answers: none}` hides them" if ui else "`ui: false` turns it off"
        findings.no_effect(("prompt_cache", "texts"), f"the live view shows these texts, and {cause}")
    elif not has_key:
        findings.warn(
            "prompt_cache.texts: the live view shows parts of prompts, and no ui_key is set: without client_keys or "
            "issuers, everyone on this machine can read them. Set ui_key"
        )


def _pick_switch_type(value: Any) -> Any:
    if value is False or isinstance(value, dict):
        return PromptCacheSettings if isinstance(value, dict) else None
    raise Wrong(describe(value), "expected a mapping such as {memory: 32MiB}, or false to switch it off")


PromptCacheSwitch: TypeAlias = Annotated[
    PromptCacheSettings | Literal[False],
    Kind("mapping, or `false`", pick=_pick_switch_type, parts=(Literal[False], PromptCacheSettings)),
]
"""The settings, or ``False`` to explain no misses."""
