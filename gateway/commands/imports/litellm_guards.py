"""Converts LiteLLM's ``guardrails`` into ``steps`` (https://docs.litellm.ai/docs/proxy/guardrails/quick_start)."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from gateway.commands.imports.guard_drafts import ACTIONS, GuardDraft, GuardLost
from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.imported_values import free_name, items_of, mapping_of, number_of, text_of, with_texts
from gateway.commands.imports.litellm_filter import read_content_filter
from gateway.commands.imports.litellm_keys import Team, Token
from gateway.commands.imports.litellm_rows import read_mapping
from gateway.commands.imports.losses import Group, Reason
from gateway.commands.imports.result import Result, as_yaml, file_content
from gateway.config.loading import from_mapping
from providers.endpoints.model_types import ENDPOINTS_OF

MOMENTS: Final[Mapping[str, str]] = {
    "pre_call": "request", "during_call": "during", "post_call": "response", "logging_only": "finished",
}  # fmt: skip
"""The moments of a step by LiteLLM's modes."""

NO_KIND: Final = (
    "there is no step of this kind; a service with LiteLLM's generic guardrail API can be a step `use: http`"
)
NO_CODE: Final = "its Python class is not converted: write a step of your own (docs/steps.md#write-a-step)"
_ADVICE: Final[Mapping[str, str]] = {
    "tool_permission": "write its rules as a step `use: tools` with `allow`, `deny` and `arguments` (docs/steps.md)",
}
"""Reasons for kinds of guardrails that are not converted."""
NOT_AT: Final = "there is no such moment"

ANALYZER: Final = "$PRESIDIO_ANALYZER_API_BASE"
GUARD: Final = "$GENERIC_GUARDRAIL_API_BASE"

_PARTS: Final = ("system", "user", "assistant", "reasoning", "tool_calls", "tool_results", "input", "other")


def add_guardrails(content: Mapping[str, Any], clients: Mapping[str, Sequence[str]], result: Result) -> None:
    """Add a step for each guardrail in ``content``; ``clients`` are the names of those that list a guardrail."""
    general = mapping_of(content.get("litellm_settings"))
    common = {name: general[name] for name in general if name.startswith("skip_") and name.endswith("_in_guardrail")}
    losses: dict[str, Reason] = {}
    notes: list[str] = []
    for item in (*items_of(content.get("guardrails")), *items_of(general.get("guardrails"))):
        params = mapping_of(item.get("litellm_params"))
        guard, title = str(params.get("guardrail") or ""), str(item.get("guardrail_name") or "")
        old_form = next(iter(item), "") if len(item) == 1 else ""  # {NAME: {callbacks: …}}
        what = f"the guardrail {title or guard or old_form}" + (f" ({guard})" if title and guard else "")
        try:
            moments = _moments(params.get("mode"), what, losses)
            draft = GuardDraft(SecretOwner(title or guard, result.secrets), {**common, **params}, moments)
            made = _convert(guard, draft)
        except GuardLost as lost:
            losses[what] = Group.PROTECTION, str(lost)
            continue
        for use, own in made:
            name = _unique_name(title or guard, use if len(made) > 1 else "", [step["name"] for step in result.steps])
            result.steps.append({"use": use, "name": name, "at": draft.at, **_scope(title, params, clients), **own})
        for name in draft.params:
            if name not in draft.read and draft.params[name] not in (None, False, "", [], {}):
                draft.losses[name] = Group.PROTECTION, "check in docs/steps.md whether the step needs it"
        losses.update({f"{name} of {what}": reason for name, reason in draft.losses.items()})
        notes += (f"{what}: {note}" for note in draft.owner.notes)
    for what, reason in losses.items():
        result.lose(what, reason)
    result.remarks += notes
    if any(step.get("for") == "on_request" for step in result.steps):
        remark = "clients request steps with the header x-trigate-steps, or with `guardrails` in the body"
        result.remarks.append(remark)


