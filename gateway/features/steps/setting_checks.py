"""Checks of the items of ``steps``. Imported only for a configuration that has some."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, get_args

import attrs

from configfile.document import Path
from configfile.expanded import Expanded, Unresolved
from configfile.keys import keys_of, with_part
from configfile.kinds import Secret
from configfile.reading import read
from configfile.secret_files import SecretReference
from configfile.wording import Wrong, describe, nearest
from gateway.config.clients import ClientKey
from gateway.config.findings import Findings
from gateway.config.listening import Listener
from gateway.config.model_entry import ModelEntry
from gateway.config.parts import Instead
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from gateway.config_files.building import Building
from gateway.config_files.client_access import AccessNames
from gateway.features.steps.kinds import DEFAULT_PARTS, KINDS
from gateway.features.steps.settings import StepKeys, StepScope, StepSettings, steps_of, texts_in
from gateway.http.urls import host_of_url, is_loopback
from providers.endpoints.endpoint import ENDPOINTS
from streams.errors import GatewayError
from streams.events import APIS

CONTENT: Final = "content"
"""The setting of an observer of your own: whether it gets texts. It is the gateway's, not the code's."""


def build_steps(config: Config, building: Building) -> Config:
    """Give the steps their names and settings."""
    made: dict[str, StepSettings] = {}
    names, findings = building.names, building.findings
    for path, item in findings.present_items(steps_of(config), ("steps",), "add `use`"):
        # A step without a name has that of its kind or function.
        name = item.name or (item.use.rpartition(":")[2].rpartition(".")[2] if item.is_code else item.use)
        if name in made:
            advice = "give each step its own `name`"
            findings.wrong((*path, "name" if item.name else "use"), f"another step has the name {name}", advice)
        _check_scope(item.scope, (*path, "for"), config, names, findings)
        _check_item(item, path, findings)
        written = findings.mistake((*path, "use"), "", "")
        made.setdefault(name, _with_settings(attrs.evolve(item, name=name, written=written), path, findings))
    return with_part(config, StepKeys(tuple(made.values())))


def _with_settings(item: StepSettings, path: Path, findings: Findings) -> StepSettings:
    """Return ``item`` with its settings, read by the class of a kind, or with the texts of secret files for code."""
    row = KINDS.get(item.use)
    texts, found = _resolve_files(item.settings, (*path, "with"), findings)
    if row is None or item.is_code:
        return attrs.evolve(item, settings=texts, secrets=tuple(found))
    reading: Any = read(texts, row.settings_class)
    for fault in reading.faults:
        what, expected, suggestion, known = fault.wrong.words
        advice = f"the settings of {item.use} are {', '.join(known)}" if known else expected
        findings.wrong((*path, "with", *fault.path), what, advice, suggestion)
    secrets = (*found, *_secrets_of(reading.value))
    plain = {name: value for name, value in item.settings.items() if not isinstance(value, SecretReference)}
    return attrs.evolve(item, settings=plain, kind_settings=reading.value, secrets=secrets)


def _secrets_of(settings: Any) -> Iterator[str]:
    """Yield the credentials among the settings of a kind."""
    for field in keys_of(type(settings)).values() if attrs.has(type(settings)) else ():
        if field.key.secret or Secret in (field.type, *get_args(field.type)):
            yield from texts_in(getattr(settings, field.attribute))


def _resolve_files(value: Any, path: Path, findings: Findings) -> tuple[Any, list[str]]:
    """Return ``value`` with the texts of its secret files, and all its texts from variables and files."""
    expanded = (text for text in texts_in(value) if isinstance(text, Expanded))
    secrets = [str(text) for text in expanded if not isinstance(text, Unresolved)]

    def resolve(value: Any, path: Path) -> Any:
        if isinstance(value, SecretReference):
            try:
                text = value.text()
                value = text if isinstance(text, Unresolved) else text.strip()
            except Wrong as wrong:
                findings.wrong(path, *wrong.words[:3])
                return ""
            secrets.append(value)
            return value
        if isinstance(value, dict):
            return {key: resolve(member, (*path, key)) for key, member in value.items()}
        if isinstance(value, list | tuple):
            return [resolve(member, (*path, i)) for i, member in enumerate(value)]
        return value

    return resolve(dict(value), path), secrets


# Contradictions


@attrs.frozen(repr=False)
class StepPlan:
    """The settings of a step with all defaults: ``action`` of ``None`` means that the service decides."""

    at: tuple[str, ...]
    action: str | Mapping[str, str] | None
    hold: str | int
    parts: tuple[str, ...]

    @property
    def masks(self) -> bool:
        return self.action == "mask" or (isinstance(self.action, Mapping) and "mask" in self.action.values())


def planned_step(item: StepSettings, defaults: Any, *, is_code: bool) -> StepPlan:
    """Return the settings of ``item`` over the ``defaults`` of its kind or of its code.

    A kind that only reads records masks them; a record cannot be refused."""
    at = item.at or defaults.at or ("request", "response")
    action = item.action if item.action is not None else defaults.action
    if item.action is None and is_code:
        action = action or "refuse"
    if item.action is None and action == "refuse" and set(at) == {"finished"}:
        action = "mask"
    hold = item.hold if item.hold is not None else defaults.hold
    parts = item.parts or defaults.parts or tuple(DEFAULT_PARTS)
    return StepPlan(at, action, "whole" if hold is None else hold, parts)


def contradictions(item: StepSettings, plan: StepPlan) -> Iterator[tuple[tuple[str, ...], str, str]]:
    """Yield the key, the fault and the advice of each contradiction between the settings of a step."""
    key = "action" if item.action is not None else "at" if item.at is not None else "use"
    if plan.masks and "during" in plan.at:
        yield (key,), "a mask is too late with `at: during`: the provider already has the text", (
            "use `at: [request]`, or `action: refuse`")  # fmt: skip
    if plan.masks and plan.hold == "nothing" and "response" in plan.at:
        yield ("hold" if item.hold is not None else key,), "`hold: nothing` releases text before it can be masked", (
            "remove `hold`, or use `action: refuse`")  # fmt: skip
    if item.restore and "request" not in plan.at:
        yield ("restore",), "there is nothing to restore: this step does not mask requests", "add `request` to `at`"
    elif item.restore and plan.action is not None and not plan.masks:
        yield ("restore",), "there is nothing to restore: this step masks nothing", "use `action: mask`"
    actions: Collection[str | None] = plan.action.values() if isinstance(plan.action, Mapping) else (plan.action,)
    if "refuse" in actions and set(plan.at) == {"finished"}:
        yield (key,), "a finished request cannot be refused", "use `mask` or `report`"


def _check_item(item: StepSettings, path: Path, findings: Findings) -> None:
    """Report the faults of one item that do not depend on its code."""
    for key in ("at", "parts"):
        if getattr(item, key) == ():
            findings.wrong((*path, key), "the list is empty", "list at least one, or remove it for the default")
    if item.action == {} and (*path, "action") not in findings.faulty:
        findings.wrong((*path, "action"), "the mapping is empty", "list at least one label, or write one action")
    row = KINDS.get(item.use)
    if row is None and not item.is_code and "." in item.use:
        file = item.use.endswith(".py")
        advice = f"add its function: {'./' if file else ''}{item.use}:NAME"
        findings.wrong((*path, "use"), f"{describe(item.use)} names no function", advice)
    if row is None:
        return
    plan = planned_step(item, row, is_code=False)
    for place, found, advice in contradictions(item, plan):
        findings.wrong((*path, *place), found, advice)
    if item.hold is not None and "response" not in plan.at:
        findings.no_effect((*path, "hold"), "it concerns responses, which this step does not check")


# The requests of a step


def _check_scope(scope: StepScope, path: Path, config: Config, names: AccessNames, findings: Findings) -> None:
    """Report patterns that nothing can match: a misspelled name would leave requests unchecked."""
    clients = [client.name for client in config.client_keys if client is not None]
    clients += findings.texts_of_dropped("client_keys", config.client_keys)
    people = config.rule_prefixes
    entries = [entry.name for entry in names.entries.all_entries]
    known: dict[str, tuple[Collection[str], str, bool]] = {
        "clients": (clients, "client_keys", config.stored_clients == "off"),
        "groups": ((*names.groups, *names.invalid), "client_groups", True),
        "entries": (entries, "model_providers", names.entries.complete),
        "endpoints": ((*APIS, *ENDPOINTS), "the endpoints", True),
    }
    for key, (of, where, complete) in known.items():
        for i, pattern in _listed_patterns(scope, key, path, findings):
            if key == "clients" and people and _may_match_people(pattern, people):
                continue
            if complete and not any(matches_one(name, (pattern,)) for name in of) and pattern != "*":
                found = f"no name in {where} matches {describe(pattern)}"
                findings.wrong((*path, key, i), found, f"use a name of {where}", nearest(pattern, of))
    for i, pattern in _listed_patterns(scope, "models", path, findings):
        if names.entries.complete and not _is_model(pattern, names):
            found = f"{describe(pattern)} is not a configured model"
            findings.wrong(
                (*path, "models", i), found, "use a name of model_providers or model_aliases", names.nearest(pattern)
            )


def _may_match_people(pattern: str, prefixes: tuple[str, ...]) -> bool:
    """Return whether ``pattern`` may match a name that begins with one of ``prefixes``."""
    head = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return pattern.startswith(prefixes) or (head != pattern and any(one.startswith(head) for one in prefixes))


def _listed_patterns(scope: StepScope, key: str, path: Path, findings: Findings) -> Iterator[tuple[int, str]]:
    """Yield the patterns in one list of ``scope``, without the mark of exclusions. Report an empty list."""
    patterns = getattr(scope, key)
    if patterns == ():
        findings.wrong((*path, key), "the list is empty", "list at least one name, or remove it to include all")
    for i, pattern in enumerate(patterns or ()):
        if not isinstance(pattern, Unresolved):
            yield i, pattern.removeprefix("!")


def _is_model(pattern: str, names: AccessNames) -> bool:
    """Return whether a request may have a model that matches ``pattern``; those of wildcard entries are unknown."""
    if any(letter in pattern for letter in "*?["):
        return True
    try:
        return names.is_model(pattern)
    except GatewayError:
        return True


def unsafe_steps(content: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield the paths of steps that load code or call a service on another machine, with the reason.

    Only the first step with each reason is included, because the same advice applies to all."""
    firsts: dict[str, Path] = {}
    items = content.get("steps")
    for i, item in enumerate(items if isinstance(items, list) else ()):
        use, settings = (item.get("use"), item.get("with")) if isinstance(item, dict) else (None, None)
        if isinstance(use, str) and use not in KINDS:
            firsts.setdefault("it loads code", ("steps", i, "use"))
        url = settings.get("url") if isinstance(settings, dict) else None
        if isinstance(url, str) and not is_loopback(host_of_url(url)):
            firsts.setdefault("it sends texts to another machine", ("steps", i, "with", "url"))
    yield from ((path, found) for found, path in firsts.items())


ADVICE: Final = (
    Instead(
        "write checks and records of prompts and answers under `steps` at the root, such as `steps: [{use: secrets}]`",
        "guardrails guardrail callbacks callback success_callback failure_callback hooks pii",
        (Config, ModelEntry, ClientKey, Listener),
    ),
)
