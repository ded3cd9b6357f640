"""Converts the items of LiteLLM's ``model_list`` into entries (https://docs.litellm.ai/docs/proxy/configs)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from configfile.document import ConfigError
from gateway.commands.imports import litellm_tables as tables
from gateway.commands.imports.imported_secrets import SecretOwner
from gateway.commands.imports.imported_values import (
    ENVIRONMENT,
    escape_dollars,
    free_name,
    is_switched_off,
    list_of,
    mapping_of,
    number_of,
    positive,
    text_of,
    timeouts_of,
    word_set,
)
from gateway.commands.imports.litellm_budgets import LASTING, WHY_LASTING, converted_limits, lifetime_rest
from gateway.commands.imports.litellm_members import READ, read_members
from gateway.commands.imports.litellm_places import AT_ROOT, AT_ROOT_SETTINGS, CLOUDS, ENTRA, ModelPlace, place_model
from gateway.commands.imports.litellm_prices import base_price, read_price
from gateway.commands.imports.litellm_routes import LONGEST, attempts_of
from gateway.commands.imports.litellm_rows import MODELS
from gateway.commands.imports.losses import Group, Inconvertible, Reason
from gateway.commands.imports.result import VERSION, Deployment, Result
from gateway.config_files.loading import from_mapping
from providers.catalog import providers as catalog
from providers.endpoints.model_types import ModelType, model_type

_LIMITS: Final = {
    "rpm": "rpm_limit", "tpm": "tpm_limit", "max_parallel_requests": "max_parallel_requests",
    "max_budget": "max_budget", "budget_duration": "budget_duration",
}  # fmt: skip
"""LiteLLM's limits of a model, and the columns of the same limits of a key."""

WEIGHTS: Final = ("weight", "rpm", "tpm")
"""The members of ``litellm_params`` that LiteLLM uses as weights, in the order of precedence."""

LITELLMS_DATABASE: Final = "LiteLLM's database"
STORED: Final = "db_model"
"""The member of ``model_info`` that LiteLLM sets for models of its database."""

_BOOKS: Final = word_set("id db_model created_at created_by updated_at updated_by blocked")
"""Members of ``model_info`` that LiteLLM adds to such models; no settings."""

_MEMBERS: Final = ("model_name", "litellm_params", "model_info")
_RATES_BESIDE: Final = ("rpm", "tpm")
"""Rates that LiteLLM also reads in an item itself; they may be in three places, and the item has precedence."""

_MOCKS: Final = ("mock_response", "mock_tool_calls", "mock_timeout")
"""Members with which LiteLLM calls no provider."""


def add_models(items: Sequence[Any], credentials: Any, defaults: Mapping[str, Any], result: Result) -> None:
    """Add an entry to ``result`` for each item that can be converted.

    ``defaults`` are members that items may lack."""
    known = _read_credentials(credentials, result)
    drafts = [_read_item(number, item, defaults, known, result) for number, item in enumerate(items)]
    used = {str(draft.params.get("litellm_credential_name")) for draft in drafts if draft is not None}
    for credential in known:
        if credential not in used:
            result.lose(f"the credential {credential}", (Group.TRIFLES, ""))
    taken: dict[str, str] = {}
    for draft in filter(None, drafts):
        _add_model(draft, taken)
    if "*" in taken:
        _refuse_other_families(taken["*"], result)


def _refuse_other_families(model: str, result: Result) -> None:
    """Refuse bare names of other wildcards' families: LiteLLM sends them to the ``model`` of the pattern ``*``."""
    own = catalog.find(model.partition("/")[0])
    for _, entry in result.entries:
        row = catalog.find(entry["model"].partition("/")[0])
        if entry["model"].endswith("/*") and entry["model"] != model and own is not None and row is not None:
            names = (re.sub(r"\[.*?\]", "*", one) for one in (*row.families, *row.models) if "/" not in one)
            result.refused_families += (one for one in names if not own.has(one.replace("*", "x")))


