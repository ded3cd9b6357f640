"""The row of explanations of misses of providers' prompt caches, and the key about the memory of prompts."""

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias

import attrs

from configfile.keys import Kind, part_of, setting, value_of
from configfile.kinds import Size
from configfile.wording import Wrong, describe
from gateway.config.settings import Config
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from gateway.config_files.building import Building


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
        "The memory for digests, for all workers of a machine. One client uses at most half of it.",
        32 * 2**20,
        shown="`32MiB`",
    )
    texts: PromptTextMemory = setting(
        "Each process's memory for the latest prompts, after the masks of [steps](steps.md), for the [live "
        "view](ui.md). One client uses at most half of it.",
        0,
        shown="`0`",
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


@attrs.frozen
class PromptCacheKeys:
    """The keys of the root."""

    prompt_cache: PromptCacheSwitch = setting(
        "The memory for explanations of [prompt caches](prompt-caching.md).",
        PromptCacheSettings(),
        shown="on",
    )


def build_texts(config: Config, building: "Building") -> Config:
    """Warn of texts that no page shows, or for which no key protects the page that shows them."""
    settings, ui, findings = (
        part_of(config, PromptCacheKeys).prompt_cache,
        value_of(config, "ui", False),
        building.findings,
    )
    if not settings or not settings.texts:
        return config
    if not ui or ui.answers == "none":
        cause = "`ui: {answers: none}` hides them" if ui else "`ui: false` turns it off"
        findings.no_effect(("prompt_cache", "texts"), f"the live view shows these texts, and {cause}")
    elif not config.pages_ask_for_key:
        findings.warn(
            "prompt_cache.texts: the live view shows parts of prompts, and no ui_key is set: without client_keys or "
            "issuers, everyone on this machine can read them. Set ui_key"
        )
    return config


FEATURE: Final = Feature(
    "prompt_caches",
    "gateway.features.prompt_caches.opening:open_prompt_caches",
    lambda config: part_of(config, PromptCacheKeys).prompt_cache is not False,
    keys=(Keys(Config, PromptCacheKeys),),
    build="gateway.features.prompt_caches.feature:build_texts",
)
