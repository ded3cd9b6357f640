"""The keys about changes of requests for providers' prompt caches."""

from typing import TYPE_CHECKING

import attrs

from configfile.document import Path
from configfile.keys import part_of, setting, with_part
from gateway.config.findings import Findings
from gateway.config.parts import ItemPart
from gateway.config.settings import Config
from gateway.features.cache_acts.changes import EntryPromptCache, PlanoPromptCaching

if TYPE_CHECKING:
    from gateway.config.model_entry import ModelEntry
    from gateway.config_files.building import Building


@attrs.frozen
class EntryCacheKeys(ItemPart):
    """The keys of an entry."""

    prompt_cache: EntryPromptCache | None = setting(
        "Changes of requests for the provider's prompt cache.",
        None,
        shown="nothing",
    )

    def complete(self, item: "ModelEntry", path: Path, config: Config, findings: Findings) -> "EntryCacheKeys":
        if self.prompt_cache is not None and self.prompt_cache.acts:
            from gateway.features.cache_acts.checks import check_prompt_cache  # imported only for an entry with it

            check_prompt_cache(self.prompt_cache, item, item.speaks.values(), (*path, "prompt_cache"), findings)
        return self


@attrs.frozen
class PlanoCacheKeys:
    """The keys of the root."""

    prompt_caching: PlanoPromptCaching = setting(
        "Plano's key for cache marks.",
        PlanoPromptCaching(),
        shown="off",
    )


def build_marks(config: Config, building: "Building") -> Config:
    """Let entries whose providers cache only marked prompts have the changes of Plano's key."""
    changes = part_of(config, PlanoCacheKeys).prompt_caching.changes
    if changes is None:
        return config
    keys = EntryCacheKeys(changes)
    entries = (with_part(one, keys) if acts_of(one) is None and _needs_marks(one) else one for one in config.entries)
    return attrs.evolve(config, entries=tuple(entries))


def acts_of(entry: "ModelEntry") -> EntryPromptCache | None:
    """Return the changes that an entry requests."""
    return part_of(entry, EntryCacheKeys).prompt_cache


def _needs_marks(item: "ModelEntry") -> bool:
    """Return whether the provider of an entry caches only marked prompts. For all its models, that may be so."""
    rows = [item.caching_of(item.model, api) for api in item.speaks.values()]
    is_needed = any(row is not None and row.needs_marks and row.takes_marks for row in rows)
    return is_needed or (item.model == "*" and None in rows)
