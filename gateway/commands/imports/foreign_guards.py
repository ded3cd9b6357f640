"""Converts the guardrails of Portkey and Bifrost into ``steps``: the only part of their files that ``trigate import``
converts.

See https://portkey.ai/docs/product/guardrails/creating-raw-guardrails-in-json and
https://docs.getbifrost.ai/deployment-guides/config-json/guardrails"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from gateway.commands.imports.imported_values import escape_dollars, free_name, items_of, mapping_of
from gateway.commands.imports.litellm_filter import fault_of
from gateway.commands.imports.losses import Group, Loss
from gateway.commands.imports.result import VERSION, as_yaml, one_line, summarize_losses
from gateway.commands.terminal import count_text
from gateway.config.loading import from_mapping

HOOKS: Final[Mapping[str, str]] = {
    "before_request_hooks": "request", "input_guardrails": "request",
    "after_request_hooks": "response", "output_guardrails": "response",
}  # fmt: skip
"""The moments of Portkey's lists."""

BIFROST: Final = "guardrails_config"
_SIDES: Final[Mapping[str, list[str]]] = {
    "input": ["request"], "output": ["response"], "both": ["request", "response"],
}  # fmt: skip

NO_KIND: Final = "there is no step of this kind; write a step of your own or use a service (docs/steps.md)"
NO_MODELS: Final = "write them as `model_providers` (docs/migrating.md)"


@attrs.define(repr=False)
class ForeignGuards:
    """The steps for the guardrails of another gateway, and the losses."""

    gateway: str
    steps: list[dict[str, Any]] = attrs.field(factory=list)
    losses: list[Loss] = attrs.field(factory=list)

    def lose(self, what: str, why: str = NO_KIND, group: Group = Group.PROTECTION) -> None:
        """Record a loss."""
        self.losses.append(Loss(group, what, why))

    def add(self, use: str, title: str, step: Mapping[str, Any]) -> None:
        """Add a step with a name that no other has."""
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-._")[:48] or use
        taken = [one["name"] for one in self.steps]
        self.steps.append({"use": use, "name": free_name(plain, taken), **step})

    def add_patterns(self, title: str, patterns: Mapping[str, str], step: Mapping[str, Any]) -> None:
        """Add a ``regex`` step with those of ``patterns`` that it can search for."""
        usable = {}
        for label, pattern in patterns.items():
            if (fault := fault_of(pattern)) is None:
                usable[label] = escape_dollars(pattern)
            else:
                self.lose(f"the pattern {label} of {title}", fault)
        if usable:
            self.add("regex", title, {**step, "with": {"patterns": usable}})

    def lines(self, source: str) -> Iterator[str]:
        """Yield the lines of the new section."""
        yield f"# The guardrails of {one_line(source)} ({self.gateway}), converted by trigate import"
        yield from (f"# {one_line(str(loss))}" for loss in self.losses)
        yield "steps:" if self.steps else "steps: []"
        yield from (f"  - {as_yaml(step)}" for step in self.steps)

    def summary(self) -> Iterator[str]:
        """Yield the lines of the summary."""
        yield f"Converted: {count_text(len(self.steps), 'step')}, and nothing else."
        yield from summarize_losses(self.losses)

    def check(self) -> None:
        """Raise ``ConfigError`` if the steps are no valid section."""
        entry = {"model": "openai/m", "access_key": "k"}
        from_mapping({"version": VERSION, "model_providers": [entry], "steps": self.steps})


def read_foreign_guards(content: Any) -> ForeignGuards | None:
    """Return the guardrails of a file of Portkey or Bifrost, ``None`` for other files."""
    if not isinstance(content, dict) or "model_list" in content:
        return None
    if isinstance(content.get(BIFROST), dict):
        return _bifrost(content)
    if any(isinstance(one.get(name), list) for one in (content, *_targets(content)) for name in HOOKS):
        return _portkey(content)
    return None


# Portkey


