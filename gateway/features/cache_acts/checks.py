"""Checks of the key ``prompt_cache`` of an entry against the rules of its provider's prompt cache."""

from collections.abc import Iterable

from configfile.document import Path
from gateway.config.findings import Findings
from gateway.config.model_entry import ModelEntry
from gateway.features.cache_acts.changes import EntryPromptCache
from providers.catalog.prompt_caching import CachingRow
from providers.members.cache_marks import permitted_places
from streams.events import Api


def check_prompt_cache(
    wanted: EntryPromptCache, entry: ModelEntry, apis: Iterable[Api], path: Path, findings: Findings
) -> None:
    """Report what ``wanted``, the value of the key at ``path``, cannot do for the model of ``entry`` in ``apis``.

    A missing isolation is a mistake, because it protects clients from each other; the rest has no effect."""
    apis = tuple(dict.fromkeys(apis))
    rows = [entry.caching_of(entry.model, api) for api in apis]
    known = [row for row in rows if row is not None]
    shown = _name_of(entry)
    if wanted.isolate is not None and not (known and all(row is not None and row.takes_salt for row in rows)):
        findings.wrong(
            (*path, "isolate"),
            f"the gateway cannot separate the caches of {shown}",
            "set it only in entries with one model of vLLM, or with one of OpenAI's from GPT-5.6 on",
        )
    if wanted.marks is not None:
        _check_marks(wanted.marks, entry, apis, known, path, findings)
    if wanted.diagnose and not any(row.diagnosis_member for row in known):
        where = ", ".join(sorted(apis))
        found = f"{shown} cannot explain misses of its prompt cache in {where}; ignored"
        findings.no_effect((*path, "diagnose"), found)
    if wanted.key is not None and known and not any(row.key_member and not row.key_separates for row in known):
        findings.no_effect((*path, "key"), f"{shown} needs no key to find its cache; ignored")


def _check_marks(
    lifetime: str, entry: ModelEntry, apis: tuple[Api, ...], known: list[CachingRow], path: Path, findings: Findings
) -> None:
    shown = _name_of(entry)
    takers = [row for row in known if row.takes_marks and row.needs_marks]
    if not any(permitted_places(api, entry.quirks_of(entry.model)) for api in apis) or (known and not takers):
        advice = "remove it, or use an entry with `speaks: [messages]`"
        findings.no_effect((*path, "marks"), f"{shown} accepts no cache marks in {', '.join(sorted(apis))}: {advice}")
    elif takers and all(row.lifetimes and lifetime not in row.lifetimes for row in takers):
        findings.no_effect((*path, "marks"), f"{shown} has no cache for {lifetime}; its own lifetime applies")


def _name_of(entry: ModelEntry) -> str:
    return f"{entry.provider.id}/{entry.model}"