@attrs.define(repr=False)
class ModelDraft:
    """An item of ``model_list`` while it is converted to ``entry``.

    ``params`` and ``info`` have the members of the item that are not converted yet. ``weights`` are those of
    ``litellm_params`` itself, ``place`` is the item's. ``is_stored`` means in LiteLLM's database."""

    name: str
    old_model: str
    params: dict[str, Any]
    info: dict[str, Any]
    weights: tuple[float, ...]
    result: Result
    place: str = ""
    is_stored: bool = False
    prefix: str = ""
    target: str = ""
    """The target of the wildcard alias that the name becomes, if any."""
    entry: dict[str, Any] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)

    def lose(self, what: str, reason: Reason, joint: str = "of") -> None:
        """Record that the entry lacks a part of the model."""
        self.result.lose(f"{what} {joint} {self.name}", reason, self.place)

    def add(self, key: str, members: Mapping[str, Any]) -> None:
        """Add ``members`` to the mapping ``key`` of the entry."""
        if members:
            self.entry[key] = {**self.entry.get(key, {}), **members}


def _read_item(
    number: int, item: Any, defaults: Mapping[str, Any], credentials: Mapping[str, dict[str, Any]], result: Result
) -> ModelDraft | None:
    """Return the draft of an item, ``None`` if it has no model."""
    members = mapping_of(item)
    name, params, info = (members.get(member) for member in _MEMBERS)
    is_stored = mapping_of(info).get(STORED) is True
    where = MODELS if is_stored else f"model_list[{number}]"
    where += f" ({name})" if isinstance(name, str) else ""
    beside = [str(member) for member in members if member not in _MEMBERS]
    if not (isinstance(params, dict) and isinstance(params.get("model"), str) and isinstance(name, str) and name):
        result.lose_model(
            name if isinstance(name, str) else None, where, "model_name or litellm_params.model is missing", where
        )
        return None
    for member in beside:
        if member not in _RATES_BESIDE:
            group, _ = tables.reason_of(member)
            result.lose(f"{member} outside litellm_params of {name}", (group, "LiteLLM reads it only there"), where)
    if info and not isinstance(info, dict):
        result.lose(f"model_info of {name}", (Group.UNKNOWN, "it is not a mapping"), where)
    params = {**defaults, **params}
    info, credential = mapping_of(info), params.get("litellm_credential_name")
    rates = {rate: where[rate] for where in (info, params, members) for rate in _RATES_BESIDE if rate in where}
    weights = tuple(positive(params.get(one)) or 0 for one in WEIGHTS)
    if isinstance(credential, str) and credential and credential not in credentials:
        why = "credential_list lacks this credential"
        result.lose(f"the credential {credential} of {name}", (Group.NAMES, why), where)
    return ModelDraft(
        name,
        params["model"],
        {**credentials.get(str(credential), {}), **params, **rates},
        {
            key: value
            for key, value in info.items()
            if key not in (_BOOKS if is_stored else ()) and key not in _RATES_BESIDE
        },
        tuple(int(weight) if weight == int(weight) else weight for weight in weights),
        result,
        where,
        is_stored,
    )


def _read_credentials(value: Any, result: Result) -> Mapping[str, dict[str, Any]]:
    """Return the values in ``credential_list`` by name; as in LiteLLM, the first item of a name applies."""
    found: dict[str, dict[str, Any]] = {}
    if value and not isinstance(value, list):
        result.lose("credential_list", (Group.NAMES, "it is not a list"))
    for number, item in enumerate(list_of(value)):
        name, values = mapping_of(item).get("credential_name"), mapping_of(item).get("credential_values")
        if not isinstance(name, str) or not isinstance(values, dict):
            why = "credential_name or credential_values is missing"
            result.lose(f"credential_list[{number}]", (Group.NAMES, why))
        elif values != found.setdefault(name, values):
            why = "an earlier credential has the same name, and LiteLLM uses that"
            result.lose(f"credential_list[{number}] ({name})", (Group.NAMES, why))
    return found


