"""Conversion of LiteLLM's content filter into steps.

https://docs.litellm.ai/docs/proxy/guardrails/litellm_content_filter"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from configfile.wording import Wrong
from gateway.commands.imports.guard_drafts import ACTIONS, GuardDraft, GuardLost
from gateway.commands.imports.imported_values import free_name, items_of
from gateway.commands.imports.losses import Group

PERSONAL: Final[Mapping[str, str]] = {
    "us_ssn": "us_ssn", "email": "email", "phone": "phone", "us_phone": "phone", "visa": "card", "mastercard": "card",
    "amex": "card", "discover": "card", "credit_card": "card", "iban": "iban", "ipv4": "ip", "ipv6": "ip",
    "ip_address": "ip", "br_cpf": "br_cpf",
}  # fmt: skip
"""The labels of ``pii`` by the names of prebuilt patterns."""

SECRET: Final = re.compile(r"(?:aws|github|slack|gcp|google|azure|openai|anthropic|stripe|generic_api)_\w+")
"""The names of prebuilt patterns that ``secrets`` finds."""

_LABEL: Final = re.compile(r"[^A-Za-z0-9_]+")


def read_content_filter(draft: GuardDraft) -> list[tuple[str, dict[str, Any]]]:
    """Return the kinds and keys of the steps for a content filter. Raises ``GuardLost`` if there are none."""
    personal: dict[str, str] = {}
    secrets: set[str] = set()
    patterns: dict[str, tuple[str, str]] = {}
    for item in items_of(draft.take("patterns")):
        action, name = _action(item), str(item.get("pattern_name"))
        if item.get("pattern_type") == "regex" and isinstance(pattern := item.get("pattern"), str):
            label = _free_label(str(item.get("name") or "pattern"), patterns)
            if (fault := fault_of(pattern)) is None:
                patterns[label] = pattern, action
            else:
                draft.losses[f"the pattern {label}"] = Group.PROTECTION, fault
        elif label := PERSONAL.get(name, ""):
            personal[label] = "refuse" if "refuse" in (action, personal.get(label)) else action
        elif SECRET.fullmatch(name):
            secrets.add(action)
        else:
            draft.losses[f"the pattern {name}"] = Group.PROTECTION, "write it as a pattern of `use: regex`"
    _add_words(draft, patterns)
    steps: list[tuple[str, dict[str, Any]]] = []
    if personal:
        steps.append(("pii", {"action": personal, "with": {"labels": list(personal)}}))
    if secrets:
        steps.append(("secrets", {"action": "refuse" if "refuse" in secrets else "mask"}))
        draft.owner.notes.append("`secrets` finds all its formats, not only those of the old file")
    if patterns:
        texts = {label: pattern.replace("$", "$$") for label, (pattern, _) in patterns.items()}
        actions = {label: action for label, (_, action) in patterns.items()}
        steps.append(("regex", {"action": actions, "with": {"patterns": texts}}))
    if not steps:
        raise GuardLost(next((why for _, why in draft.losses.values()), "it has no pattern"))
    return steps


def _add_words(draft: GuardDraft, patterns: dict[str, tuple[str, str]]) -> None:
    """Add a pattern for the words of each action."""
    words: dict[str, list[str]] = {}
    for item in items_of(draft.take("blocked_words")):
        if isinstance(word := item.get("keyword"), str) and word:
            words.setdefault(_action(item), []).append(re.escape(word))
    for action, listed in words.items():
        label = _free_label("word" if action == "refuse" else "masked_word", patterns)
        patterns[label] = f"(?i:{'|'.join(listed)})", action


def _free_label(name: str, patterns: Collection[str]) -> str:
    return free_name(_LABEL.sub("_", name).strip("_") or "pattern", patterns, "_")


def _action(item: Mapping[str, Any]) -> str:
    return ACTIONS.get(str(item.get("action") or "BLOCK").upper(), "refuse")


def fault_of(pattern: str) -> str | None:
    """Return the reason why no step can use ``pattern``."""
    from gateway.features.steps.kinds import KINDS, KindContext  # imported when needed

    row = KINDS["regex"]
    try:
        row.make_step(row.settings_class(patterns={"pattern": pattern}), KindContext())
    except Wrong as wrong:
        return f"{wrong.found}: {wrong.expected}"
    return None
