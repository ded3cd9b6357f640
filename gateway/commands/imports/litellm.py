"""Converts a LiteLLM configuration (https://docs.litellm.ai/docs/proxy/configs).

``litellm_tables`` has the tables, ``litellm_models`` converts models, ``litellm_routes`` groups and fallbacks,
``litellm_keys`` clients and teams; ``result`` has the result.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from configfile import document
from configfile.document import ConfigError
from gateway.commands.imports import litellm_tables
from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.imported_values import (
    ENVIRONMENT,
    escape_dollars,
    is_switched_off,
    items_of,
    mapping_of,
    positive,
    section_of,
    timeouts_of,
)
from gateway.commands.imports.litellm_budgets import LASTING, WHY_LASTING, converted_limits, lifetime_rest
from gateway.commands.imports.litellm_clients import add_clients
from gateway.commands.imports.litellm_database import Tables
from gateway.commands.imports.litellm_models import add_models
from gateway.commands.imports.litellm_places import ENTRA
from gateway.commands.imports.litellm_routes import (
    ROUTED,
    add_routes,
    aliases_in,
    enforced_rates,
    rename_entries,
    routing_strategies,
)
from gateway.commands.imports.litellm_secrets import MASTER_KEY, Decryption
from gateway.commands.imports.litellm_sign_in import draft_issuers
from gateway.commands.imports.litellm_stored import with_stored
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Deployment, Result, file_content
from gateway.config_files.allowance_checks import unpriced_models
from gateway.config_files.loading import from_mapping

_COMPATIBILITY: Final = (
    "if clients use Azure's paths, x-litellm-api-key or a provider's prefix such as /anthropic, add "
    "`compatibility: [azure, litellm]` at the root; if they send tags, metadata or fallbacks in bodies, add "
    "`client_routing: [litellm]`"
)
"""A remark in every new file: neither LiteLLM's file nor its database has the paths that clients request."""

_ADMIN: Final = (
    "the master key stays valid, as an administrator's: if programs call /key/generate with it, add `stored_keys: "
    "true` and a `state_storage`. To let it only call models, remove its `role`; to end it, remove the client `master`"
)
_NO_MASTER_KEY: Final = (
    "the master key is not in the file, so it ends, and no key is an administrator's. To keep it, add `{name: master, "
    "key: $LITELLM_MASTER_KEY, role: admin}` to client_keys, with `models` if it calls any"
)


def convert_litellm(content: Any, tables: Tables | None = None, decryption: Decryption = Decryption()) -> Result:  # noqa: B008
    """Convert ``content``, a LiteLLM configuration, with the ``tables`` of its database.

    Raises ``ConfigError`` if it is not a LiteLLM configuration, or if no model can be converted."""
    _check_model_list(content)
    result = Result(knows_keys=tables is not None)
    content = with_stored(content, tables or {}, decryption, result)
    router = section_of(content, "router_settings")
    result.filters_tags = router.get("enable_tag_filtering") is True
    result.enforced_rates, result.strategies = enforced_rates(router), routing_strategies(router)
    add_models(content["model_list"], content.get("credential_list"), _defaults(content), result)
    if not result.entries:
        raise _model_list_error("no model can be converted", "; ".join(map(str, result.missing)) or "the list is empty")
    _make_way_for_aliases(content, result)
    add_routes(content, result)
    _add_aliases(content, result)
    _add_model_ids(result)
    _add_master_key(content, result)
    if tables is not None:
        add_clients(tables, result)
        draft_issuers(tables, decryption, result)
    elif result.access_groups:
        result.lose(f"the access groups {', '.join(result.access_groups)}", litellm_tables.reason_of("access_groups"))
    _lose_addresses(result)
    budget = {name: section_of(content, "litellm_settings").get(name) for name in ("max_budget", "budget_duration")}
    if budgets := converted_limits(budget)[0].get("budgets"):
        result.settings["budgets"] = budgets
        if lifetime_rest(budget) is not None:
            result.lose(f"litellm_settings.{LASTING}", WHY_LASTING)
    for section, settings in content.items():
        if section == "model_list":
            continue
        nested = section in ("litellm_settings", "router_settings", "general_settings") and isinstance(settings, dict)
        for name, value in settings.items() if nested else ((section, settings),):
            what = f"{section}.{name}" if nested else str(section)
            _convert_setting(what, str(name), value, result)
    allow_unpriced(result)
    if result.needless:
        result.remarks.append(f"these settings need no counterpart: {', '.join(dict.fromkeys(result.needless))}")
    if "compatibility" not in result.settings:
        result.choices.append(_COMPATIBILITY)
    return result