def _add_model(draft: ModelDraft, taken: dict[str, str]) -> None:
    """Convert one model: add its entry to the result, or the reason why it cannot be converted."""
    name, result = draft.name, draft.result
    what = f"{name} ({draft.old_model})"
    if name in taken and "*" in name and name not in result.wildcards:
        why = f"{taken[name]} has this pattern already, and can have only one entry"
        result.lose(what, (Group.PROTECTION, why), draft.place)
        return
    before = len(result.losses)
    try:
        _convert_entry(draft)
        content = {"providers": result.providers, "model_providers": [draft.entry]}
        from_mapping({"version": VERSION, "unpriced": "allow", **content})
    except (Inconvertible, ConfigError) as error:
        del result.losses[before:]  # the losses of an omitted model do not matter
        why = error.mistakes[0].found if isinstance(error, ConfigError) else str(error)
        result.lose_model(name, what, why, draft.place)
        return
    entry = draft.entry
    if draft.target:
        result.add_wildcard(escape_dollars(name), draft.target, entry["name"])
    elif "*" in name and entry.get("name", entry["model"]) in result.names:
        taken[name] = entry["model"]
        result.remarks.append(f"{entry['model']} serves {name}, too")
        return
    taken[name] = entry["model"]
    result.entries.append((draft.notes, entry))
    if "*" not in name:
        params = draft.params
        attempts = attempts_of(number_of(params.get("num_retries", params.get("max_retries"))))
        order = positive(params.get("order"))
        found = Deployment(entry, order, draft.weights, attempts, draft.old_model)
        result.deployments.setdefault(escape_dollars(name), []).append(found)


def _convert_entry(draft: ModelDraft) -> None:
    """Convert one model. Raises ``Inconvertible``."""
    params, info, result = draft.params, draft.info, draft.result
    for mock in _MOCKS:
        if params.get(mock) is not None and (mock == "mock_response" or not is_switched_off(params[mock])):
            raise Inconvertible(f"LiteLLM answers with `{mock}` itself, and trigate would call a provider")
    prefix, rest = _split_model(draft, params.get("custom_llm_provider"))
    kind = _type_of(prefix, rest, info.get("mode"))
    owner = SecretOwner(draft.name, result.secrets, source=LITELLMS_DATABASE if draft.is_stored else "the old file")
    place = place_model(owner, prefix, rest, params, kind)
    model, called = _model_and_entry_name(draft, place)
    named = {} if called == f"{place.provider}/{model}" else {"name": called}
    draft.prefix, draft.entry = prefix, {"model": f"{place.provider}/{model}", **named, **place.members}
    if place.provider == AT_ROOT:
        result.providers[AT_ROOT] = AT_ROOT_SETTINGS
    draft.add("headers", _headers(owner, params))
    if place.type != model_type(place.model):
        draft.entry["type"] = place.type
    draft.notes += owner.notes
    _lose_requests(draft, kind, place)
    if timeouts := timeouts_of(params.get("timeout", params.get("request_timeout"))):
        draft.entry["timeouts"] = timeouts
    _add_circuit(draft, params.get("cooldown_time", info.pop("cooldown_time", None)))
    draft.params = {key: value for key, value in params.items() if key not in place.used}
    _add_price(draft)
    _add_quirks(draft)
    _convert_params(draft)
    _convert_info(draft)