def _moments(mode: Any, what: str, losses: dict[str, Reason]) -> list[str]:
    """Return the moments of a mode, and record the modes without one. Raises ``GuardLost``."""
    if isinstance(mode, dict):
        losses[f"the tags of {what}"] = Group.PROTECTION, "`for` selects requests by client, group and model"
        mode = mode.get("default")
    modes = [one for one in (mode if isinstance(mode, list) else [mode or "pre_call"]) if isinstance(one, str)]
    for one in modes:
        if one not in MOMENTS:
            losses[f"the mode {one} of {what}"] = Group.PROTECTION, NOT_AT
    found = [moment for name, moment in MOMENTS.items() if name in modes]
    if not found:
        raise GuardLost(NOT_AT)
    return found


def _scope(title: str, params: Mapping[str, Any], clients: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if params.get("default_on") is True:
        return {}
    names = clients.get(title, ())
    return {"for": {"clients": list(names)} if names else "on_request"}


def _unique_name(title: str, use: str, taken: Sequence[str]) -> str:
    """Return a name for a step that no other step has."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", title).strip("-._")[:48] or "guardrail"
    return free_name(f"{plain}-{use}" if use else plain, taken)


def _convert(guard: str, draft: GuardDraft) -> list[tuple[str, dict[str, Any]]]:
    """Return the kinds and other keys of the steps for a guardrail. Raises ``GuardLost``."""
    if guard not in _KINDS:
        raise GuardLost(NO_CODE if "." in guard else _ADVICE.get(guard, NO_KIND))
    steps = _KINDS[guard](draft)
    own: dict[str, Any] = {}
    params = draft.params
    if params.get("unreachable_fallback") == "fail_open" or params.get("fail_on_error") is False:
        own["unchecked"] = "pass"
        draft.owner.notes.append(
            "`unchecked: pass` lets all content through that the step could not check, for any reason"
        )
    hidden = {"system"} if params.get("skip_system_message_in_guardrail") is True else set()
    hidden |= {"tool_results"} if params.get("skip_tool_message_in_guardrail") is True else set()
    if hidden:
        own["parts"] = [part for part in _PARTS if part not in hidden]
    return [(use, _remove_contradictions({**own, **settings}, draft)) for use, settings in steps]


def _remove_contradictions(step: dict[str, Any], draft: GuardDraft) -> dict[str, Any]:
    """Return ``step`` without contradictions between its actions and moments."""
    action = step.get("action")
    actions = set(action.values()) if isinstance(action, dict) else {action}
    if "mask" in actions and "during" in draft.at:
        draft.at = [moment for moment in MOMENTS.values() if moment in {*draft.at, "request"} - {"during"}]
        draft.owner.notes.append("it masks, so it runs before the request and not during the provider's work")
    if draft.at == ["finished"] and "refuse" in actions:
        step["action"] = dict.fromkeys(action, "mask") if isinstance(action, dict) else "mask"
        draft.owner.notes.append("it masks records, which cannot be refused")
    if draft.at == ["finished"]:
        draft.owner.notes.append("it masks records only for observers after it: steps of your own `at: [finished]`")
    if step.get("restore") and ("request" not in draft.at or "mask" not in actions):
        del step["restore"]
    return step


def lose_closed_endpoints(result: Result) -> None:
    """Report the requests to models that the steps of the file refuse, because no step can check them."""
    if not result.steps:
        return
    from gateway.features.steps.endpoints import closed_endpoints  # imported when needed
    from gateway.features.steps.loading import load_steps

    config = from_mapping(file_content(result))
    for step in load_steps(config).steps:
        scope = next(one.get("for") for one in result.steps if one["name"] == step.name)
        if scope == "on_request":
            continue
        closed: dict[str, list[str]] = {}
        for entry in config.entries:
            served = ENDPOINTS_OF[entry.type_of(entry.model)]
            shut = {*closed_endpoints(step)} & {one for one in served if entry.place_of(one, entry.model)}
            closed |= {entry.name: [one for one in served if one in shut]} if shut else {}
        opened = [f"!{one}" for one in dict.fromkeys(one for found in closed.values() for one in found)]
        why = (
            f"they get 403, because the step {step.name} cannot check them; to let them pass unchecked, write in the "
            f"step: `for: {as_yaml({**(scope or {}), 'endpoints': opened})}`"
        )
        for name, found in closed.items():
            result.lose(f"{', '.join(found)} of {name}", (Group.NAMES, why))


# Kinds


def _service(draft: GuardDraft) -> list[tuple[str, dict[str, Any]]]:
    settings: dict[str, Any] = {"url": text_of(draft.take("api_base")) or GUARD}
    if (key := draft.owner.read_key(draft.take("api_key"), None)) is not None:
        settings["key"] = key
    headers = draft.take("headers")
    if isinstance(headers, dict) and headers:
        settings["headers"] = draft.owner.read_headers(headers)
    params = draft.take("additional_provider_specific_params")
    if isinstance(params, dict) and params:
        settings["params"] = with_texts(params)
    if draft.take("extra_headers"):
        draft.lose("extra_headers", "no header of a client is sent to a service")
    return [("http", {"with": settings})]


def _presidio(draft: GuardDraft) -> list[tuple[str, dict[str, Any]]]:
    settings: dict[str, Any] = {"url": text_of(draft.take("presidio_analyzer_api_base")) or ANALYZER}
    if (language := text_of(draft.take("presidio_language"))) is not None:
        settings["language"] = language
    draft.take("presidio_anonymizer_api_base")
    scores = draft.take("presidio_score_thresholds")
    if isinstance(scores, dict):
        known = [score for value in scores.values() if (score := number_of(value)) is not None and 0 <= score <= 1]
        if "ALL" in scores and known:
            settings["score"] = min(known)
        if set(scores) - {"ALL"}:
            draft.lose("presidio_score_thresholds", "one `score` applies to all entities", Group.TRIFLES)
    step: dict[str, Any] = {"action": "mask"}
    entities = draft.take("pii_entities_config")
    if isinstance(entities, dict) and entities:
        step["action"] = {str(one): ACTIONS.get(str(value).upper(), "refuse") for one, value in entities.items()}
    if draft.take("output_parse_pii") is True:
        step["restore"] = True
    scope = draft.take("presidio_filter_scope")
    if scope in ("input", "output"):
        draft.at = [one for one in draft.at if (one == "response") == (scope == "output")] or draft.at
    return [("presidio", {**step, "with": settings})]


def _secrets(draft: GuardDraft) -> list[tuple[str, dict[str, Any]]]:
    if draft.take("detect_secrets_config"):
        draft.lose("detect_secrets_config", "`secrets` always searches for all its formats", Group.TRIFLES)
    return [("secrets", {"action": "mask"})]


_KINDS: Final[Mapping[str, Callable[[GuardDraft], list[tuple[str, dict[str, Any]]]]]] = {
    "generic_guardrail_api": _service,
    "presidio": _presidio,
    "hide-secrets": _secrets,
    "hide_secrets": _secrets,
    "litellm_content_filter": read_content_filter,
}
"""The conversion of each kind of guardrail."""


# Clients


def guarded_clients(
    keys: Sequence[Token], teams: Sequence[Team], names: Mapping[str, str]
) -> Mapping[str, tuple[str, ...]]:
    """Return the clients that list each guardrail, themselves or by their team; ``names`` are those of their keys."""
    by_team = {team.id: _guardrail_names(team.row) for team in teams}
    found: dict[str, list[str]] = {}
    for key in keys:
        if (name := names.get(key.digest)) is not None:
            for guard in dict.fromkeys((*_guardrail_names(key.row), *by_team.get(key.team, ()))):
                found.setdefault(guard, []).append(name)
    return {guard: tuple(clients) for guard, clients in found.items()}


def _guardrail_names(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the guardrails in the metadata of a key or team."""
    listed = read_mapping(row.get("metadata")).get("guardrails")
    return tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()
