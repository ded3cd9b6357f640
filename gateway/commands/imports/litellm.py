"""Converts a LiteLLM configuration (https://docs.litellm.ai/docs/proxy/configs).

``litellm_tables`` has the tables, ``litellm_models`` converts models, ``litellm_routes`` groups and fallbacks,
``litellm_keys`` clients and teams, ``litellm_guards`` guardrails; ``result`` has the result.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
import yaml

from configfile import document
from gateway.commands.imports.litellm_guards import guarded_clients, read_guardrails
from gateway.commands.imports.litellm_keys import Team, Token, convert_keys
from gateway.commands.imports.litellm_models import add_models, key_of
from gateway.commands.imports.litellm_routes import ROUTED, add_routes
from gateway.commands.imports.litellm_tables import (
    GUARDS,
    HERE_ANYWAY,
    NO_COUNTERPART,
    NO_MATTER,
    REASONS,
    UNENFORCED,
)
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Result, escape_dollars, is_switched_off, lines, positive, timeouts_of
from gateway.config.loading import ConfigError, from_mapping
from gateway.config.prices import unpriced


@attrs.frozen
class Clients:
    """The keys of clients in LiteLLM's database, and their teams."""

    keys: Sequence[Token]
    teams: Sequence[Team] = ()


def imported(content: Any, clients: Clients | None = None) -> Result:
    """Convert ``content``, a LiteLLM configuration. ``clients`` are those of its database, ``None`` without an export.

    Raises ``ConfigError`` if it is not a LiteLLM configuration, or if no model can be converted."""
    if not isinstance(content, dict) or not isinstance(content.get("model_list"), list):
        raise _model_list_error("missing", "give the config.yaml of a LiteLLM proxy")
    result = Result(models=len(content["model_list"]))
    remarks = add_models(content["model_list"], content.get("credential_list"), result)
    if not result.entries:
        raise _model_list_error("no model can be converted", "; ".join(remarks) or "the list is empty")
    result.remarks += remarks
    add_routes(content, result)
    _add_aliases(content, result)
    _add_client_keys(content.get("general_settings"), clients, result)
    _add_steps(content, clients, result)
    for section, settings in content.items():
        if section == "model_list":
            continue
        nested = section in ("litellm_settings", "router_settings", "general_settings") and isinstance(settings, dict)
        for name, value in settings.items() if nested else ((section, settings),):
            _convert_setting(f"{section}.{name}" if nested else section, str(name), value, result)
    _warn_of_other_entries(result)
    _allow_unpriced(result)
    return result


def _warn_of_other_entries(result: Result) -> None:
    """Record the names without an entry that another entry would serve by its model family."""
    for _, what, entry in result.still_served():
        why = f"they go to {entry}: write an entry for the model, or remove the other entry"
        result.remarks.append(result.leave_out(f"requests for {what}", (Group.PROTECTION, why)))


def _allow_unpriced(result: Result) -> None:
    """Allow models without a price despite a budget in dollars, as LiteLLM does: it counts them as free."""
    try:
        config = from_mapping({**yaml.safe_load("\n".join(lines(result, ""))), "unpriced": "allow"})
    except ConfigError:
        return  # the command reports it
    found = [f"{one.entry.provider.id}/{one.model}" for one in unpriced(attrs.evolve(config, unpriced="refuse"))]
    if found:
        result.unpriced = True
        why = "budgets in dollars count it as free: set a `price` for each model, and remove `unpriced`"
        result.remarks.append(result.leave_out(f"the price of {', '.join(found)}", (Group.MONEY, why)))


def _model_list_error(found: str, expected: str) -> ConfigError:
    return ConfigError((document.Mistake("", "model_list", found, expected),))


# Other settings


def _add_aliases(content: dict[str, Any], result: Result) -> None:
    known = result.known()
    for section, setting in (("router_settings", "model_group_alias"), ("litellm_settings", "model_alias_map")):
        settings = content.get(section)
        given = settings.get(setting) if isinstance(settings, dict) else None
        if given and not isinstance(given, dict):
            result.remarks.append(result.leave_out(f"{section}.{setting}", (Group.NAMES, "it is not a mapping")))
        for alias, target in given.items() if isinstance(given, dict) else ():
            model = target.get("model") if isinstance(target, dict) else target
            if (
                isinstance(model, str)
                and known(escape_dollars(model))
                and str(alias) not in {*result.names, *result.aliases}
            ):
                route = result.aliases.get(escape_dollars(model), {})
                result.aliases[str(alias)] = route if "targets" in route else {"target": escape_dollars(model)}
                if "targets" in route:
                    result.same[str(alias)] = escape_dollars(model)
            else:
                reason = (Group.NAMES, "its model is not in this file, or a model has the same name")
                result.remarks.append(result.leave_out(f"the alias {alias}", reason))