def allow_unpriced(result: Result) -> None:
    """Allow models without a price despite a budget in dollars, as LiteLLM does: it counts them as free."""
    try:
        config = from_mapping({**file_content(result), "unpriced": "allow"})
    except ConfigError:
        return  # the command reports it
    found = [f"{one.entry.provider.id}/{one.model}" for one in unpriced_models(attrs.evolve(config, unpriced="refuse"))]
    if found:
        result.settings["unpriced"] = "allow"
        why = "budgets in dollars count them as free: set a `price` for each, and remove `unpriced`"
        result.lose(f"models without a price ({', '.join(found)})", (Group.MONEY, why))


def _check_model_list(content: Any) -> None:
    """Raise ``ConfigError`` unless ``content`` has LiteLLM's list of models."""
    if isinstance(content, dict) and "model_providers" in content:
        raise _model_list_error("missing", "the file is a configuration of trigate already: trigate check")
    if not isinstance(content, dict) or "model_list" not in content:
        raise _model_list_error("missing", "give a configuration of LiteLLM's proxy; docs/migrating.md has others")
    if not isinstance(content["model_list"], list):
        raise _model_list_error("not a list", "expected a list of models, as in LiteLLM")


def _model_list_error(found: str, expected: str) -> ConfigError:
    return ConfigError((document.Mistake("", "model_list", found, expected),))


