"""Claude Code's managed settings, which the gateway gives to people: their checks, and the base and a rule's merged.

https://code.claude.com/docs/en/settings (managed settings). Settings that run commands on every person's machine cause
a warning: everybody who can change the configuration can run programs there.
"""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, Final

from gateway.config.settings import Config
from gateway.features.people.settings import people_keys

COMMANDS: Final = (
    "apiKeyHelper", "awsAuthRefresh", "awsCredentialExport", "fileSuggestion", "gcpAuthRefresh", "hooks",
    "otelHeadersHelper", "statusLine", "subagentStatusLine",
)  # fmt: skip
"""The settings that run commands."""

_UNITED: Final = frozenset(
    {"deny", "disallowedTools", "blockedMarketplaces", "deniedMcpServers", "denyRead", "denyWrite"}
)
"""The lists of forbidden things: a rule adds to them, and cannot remove any."""


def command_warnings(config: Config) -> Iterator[str]:
    """Yield a sentence for each part of ``config`` with settings that run commands."""
    for place, settings in _all_settings(config):
        if names := [name for name in COMMANDS if name in settings]:
            runs = "runs commands" if len(names) == 1 else "run commands"
            yield f"{place}: {', '.join(names)} {runs} on the machine of each person who signs in"


def _all_settings(config: Config) -> Iterator[tuple[str, Mapping[str, Any]]]:
    keys = people_keys(config)
    if keys.claude_code:
        yield "claude_code", keys.claude_code
    for issuer in keys.issuers:
        for number, rule in enumerate(issuer.admit):
            if rule.claude_code:
                yield f"issuers.{issuer.name}.admit[{number}].claude_code", rule.claude_code


def merged_settings(base: Mapping[str, Any], rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a person: those of ``base`` changed by those of its ``rule``.

    Mappings are merged. Lists of forbidden things and hooks are united, every other value of the rule replaces the
    base's."""
    return {name: _merge_values(name, base.get(name), rule.get(name)) for name in dict.fromkeys((*base, *rule))}


def _merge_values(name: str, before: Any, after: Any) -> Any:
    if after is None or before is None:
        return before if after is None else after
    if name == "hooks" and isinstance(before, Mapping) and isinstance(after, Mapping):
        return {event: _unite_lists(before.get(event), after.get(event)) for event in dict.fromkeys((*before, *after))}
    if name in _UNITED:
        return _unite_lists(before, after)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return merged_settings(before, after)
    return after


def _unite_lists(before: Any, after: Any) -> Any:
    """Return both lists as one without repeated items; another value counts as a list of one item."""
    parts = (part if isinstance(part, list | tuple) else [part] for part in (before, after) if part is not None)
    items = list(chain.from_iterable(parts))
    return [item for at, item in enumerate(items) if item not in items[:at]]
