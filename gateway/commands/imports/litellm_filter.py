"""The step for a guardrail while it is read, and the conversion of LiteLLM's content filter.

https://docs.litellm.ai/docs/proxy/guardrails/litellm_content_filter"""

import re
from collections.abc import Mapping
from typing import Any, Final

import attrs

from configfile.wording import Wrong
from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.imported_values import free_name, items_of
from gateway.commands.imports.losses import Group

ACTIONS: Final[Mapping[str, str]] = {"MASK": "mask", "BLOCK": "refuse"}
"""The actions of steps by LiteLLM's."""

_COMMON: Final = frozenset(
    ("guardrail", "mode", "default_on", "unreachable_fallback", "fail_on_error", "skip_system_message_in_guardrail",
     "skip_tool_message_in_guardrail", "guardrail_name", "description")
)  # fmt: skip
"""The members of ``litellm_params`` that all guardrails have."""


class GuardLost(Exception):
    """The reason why a guardrail has no step."""


@attrs.define(repr=False)
class GuardDraft:
    """The step for one guardrail: ``at`` and the notes of ``owner`` are changed while its ``params`` are read."""

    owner: SecretOwner
    params: Mapping[str, Any]
    at: list[str]
    losses: dict[str, tuple[Group, str]] = attrs.field(factory=dict)
    read: set[str] = attrs.field(factory=lambda: set(_COMMON))

    def take(self, name: str) -> Any:
        """Return a parameter, which is then converted."""
        self.read.add(name)
        return self.params.get(name)

    def lose(self, name: str, why: str, group: Group = Group.PROTECTION) -> None:
        """Record that a parameter is not converted."""
        self.read.add(name)
        self.losses[name] = group, why


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
    """Return the kinds and keys of the steps for a content filter. Raises ``GuardLost``."""
    steps = FilterSteps(draft)
    for item in items_of(draft.take("patterns")):
        steps.add_pattern(item)
    for item in items_of(draft.take("blocked_words")):
        steps.add_word(item)
    steps.lose_others()
    return steps.list_steps()


class FilterSteps:
    """The steps for the patterns and words of a content filter."""

    def __init__(self, draft: GuardDraft) -> None:
        self._draft = draft
        self._personal: dict[str, str] = {}
        self._secrets: set[str] = set()
        self._patterns: dict[str, tuple[str, str]] = {}
        self._words: dict[str, list[str]] = {}

    def add_pattern(self, item: Mapping[str, Any]) -> None:
        """Add an item of ``patterns``."""
        action, name = _action(item), str(item.get("pattern_name"))
        if item.get("pattern_type") == "regex" and isinstance(pattern := item.get("pattern"), str):
            label = self._free_label(str(item.get("name") or "pattern"))
            if (fault := fault_of(pattern)) is None:
                self._patterns[label] = pattern, action
            else:
                self._draft.losses[f"the pattern {label}"] = Group.PROTECTION, fault
        elif name in PERSONAL:
            label = PERSONAL[name]
            self._personal[label] = "refuse" if "refuse" in (action, self._personal.get(label)) else action
        elif SECRET.fullmatch(name):
            self._secrets.add(action)
        else:
            self._draft.losses[f"the pattern {name}"] = Group.PROTECTION, "write it as a pattern of `use: regex`"

    def add_word(self, item: Mapping[str, Any]) -> None:
        """Add an item of ``blocked_words``."""
        if isinstance(word := item.get("keyword"), str) and word:
            self._words.setdefault(_action(item), []).append(re.escape(word))

    def lose_others(self) -> None:
        """Record the parameters without a counterpart."""
        draft = self._draft
        if draft.take("blocked_words_file"):
            draft.lose("blocked_words_file", "write its words as a pattern of `use: regex`")
        used = [one for one in items_of(draft.take("categories")) if one.get("enabled", True)]
        if names := ", ".join(str(one.get("category")) for one in used):
            draft.lose("categories", f"there are no lists of words for {names}: use a service")
        for name in ("pattern_redaction_format", "keyword_redaction_tag"):
            if draft.take(name):
                draft.lose(name, "masks have the form [EMAIL_3f9a2c41d7]", Group.TRIFLES)

    def list_steps(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the kinds and keys of the steps. Raises ``GuardLost`` if there are none."""
        for action, words in self._words.items():
            label = self._free_label("word" if action == "refuse" else "masked_word")
            self._patterns[label] = f"(?i:{'|'.join(words)})", action
        steps: list[tuple[str, dict[str, Any]]] = []
        if self._personal:
            steps.append(("pii", {"action": self._personal, "with": {"labels": list(self._personal)}}))
        if self._secrets:
            steps.append(("secrets", {"action": "refuse" if "refuse" in self._secrets else "mask"}))
            self._draft.owner.notes.append("`secrets` finds all its formats, not only those of the old file")
        if self._patterns:
            texts = {label: pattern.replace("$", "$$") for label, (pattern, _) in self._patterns.items()}
            actions = {label: action for label, (_, action) in self._patterns.items()}
            steps.append(("regex", {"action": actions, "with": {"patterns": texts}}))
        if not steps:
            raise GuardLost(next((why for _, why in self._draft.losses.values()), "it has no pattern"))
        return steps

    def _free_label(self, name: str) -> str:
        plain = _LABEL.sub("_", name).strip("_") or "pattern"
        return free_name(plain, self._patterns, "_")


def _action(item: Mapping[str, Any]) -> str:
    return ACTIONS.get(str(item.get("action") or "BLOCK").upper(), "refuse")


def fault_of(pattern: str) -> str | None:
    """Return the reason why no step can use ``pattern``."""
    from gateway.steps.kinds import KINDS, KindContext  # imported when needed

    row = KINDS["regex"]
    try:
        row.make_step(row.settings_class(patterns={"pattern": pattern}), KindContext())
    except Wrong as wrong:
        return f"{wrong.found}: {wrong.expected}"
    return None