def _defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of ``litellm_params`` that apply to models without them."""
    given = section_of(section_of(content, "router_settings"), "default_litellm_params")
    refreshes = section_of(content, "litellm_settings").get(ENTRA) is True
    return {name: value for name, value in given.items() if name != "model"} | ({ENTRA: True} if refreshes else {})


# Aliases


ALIASES: Final = (("router_settings", "model_group_alias"), ("litellm_settings", "model_alias_map"))
"""The settings with aliases. Their names have precedence over those of models."""


def _make_way_for_aliases(content: Mapping[str, Any], result: Result) -> None:
    """Rename the entries whose names are aliases: LiteLLM resolves aliases first."""
    known = result.name_test()
    for section, setting in ALIASES:
        for alias, model in aliases_in(section_of(content, section), setting):
            name, target = escape_dollars(alias), escape_dollars(model)
            if name == target or name not in result.deployments or not known(target):
                continue
            hidden = result.deployments.pop(name)
            rename_entries([(name, one) for one in hidden], result)
            result.hidden[name] = [one.name for one in hidden]
            entries = ", ".join(result.hidden[name])
            result.remarks.append(
                f"as in LiteLLM, {alias} means {model}; its own models are only available as {entries}"
            )


def _add_aliases(content: dict[str, Any], result: Result) -> None:
    known = result.name_test()
    for section, setting in ALIASES:
        settings = section_of(content, section)
        if settings.get(setting) and not isinstance(settings[setting], dict):
            result.lose(f"{section}.{setting}", (Group.NAMES, "it is not a mapping"))
            continue
        models = dict(aliases_in(settings, setting))
        for alias, given in (settings.get(setting) or {}).items():
            name, model = escape_dollars(str(alias)), escape_dollars(models.get(str(alias), ""))
            taken = name in {*result.names, *result.aliases}
            if name == model:
                continue
            if "*" in name:
                result.lose(f"the alias {alias}", (Group.NAMES, "LiteLLM reads its * as a letter"))
                continue
            if (entries := result.hidden.get(model) or result.wildcard_targets(model)) and not taken:
                result.aliases[name] = _alias_of(entries)
            elif taken or not (model and known(model)):
                why = "another alias has the same name" if taken else "its model is not in this file"
                result.lose(f"the alias {alias}", (Group.NAMES, why))
                result.missing_names |= {} if taken else {str(alias): "an alias"}
                continue
            else:
                route = result.aliases.get(model, {})
                result.aliases[name] = route if "targets" in route else {"target": model}
                if "targets" in route:
                    result.same[name] = model
            if isinstance(given, dict) and given.get("hidden") is True:
                result.lose(f"hidden of the alias {alias}", (Group.TRIFLES, ""))


def _alias_of(entries: Sequence[str]) -> dict[str, Any]:
    """Return an alias of one entry, or of several that share the requests."""
    return {"target": entries[0]} if len(entries) == 1 else {"targets": [[*entries]]}


def _add_model_ids(result: Result) -> None:
    """Add the models of ``litellm_params`` as aliases.

    LiteLLM serves them, too (``litellm/proxy/route_llm_request.py``, ``deployment_names``)."""
    known = result.name_test()
    found: dict[str, list[Deployment]] = {}
    for one in (one for deployments in result.deployments.values() for one in deployments):
        if "*" not in one.old_model:
            found.setdefault(escape_dollars(one.old_model), []).append(one)
    for name, deployments in found.items():
        if not known(name) and not result.is_missing(name):
            alike = [one.name for one in deployments if one.type == deployments[0].type]
            result.model_ids[name] = _alias_of(alike)


# Clients


def _add_master_key(content: Mapping[str, Any], result: Result) -> None:
    """Add the master key of the settings, or else that of the variables in the file, as LiteLLM does."""
    master = section_of(content, "general_settings").get("master_key")
    if not master and section_of(content, "environment_variables").get(MASTER_KEY):
        master = f"{ENVIRONMENT}{MASTER_KEY}"
    if master:
        owner = SecretOwner("litellm_master", result.secrets)
        if (key := owner.read_client_key(master)) is not None:
            models = [*dict.fromkeys((*result.requested_names, *result.aliases, *result.model_ids))]
            result.client_keys.append({"name": "master", "key": key, "role": "admin", "models": models})
        result.remarks += [*(note.replace("the key", "the master_key") for note in owner.notes)]
        result.choices.append(_ADMIN)
    elif result.knows_keys:
        result.choices.append(_NO_MASTER_KEY)


# Other settings


def _convert_setting(what: str, name: str, value: Any, result: Result) -> None:
    """Convert a setting of the root, of ``litellm_settings`` and so on, or record its loss."""
    if what in ("litellm_settings.max_budget", "litellm_settings.budget_duration") and "budgets" in result.settings:
        return
    if name == "ssl_verify" and value is False:
        result.lose(what, litellm_tables.UNVERIFIED)
    elif name in litellm_tables.NO_MATTER and name not in _READ_ELSEWHERE:
        result.needless.append(what)
    elif name == "litellm_key_header_name" and isinstance(value, str):
        _convert_key_header(what, value, result)
    elif name in _DONE or is_switched_off(value) or (name in _COUNTERPARTS and _convert_limit(name, value, result)):
        return
    elif name == "guardrails" and isinstance(value, list):
        _lose_guardrails(what, value, result)
    elif name.endswith(("callback", "callbacks")):
        _lose_callbacks(what, name, value, result)
    elif what == "general_settings.max_parallel_requests":
        result.lose(what, litellm_tables.UNENFORCED)
    elif name != "database_url" or not result.knows_keys:
        result.lose(what, litellm_tables.reason_of(name))


_READ_ELSEWHERE: Final = frozenset((*(name for _, name in ALIASES), "credential_list"))
"""Settings without effect of their own: other functions read them, and report losses."""

_DONE: Final = litellm_tables.NO_MATTER | ROUTED | {"master_key", ENTRA, "default_litellm_params"}
"""Settings that need nothing more."""

_KEY_HEADERS: Final = frozenset(("authorization", "x-api-key", "x-goog-api-key"))
"""The headers from which the gateway reads keys in every configuration."""

_LITELLMS_KEY_HEADERS: Final = frozenset(("x-litellm-api-key", "ocp-apim-subscription-key"))


def _convert_key_header(what: str, header: str, result: Result) -> None:
    """Accept keys in the header of LiteLLM's clients, or report another one."""
    if header.lower() in _LITELLMS_KEY_HEADERS:
        result.settings["compatibility"] = ["azure", "litellm"]
    elif header.lower() == "api-key":
        result.settings.setdefault("compatibility", ["azure"])
    elif header.lower() not in _KEY_HEADERS:
        why = "clients must send their key as `authorization: Bearer …`, or in x-litellm-api-key or x-api-key"
        result.lose(f"{what} ({header})", (Group.NAMES, why))