def _add_client_keys(general: Any, clients: Clients | None, result: Result) -> None:
    """Add the master key, and the keys and teams of the database."""
    if isinstance(general, dict) and (master := general.get("master_key")):
        notes, key = key_of("litellm_master", master, None)
        if key is not None:
            result.client_keys.append({"name": "master", "key": key})
        result.remarks += [note.replace("the key", "the master_key") for note in notes]
    result.knows_keys = clients is not None
    if clients is not None:
        known = result.known()
        taken = {one["name"] for one in result.client_keys}
        found = convert_keys(
            clients.keys, clients.teams, lambda name: known(escape_dollars(name)), result.access_groups, taken
        )  # fmt: skip
        result.client_keys += [_as_file_item(one, result) for one in found.items]
        result.client_groups += [_as_file_item(one, result) for one in found.groups]
        result.remarks += [result.leave_out(loss.what, (loss.group, loss.why)) for loss in found.losses]
        result.no_longer_good = found.no_longer_good
        result.remarks += [f"omitted, because the key was invalid already: {one}" for one in found.no_longer_good]
    elif result.access_groups:
        what = f"the access groups {', '.join(result.access_groups)}"
        result.remarks.append(result.leave_out(what, REASONS["access_groups"]))


def _add_steps(content: Mapping[str, Any], clients: Clients | None, result: Result) -> None:
    """Add a step for each guardrail that has a counterpart."""
    names = {one["sha256"]: str(one["name"]) for one in result.client_keys if "sha256" in one}
    guarded = {} if clients is None else guarded_clients(clients.keys, clients.teams, names)
    found = read_guardrails(content, guarded)
    result.steps += found.steps
    result.remarks += [result.leave_out(what, reason) for what, reason in found.losses.items()]
    result.remarks += found.notes
    if found.has_requested:
        result.remarks.append("clients request steps with the header x-trigate-steps, or with `guardrails` in the body")


def _as_file_item(item: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """Return an item of ``client_keys`` or ``client_groups`` for the file.

    Clients that may use a name may use its aliases. An alias with several targets has its own name in ``models``."""
    names = {member: escape_dollars(item[member]) for member in ("name", "group") if member in item}
    if "models" not in item:
        return {**item, **names}
    routes = [escape_dollars(model) for model in item["models"]]
    same = [alias for alias, name in result.same.items() if name in routes and alias not in routes]
    return {**item, **names, "models": [*routes, *same]}


def _convert_setting(what: str, name: str, value: Any, result: Result) -> None:
    """Convert a setting of the root, of ``litellm_settings`` and so on, or omit it with a comment."""
    carried = name == "completion_model" and _set_default_model(value, result)
    if name == "master_key" or carried or name in NO_MATTER | ROUTED or is_switched_off(value):
        return
    if name in _GUARDRAILS and isinstance(value, list | bool):
        return
    if name in _COUNTERPARTS and _convert_to_counterpart(name, value, result):
        return
    if name in ("callbacks", "success_callback", "failure_callback", "service_callback", "service_callbacks"):
        _convert_callbacks(what, name, value, result)
    elif name != "database_url" or not result.knows_keys:
        result.remarks.append(result.leave_out(what, UNENFORCED.get(what) or REASONS.get(name, NO_COUNTERPART)))


def _set_default_model(name: Any, result: Result) -> bool:
    deployments = result.deployments.get(escape_dollars(name)) if isinstance(name, str) else None
    if not deployments:
        return False
    deployments[0].entry["default"] = True
    if deployments[0].name != name:
        result.remarks.append(f"requests without a model go only to {deployments[0].name}, the first of {name}")
    return True


_GUARDRAILS: Final = frozenset(("guardrails", "skip_system_message_in_guardrail", "skip_tool_message_in_guardrail"))
"""Settings that ``litellm_guards`` reads."""

_COUNTERPARTS: Final[Mapping[str, tuple[str, str]]] = {
    "global_max_parallel_requests": ("in_flight", ""),
    "max_request_size_mb": ("request_body", "MiB"),
    "max_response_size_mb": ("answer", "MiB"),
    "request_timeout": ("", ""),
    "timeout": ("", ""),
}
"""LiteLLM's settings with their key in ``limits`` and the unit of the number; those without a key are ``timeouts``."""


def _convert_to_counterpart(name: str, value: Any, result: Result) -> bool:
    """Convert ``value`` if possible, and return whether it was."""
    key, unit = _COUNTERPARTS[name]
    number = positive(value)
    if number is None:
        return False
    if not key:
        if name == "timeout" or not result.timeouts:  # the router's has precedence over litellm_settings
            result.timeouts = timeouts_of(value)
    elif unit:
        result.limits[key] = f"{number:g}{unit}"
    elif number == int(number) and number <= 10**6:
        result.limits[key] = int(number)
    else:
        return False
    return True


def _convert_callbacks(what: str, name: str, value: Any, result: Result) -> None:
    found = [one if isinstance(one, str) else "…" for one in (value if isinstance(value, list) else [value])]
    for group, those in (
        (Group.PROTECTION, [one for one in found if one in GUARDS]),
        (Group.TRIFLES, [one for one in found if one not in GUARDS | HERE_ANYWAY]),
    ):
        why = REASONS["guardrails"][1] if group is Group.PROTECTION else REASONS[name][1]
        if those:
            result.remarks.append(result.leave_out(f"{what} ({', '.join(those)})", (group, why)))