def _lose_requests(draft: ModelDraft, kind: ModelType, place: ModelPlace) -> None:
    """Record the requests to a model that LiteLLM serves and trigate does not."""
    if place.type == "chat" != kind:
        why = "trigate sends only conversations to this model: their answers have its images or sound"
        draft.lose(f"{kind} requests", (Group.NAMES, why), "to")
    if draft.prefix in tables.ORIGINS and tables.ORIGINS[draft.prefix].type is not None:
        why = "LiteLLM also serves it to Chat clients, trigate only at /v1/completions"
        draft.lose("Chat requests", (Group.NAMES, why), "to")
    if draft.info.get("mode") == "batch" and draft.prefix in ("bedrock", "bedrock_converse"):
        draft.lose("mode: batch", (Group.NAMES, tables.NO_BATCHES))
    if place.gains_version:
        why = "the gateway adds /v1 to its address, and LiteLLM does not: if the server lacks it, write an own provider"
        draft.lose("the paths", (Group.NAMES, why))


def _add_circuit(draft: ModelDraft, cooldown: Any) -> None:
    """Add the cooldown of a model."""
    if (seconds := positive(cooldown)) is not None:
        longest = {"longest": f"{seconds:g}s"} if seconds > LONGEST else {}
        draft.entry["circuit"] = {"cooldown": f"{seconds:g}s", **longest}
    elif cooldown is not None:
        draft.lose("cooldown_time", (Group.TRIFLES, ""))


def _type_of(prefix: str, rest: str, mode: Any) -> ModelType:
    """Return the type of the model ``rest`` of the provider with this prefix. Raises ``Inconvertible``."""
    if mode is not None and (not isinstance(mode, str) or mode not in tables.TYPES):
        raise Inconvertible(f"trigate does not support the mode {mode}")
    if prefix in tables.NOT_SPOKEN:
        raise Inconvertible(tables.NOT_SPOKEN[prefix])
    if prefix in CLOUDS:
        return tables.TYPES[mode] if mode is not None else model_type(rest)
    if prefix + "/" == ENVIRONMENT:
        raise Inconvertible(f"its provider and model are in the variable {rest}: write their value as `model`")
    if (origin := tables.ORIGINS.get(prefix)) is None:
        row = catalog.find(prefix)
        raise Inconvertible(tables.NOT_KNOWN.format(prefix) if row is None else tables.NOT_CONVERTED.format(row.id))
    return tables.TYPES[mode] if mode is not None else origin.type or model_type(rest)


def _split_model(draft: ModelDraft, provider: Any) -> tuple[str, str]:
    """Return the prefix of the provider, and the model. Raises ``Inconvertible``.

    ``provider`` is LiteLLM's ``custom_llm_provider``, which makes the prefix needless. Like LiteLLM, the catalogue
    knows some models without a prefix."""
    model = draft.old_model
    prefix, slash, rest = model.partition("/")
    if isinstance(provider, str) and provider:
        same = {tables.ORIGINS[one].provider for one in (prefix, provider) if one in tables.ORIGINS}
        if slash and rest and prefix != provider and prefix in tables.ORIGINS and len(same) == 1:
            draft.notes.append(f"{prefix}/ is the provider too, so it is no part of the model")
            return provider, rest
        return provider, model.removeprefix(f"{provider}/")
    if slash and rest:
        return prefix, rest
    if slash:
        raise Inconvertible(f"the model is missing after {prefix}/: LiteLLM chooses one itself")
    for known, pattern in tables.BARE.items():
        if "*" not in model and pattern.match(model):
            return known, model
    for known, origin in tables.ORIGINS.items():
        row = catalog.find(origin.provider)
        if row is not None and "*" not in model and (model in row.models or row.has(model)):
            return known, model
    if model == "*":
        raise Inconvertible("a pattern cannot match all providers: write an entry PROVIDER/* for each")
    raise Inconvertible("the provider is missing: write provider/model")