_COUNTERPARTS: Final[Mapping[str, tuple[str, str]]] = {
    "global_max_parallel_requests": ("in_flight", ""),
    "max_request_size_mb": ("request_body", "MiB"),
    "max_response_size_mb": ("answer", "MiB"),
    "request_timeout": ("", ""),
    "timeout": ("", ""),
}
"""LiteLLM's settings with their key in ``limits`` and the unit of the number; those without a key are ``timeouts``."""


def _convert_limit(name: str, value: Any, result: Result) -> bool:
    """Convert ``value`` if possible, and return whether it was."""
    key, unit = _COUNTERPARTS[name]
    number = positive(value)
    if number is None or (key and not unit and (number != int(number) or number > 10**6)):
        return False
    if key:
        limits = result.settings.setdefault("limits", {})
        limits[key] = f"{number:g}{unit}" if unit else int(number)
        if not unit:
            result.comments["limits"] = "in_flight applies to each worker"
    elif name == "timeout" or "timeouts" not in result.settings:  # the router's has precedence over litellm_settings
        result.settings["timeouts"] = timeouts_of(value)
    return True


def _lose_callbacks(what: str, name: str, value: Any, result: Result) -> None:
    """Record callbacks as losses; those that block requests or content are lost protection."""
    for one in dict.fromkeys(str(one) for one in (value if isinstance(value, list) else [value])):
        protects = one in litellm_tables.GUARDS or "." in one  # a class of the operator's own may do anything
        result.lose(f"{what} ({one})", litellm_tables.reason_of("guardrails" if protects else name))


def _lose_guardrails(what: str, value: Sequence[Any], result: Result) -> None:
    """Record each guardrail as lost protection."""
    for item in items_of(value):
        kind = mapping_of(item.get("litellm_params")).get("guardrail") or ""
        name = item.get("guardrail_name") or kind or next(iter(item), "without a name")
        result.lose(
            f"{what} ({name}{f', {kind}' if kind not in ('', name) else ''})", litellm_tables.reason_of("guardrails")
        )


_ADDRESS: Final = re.compile(r"_(?:API_BASE|BASE_URL|ENDPOINT|HOST|LOCATION|REGION(?:_NAME)?)$")
"""Variables with the address or the region of a provider."""


def _lose_addresses(result: Result) -> None:
    """Record the addresses in variables of the old file: requests would go to the providers' own addresses."""
    for name in filter(_ADDRESS.search, map(str, result.variables)):
        why = "requests go to the provider's own address: set `base_url` in its entries"
        result.lose(f"environment_variables.{name}", (Group.RESIDENCY, why))
