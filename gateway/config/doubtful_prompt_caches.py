"""Warnings about settings of entries for prompt caches that have no effect."""

from collections.abc import Iterator

from gateway.config.settings import Config
from providers.members.cache_marks import permitted_places


def doubtful_marks(config: Config) -> Iterator[str]:
    """Yield a warning for each entry with ``marks`` whose APIs take no cache marks."""
    for entry in config.entries:
        if entry.prompt_cache is None or entry.prompt_cache.marks is None:
            continue
        apis = sorted(set(entry.speaks_of(entry.model).values()))
        if not any(permitted_places(api, entry.quirks_of(entry.model)) for api in apis):
            yield (
                f"{entry.name}: `prompt_cache.marks` has no effect, because requests in {', '.join(apis)} take no "
                "cache marks: remove it, or use an entry with `speaks: [messages]`"
            )