def _model_and_entry_name(draft: ModelDraft, place: ModelPlace) -> tuple[str, str]:
    """Return the model and the entry's name. Raises ``Inconvertible`` for unsupported patterns.

    Supported are ``prefix/*``, families of a provider such as ``claude-*``, which its wildcard serves, and names with
    one ``*``, which become wildcard aliases."""
    name, rest, provider = draft.name, place.model, place.provider
    if "*" not in name + rest or (rest == "*" and name.endswith("/*") and name.count("*") == 1):
        return rest, escape_dollars(name)
    row = catalog.find(provider)
    known = row is not None and row.id == provider
    if known and row is not None and name == rest and name.count("*") == 1 and row.has(name.replace("*", "x")):
        draft.notes.append(f"{provider}/* serves {name}, and also other models of the provider")
        return "*", f"{provider}/*"
    if known and row is not None and name == rest == "*" and row.families:
        why = "the entry does not serve names that match no model family of the provider"
        draft.result.lose(f"the rest of {name}", (Group.NAMES, why))
        return "*", f"{provider}/*"
    before, _, after = name.partition("*")
    start, star, end = rest.partition("*")
    has_one_meaning = not star or start[-1:] not in ("", "/") or bool(end) or before[-1:] in ("", "/")
    if name.count("*") != 1 or rest.count("*") > 1 or not has_one_meaning or (after and not end and start[-1:] == "/"):
        why = "the only supported patterns are provider/*, model families such as claude-*, and one * on each side"
        raise Inconvertible(f"{why}, such as house-* and openai/gpt-*")
    slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-") or "all"
    own = free_name(f"{slug}-models", {one.removesuffix("/*") for one in draft.result.taken_names})
    draft.target = f"{own}/{escape_dollars(rest)}" if star else own
    return ("*", f"{own}/*") if star else (rest, own)


def _add_price(draft: ModelDraft) -> None:
    """Add the price.

    Without a price in the file, that of ``base_model`` applies (https://docs.litellm.ai/docs/proxy/custom_pricing),
    else that of the model itself, also at another address."""
    price, read = read_price(draft.params, draft.info)
    base = draft.params.get("base_model", draft.info.get("base_model"))
    provider, _, model = draft.entry["model"].partition("/")
    named = base if isinstance(base, str) else ""
    if price is None and (named or provider in (tables.COMPATIBLE, AT_ROOT)):
        listed = base_price(named or f"openai/{model}", provider, model)
        if listed is not None:
            price, remarks = listed
            draft.notes += remarks
        elif named:
            why = f"the price list has no price for {base}: set `price` in the entry"
            draft.lose("base_model", (Group.MONEY, why))
    if price:
        draft.entry["price"] = price
    for name in (*read, "base_model"):
        draft.params.pop(name, None)
        draft.info.pop(name, None)


def _add_quirks(draft: ModelDraft) -> None:
    """Add the limits on a model's tokens. LiteLLM's ``max_tokens`` is the older name of ``max_output_tokens``.

    At Anthropic, ``max_tokens`` of ``litellm_params`` replaces LiteLLM's own default."""
    info, default = draft.info, draft.params.get("max_tokens")
    if "*" not in draft.entry["model"]:
        given = {
            "context_window": ("max_input_tokens", info.get("max_input_tokens")),
            "max_output": ("max_output_tokens", info.get("max_output_tokens", info.get("max_tokens"))),
        }
        limits = {key: value for key, (_, value) in given.items() if type(value) is int and 0 < value < 10**9}
        draft.add("quirks", limits)
        for key in limits:
            info.pop(given[key][0], None)
        if "max_output" in limits:
            info.pop("max_tokens", None)
    if draft.prefix == "anthropic" and type(default) is int and default > 0:
        draft.add("quirks", {"default_max_tokens": draft.params.pop("max_tokens")})