def _portkey(content: Mapping[str, Any]) -> ForeignGuards:
    found = ForeignGuards("Portkey")
    for name, moment in HOOKS.items():
        hooks = content.get(name)
        for number, hook in enumerate(hooks if isinstance(hooks, list) else ()):
            title = f"{name}-{number + 1}"
            if isinstance(hook, dict):
                _hook(hook, str(hook.get("id") or title), moment, found)
            else:
                found.lose(f"the guardrail {hook}", "it is in your Portkey account: write it as a step")
    for target in _targets(content):
        for name in HOOKS:
            if target.get(name):
                found.lose(f"{name} of a target", "write them as steps with `for: {entries: …}`")
    found.lose("providers, targets and parameters", NO_MODELS, Group.NAMES)
    return found


def _targets(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the targets of a config, also those within others."""
    for target in items_of(content.get("targets")):
        yield target
        yield from _targets(target)


def _hook(hook: Mapping[str, Any], title: str, moment: str, found: ForeignGuards) -> None:
    """Add the step for one hook: its checks are a list, or members with a dot in their names."""
    is_refused = hook.get("deny") is True and hook.get("async") is not True
    checks = [(str(one.get("id")), one.get("parameters")) for one in items_of(hook.get("checks"))]
    checks += [(name, value) for name, value in hook.items() if "." in name]
    denied: dict[str, str] = {}
    masked: dict[str, str] = {}
    for id, parameters in checks:
        settings = mapping_of(parameters)
        rule, words = settings.get("rule"), settings.get("words")
        label = f"{id.rpartition('.')[2]}_{len(denied) + len(masked) + 1}"
        if id == "default.regexMatch" and isinstance(rule, str):
            if settings.get("not") is True:
                denied[label] = rule
            else:
                found.lose(f"{id} of {title}", "it denies texts that do not match; a step finds texts that match")
        elif id == "default.contains" and isinstance(words, list) and settings.get("operator") == "none":
            denied[label] = "|".join(re.escape(str(word)) for word in words)
        elif id == "default.contains":
            found.lose(f"{id} of {title}", "it denies texts without these words; a step finds texts with them")
        elif id == "default.regexReplace" and isinstance(rule, str):
            masked[label] = rule
        else:
            found.lose(f"{id} of {title}")
    found.add_patterns(title, denied, {"at": [moment], "action": "refuse" if is_refused else "report"})
    found.add_patterns(title, masked, {"at": [moment], "action": "mask"})


# Bifrost


def _bifrost(content: Mapping[str, Any]) -> ForeignGuards:
    found = ForeignGuards("Bifrost")
    guards = content[BIFROST]
    providers = {one.get("id"): one for one in items_of(guards.get("guardrail_providers"))}
    for rule in items_of(guards.get("guardrail_rules")):
        title = str(rule.get("name") or f"rule-{rule.get('id')}")
        if rule.get("enabled") is False:
            continue
        if str(rule.get("cel_expression") or "true").strip() != "true":
            found.lose(f"the condition of the rule {title}", "its step checks every request: narrow it with `for`")
        ids = rule.get("provider_config_ids")
        at = _SIDES.get(str(rule.get("apply_to") or "both"), _SIDES["both"])
        for id in ids if isinstance(ids, list) else ():
            _provider(providers.get(id, {}), title, at, found)
    for plugin in items_of(content.get("plugins")):
        if str(plugin.get("path") or "").endswith(".so"):
            found.lose(f"the plugin {plugin.get('name')}", "its code is not converted: write a step of your own")
    found.lose("providers, keys and governance", NO_MODELS, Group.NAMES)
    return found


def _provider(provider: Mapping[str, Any], title: str, at: list[str], found: ForeignGuards) -> None:
    if provider.get("enabled") is False:
        return
    kind, settings = provider.get("provider_name"), mapping_of(provider.get("config"))
    name = str(provider.get("policy_name") or title)
    action = "mask" if settings.get("mode") in ("redact", "mask") else "refuse"
    match kind:
        case "regex":
            patterns = {
                f"pattern_{number}": f"(?{flags}:{one['pattern']})" if (flags := one.get("flags")) else one["pattern"]
                for number, one in enumerate(items_of(settings.get("patterns")), 1)
                if isinstance(one.get("pattern"), str)
            }
            found.add_patterns(name, patterns, {"at": at, "action": action})
        case "secrets":
            found.add("secrets", name, {"at": at, "action": action})
        case _:
            found.lose(f"the guardrail {name} ({kind})")
