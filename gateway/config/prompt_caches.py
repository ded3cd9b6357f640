"""The key ``prompt_cache``: what the gateway remembers of prompts to explain misses of providers' prompt caches."""

from typing import Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, setting
from configfile.kinds import Size
from configfile.wording import Wrong, describe

LEAST_MEMORY: Final = 2**20
MOST_MEMORY: Final = 256 * 2**20
"""The workers' memory has this many bytes for prompts. The system provides only the used part."""


def _read_memory(size: int) -> int:
    if not LEAST_MEMORY <= size <= MOST_MEMORY:
        raise Wrong(describe(size), "expected a size from 1MiB to 256MiB")
    return size


PromptMemory: TypeAlias = Annotated[int, Kind("1MiB to 256MiB", _read_memory, pick=lambda _: Size, parts=(Size,))]


@attrs.frozen(repr=False)
class PromptCacheSettings:
    """The mapping ``prompt_cache`` of the root."""

    memory: PromptMemory = setting(
        "The memory for digests of prompts, shared by all workers of a machine. If it is full, the "
        "least recently used conversations are forgotten. One client uses at most half of it.",
        32 * 2**20,
        shown="`32MiB`",
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
