"""The key ``prompt_cache``: what the gateway remembers of prompts to explain misses of providers' prompt caches."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, setting
from configfile.kinds import Size
from configfile.wording import Wrong, describe
from gateway.config.findings import Findings

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
        "The memory for digests of prompts, shared by all workers of a machine. If it is full, the "
        "least recently used conversations are forgotten. One client uses at most half of it.",
        32 * 2**20,
        shown="`32MiB`",
    )
    texts: PromptTextMemory = setting(
        "The memory of each process for the latest prompts of conversations, after the masks of [steps](steps.md). "
        "With it, the [live view](ui.md) shows 200 characters around a difference that broke a prompt's cache. `0` "
        "keeps no text. If it is full, the client with the most bytes loses its least recently used conversation, and "
        "one client uses at most half of it.",
        0,
        shown="`0`",
    )


def check_texts(*, has_page: bool, has_key: bool, findings: Findings) -> None:
    """Warn of texts that no page shows, or for which no key protects the page that shows them."""
    if not has_page:
        findings.no_effect(("prompt_cache", "texts"), "the live view shows these texts, and `ui: false` turns it off")
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