def _convert_params(draft: ModelDraft) -> None:
    """Convert the rest of ``litellm_params``, and record the lost ones."""
    carried = tables.CARRIED | tables.NO_MATTER | READ | {ENTRA} | _add_limits(draft)
    carried |= {"timeout", "request_timeout"} if "timeouts" in draft.entry else set()
    default_limit = {"max_tokens"} & draft.params.keys() if draft.prefix == "anthropic" else set[str]()
    params = {name: value for name, value in draft.params.items() if name not in default_limit}
    request, losses = read_members(params, draft.prefix)
    if request:
        draft.entry["request"] = request
    for param, reason in losses.items():
        draft.lose(param, reason)
    for param, value in draft.params.items():
        if param == "ssl_verify" and value is False:
            draft.lose(param, tables.UNVERIFIED)
        elif param == "api_version" and draft.prefix not in ("azure", "azure_ai"):
            draft.lose(param, (Group.TRIFLES, ""))
        elif not is_switched_off(value) and not _is_readable(param, value):
            draft.lose(param, (Group.PROTECTION if param in _NUMBERS else Group.NAMES, "its value cannot be read"))
        elif not is_switched_off(value) and (param not in carried or param in default_limit):
            by_tags = param == "tags" and draft.result.filters_tags
            draft.lose(param, tables.reason_of("enable_tag_filtering" if by_tags else param))


_NUMBERS: Final = ("order", "weight", "num_retries", "max_retries")
_TEXTS: Final = ("api_key", "api_base", "base_url", "organization", "litellm_credential_name")


def _is_readable(param: str, value: Any) -> bool:
    """Return whether the value of a parameter that an entry needs has the right type."""
    if param in ("headers", "extra_headers"):
        return isinstance(value, dict) and all(text_of(one) is not None for one in value.values())
    is_bad = (param in _NUMBERS and number_of(value) is None) or (param in _TEXTS and text_of(value) is None)
    return not is_bad


def _add_limits(draft: ModelDraft) -> frozenset[str]:
    """Add the budget and the rates, and return the converted parameters: LiteLLM does not enforce all rates."""
    rates, params, name = draft.result.enforced_rates, draft.params, draft.name
    enforced = rates.get("*", frozenset()) | rates.get(name, frozenset())
    unused = [one for one in _RATES_BESIDE if one not in enforced and number_of(params.get(one)) is not None]
    draft.result.needless += (f"{one} of {name}: LiteLLM only divides requests by it" for one in unused if params[one])
    row = {column: params.get(param) for param, column in _LIMITS.items() if param not in unused}
    limits, columns = converted_limits(row)
    draft.entry |= limits
    found = {param for param, column in _LIMITS.items() if column in columns}
    if "max_budget" in found:
        found.add("budget_duration")
        if lifetime_rest(row) is not None:
            draft.lose(LASTING, WHY_LASTING)
    for param in _RATES_BESIDE:
        if number_of(params.get(param)) == 0 and param not in unused:
            draft.lose(param, (Group.PROTECTION, "LiteLLM sends no requests to it: remove the entry"))
    return frozenset((*unused, *found))


def _convert_info(draft: ModelDraft) -> None:
    """Record the access groups in ``model_info``, and the loss of its other members."""
    info, groups = draft.info, draft.info.pop("access_groups", None)
    if groups and not isinstance(groups, list):
        draft.lose("access_groups", (Group.PROTECTION, "it is not a list"))
    named = draft.entry.get("name", draft.entry["model"]).replace("$$", "$")
    for group in list_of(groups):
        if named not in (names := draft.result.access_groups.setdefault(str(group), [])):
            names.append(named)
    trifles: list[str] = []
    for param in (one for one in info if one != "mode"):
        reason = tables.reason_of(param, (Group.TRIFLES, ""))
        if reason[0] is Group.TRIFLES:
            trifles.append(str(param))
        elif not is_switched_off(info[param]):
            draft.lose(param, reason)
    if trifles:
        draft.result.lose(f"model_info of {draft.name} ({', '.join(trifles)})", (Group.TRIFLES, ""), draft.place)


def _headers(owner: SecretOwner, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a model; ``extra_headers`` have precedence."""
    given: dict[Any, Any] = {}
    if organization := params.get("organization"):
        given["openai-organization"] = organization
    for headers in (params.get("headers"), params.get("extra_headers")):
        given |= mapping_of(headers)
    return owner.read_headers(given)
