"""Converts the items of LiteLLM's ``model_list`` into entries (https://docs.litellm.ai/docs/proxy/configs)."""

import difflib
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, Final

import attrs

from gateway.commands.imports import litellm_tables as tables
from gateway.commands.imports.imported_secrets import SecretOwner, is_file
from gateway.commands.imports.imported_values import (
    ENVIRONMENT,
    escape_dollars,
    is_switched_off,
    items_of,
    mapping_of,
    number_of,
    positive,
    section_of,
    text_of,
    timeouts_of,
)
from gateway.commands.imports.litellm_budgets import budgets_of
from gateway.commands.imports.litellm_environment import lost_address, with_defaults
from gateway.commands.imports.litellm_members import READ, read_members
from gateway.commands.imports.litellm_places import AT_ROOT, AT_ROOT_SETTINGS, CLOUDS, ENTRA, ModelPlace, place_model
from gateway.commands.imports.litellm_prices import ListedPrice, base_price, read_price
from gateway.commands.imports.litellm_routes import LONGEST, attempts_of
from gateway.commands.imports.losses import Group, Inconvertible, Loss
from gateway.commands.imports.result import VERSION, Deployment, Result
from gateway.config.litellm_limits import MOST_AT_ONCE
from gateway.config.loading import ConfigError, from_mapping
from providers.catalog import providers as catalog
from providers.catalog.prompt_caching import caching_row
from providers.endpoints.model_types import ModelType, model_type
from streams.events import Api

RATES: Final[Mapping[str, tuple[str, str]]] = {
    "rpm": ("requests", "/m"), "tpm": ("tokens", "/m"), "max_parallel_requests": ("concurrent", ""),
}  # fmt: skip
"""LiteLLM's limits with the names and units of their counterparts."""

WEIGHTS: Final = ("weight", "rpm", "tpm")
"""The members of ``litellm_params`` that LiteLLM uses as weights, in the order of precedence."""

_MEMBERS: Final = ("model_name", "litellm_params", "model_info")
_RATES_BESIDE: Final = ("rpm", "tpm")
"""Rates that LiteLLM also reads in an item itself; they may be in three places, and the item has precedence."""

_NO_LIMIT: Final = "LiteLLM only divides requests by it"

_MARKS: Final = "cache_control_injection_points"
_MARKED_APIS: Final[tuple[Api, ...]] = ("messages", "converse")
"""The APIs in which providers take cache marks."""

_MISPLACED: Final = "LiteLLM reads it only in litellm_params: move it there"
_MOCKS: Final = ("mock_response", "mock_tool_calls", "mock_timeout")
"""Members with which LiteLLM calls no provider."""

_ADDRESS: Final = (Group.RESIDENCY, "requests go to the provider's own address: set `base_url` in the entry")
_TEXTS: Final = ("api_key", "api_base", "base_url", "api_version", "organization", "litellm_credential_name")
_NUMBERS: Final = ("order", "weight", "num_retries", "max_retries")
_MAPPINGS: Final = ("headers", "extra_headers")

_SHAPES: Final[Mapping[str, type]] = {"additional_drop_params": list, "extra_body": dict, "thinking": dict}
"""Members that ``litellm_members`` reads only in this shape."""

_ALMOST: Final = 0.78
"""The minimum similarity of a misspelt parameter: ``extra_body`` does not mean ``extra_headers``."""


def add_models(items: Sequence[Any], credentials: Any, defaults: Mapping[str, Any], result: Result) -> list[str]:
    """Add an entry to ``result`` for each item that can be converted; ``defaults`` are members that items may lack.

    Return the remarks on items after the last entry, for the end of the file."""
    remarks: list[str] = []  # on omitted models, for the comment above the next entry
    known = _read_credentials(credentials, result)
    used = {section_of(item, "litellm_params").get("litellm_credential_name") for item in items_of(items)}
    for credential in known:
        if credential not in used:
            reason = (Group.TRIFLES, "no model uses it")
            remarks.append(result.leave_out(f"the credential {credential}", reason))
    taken: dict[str, str] = {}
    for number, item in enumerate(items):
        if (found := _read_item(number, item, result, remarks)) is not None:
            name, params, info, rates = found
            _add_model(name, {**defaults, **params}, info, rates, known, result, remarks, taken)
    return remarks


def _read_item(
    number: int, item: Any, result: Result, remarks: list[str]
) -> tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]] | None:
    """Return the name, ``litellm_params``, ``model_info`` and rates of an item, ``None`` if it has no model."""
    members = mapping_of(item)
    name, params, info = (members.get(member) for member in _MEMBERS)
    where = f"model_list[{number}]" + (f" ({name})" if isinstance(name, str) else "")
    beside = [str(member) for member in members if member not in _MEMBERS]
    if not (isinstance(params, dict) and isinstance(params.get("model"), str) and isinstance(name, str) and name):
        near = next(iter(difflib.get_close_matches("litellm_params", beside, n=1)), None)
        meant = f"; did you mean litellm_params instead of {near}?" if near is not None and params is None else ""
        loss = Loss(Group.NAMES, where, f"model_name or litellm_params.model is missing{meant}")
        remarks.append(result.lose_model(name if isinstance(name, str) else None, loss))
        return None
    for member in (one for one in beside if one not in _RATES_BESIDE):
        group = tables.REASONS.get(member, tables.NO_COUNTERPART)[0]
        remarks.append(result.leave_out(f"{member} outside litellm_params of {name}", (group, _MISPLACED)))
    if info and not isinstance(info, dict):
        remarks.append(result.leave_out(f"model_info of {name}", (Group.UNKNOWN, "it is not a mapping")))
    info = mapping_of(info)
    rates = {rate: where[rate] for where in (info, params, members) for rate in _RATES_BESIDE if rate in where}
    return name, params, {key: value for key, value in info.items() if key not in _RATES_BESIDE}, rates


def _read_credentials(value: Any, result: Result) -> Mapping[str, dict[str, Any]]:
    """Return the values in ``credential_list`` by name; as in LiteLLM, the first item of a name applies."""
    found: dict[str, dict[str, Any]] = {}
    if value and not isinstance(value, list):
        result.note_loss("credential_list", (Group.NAMES, "it is not a list"))
    for number, item in enumerate(value if isinstance(value, list) else ()):
        name, values = (
            (item.get("credential_name"), item.get("credential_values")) if isinstance(item, dict) else (None, None)
        )
        if not isinstance(name, str) or not isinstance(values, dict):
            reason = (Group.NAMES, "credential_name or credential_values is missing")
            result.note_loss(f"credential_list[{number}]", reason)
        elif name not in found:
            found[name] = values
        elif values != found[name]:
            reason = (Group.NAMES, "an earlier credential has the same name, and LiteLLM uses that")
            result.note_loss(f"credential_list[{number}] ({name})", reason)
    return found


def _add_model(
    name: str,
    params: dict[str, Any],
    info: dict[str, Any],
    rates: dict[str, Any],
    credentials: Mapping[str, dict[str, Any]],
    result: Result,
    remarks: list[str],
    taken: dict[str, str],
) -> None:
    """Convert one model: add its entry to ``result``, or a remark with the reason why it cannot be converted.

    Only the rates in ``params`` count as weights in a group."""
    what = f"{name} ({params['model']})"
    if name in taken and "*" in name:
        reason = (Group.PROTECTION, f"{taken[name]} has this pattern already, and a pattern can have only one entry")
        remarks.append(result.leave_out(what, reason))
        return
    before = len(result.losses)
    try:
        params, notes = _apply_credential(name, params, credentials, result)
        draft = _convert_entry(name, {**params, **rates}, info, result)
        entry = draft.entry
        from_mapping({"version": VERSION, "providers": result.providers, "model_providers": [entry]})
    except Inconvertible as reason_why:
        del result.losses[before:]  # the losses of an omitted model do not matter
        remarks.append(result.lose_model(name, Loss(Group.NAMES, what, str(reason_why))))
    except ConfigError as error:
        del result.losses[before:]
        remarks.append(result.lose_model(name, Loss(Group.NAMES, what, error.mistakes[0].found)))
    else:
        if "*" in name and entry.get("name", entry["model"]) in result.names:
            remarks.append(f"{entry['model']} above serves {name}, too")
            return
        taken[name] = entry["model"]
        result.entries.append(([*remarks, *notes, *draft.notes], entry))
        if "*" not in name:
            result.deployments.setdefault(escape_dollars(name), []).append(_build_deployment(entry, params))
        remarks.clear()


def _apply_credential(
    name: str, params: dict[str, Any], credentials: Mapping[str, dict[str, Any]], result: Result
) -> tuple[dict[str, Any], list[str]]:
    """Return ``params`` with the values of their credential, and remarks."""
    credential = params.get("litellm_credential_name")
    if not isinstance(credential, str) or not credential:
        return params, []
    if credential not in credentials:
        reason = (Group.NAMES, "credential_list lacks this credential: set access_key in the entry")
        return params, [result.leave_out(f"the credential {credential} of {name}", reason)]
    return {**credentials[credential], **params}, []


def _build_deployment(entry: dict[str, Any], params: Mapping[str, Any]) -> Deployment:
    attempts = attempts_of(number_of(params.get("num_retries", params.get("max_retries"))))
    found = (positive(params.get(name)) or 0 for name in WEIGHTS)
    weights = tuple(int(weight) if weight == int(weight) else weight for weight in found)
    return Deployment(entry, positive(params.get("order")), weights, attempts)


@attrs.define(repr=False)
class EntryDraft:
    """The ``entry`` for a model while it is converted, with its remarks. ``params`` and ``info`` have the members of
    the old file that are not converted yet."""

    name: str
    prefix: str
    params: dict[str, Any]
    info: dict[str, Any]
    entry: dict[str, Any]
    notes: list[str]
    result: Result

    def lose(self, what: str, reason: tuple[Group, str], joint: str = "of") -> None:
        """Record that the entry lacks a part of the model."""
        self.notes.append(self.result.leave_out(f"{what} {joint} {self.name}", reason))

    def add(self, key: str, members: Mapping[str, Any]) -> None:
        """Add ``members`` to the mapping ``key`` of the entry."""
        if members:
            self.entry[key] = {**self.entry.get(key, {}), **members}


def _convert_entry(name: str, params: dict[str, Any], info: dict[str, Any], result: Result) -> EntryDraft:
    """Convert one model. Raises ``Inconvertible``."""
    for mock in _MOCKS:
        if params.get(mock) is not None and (mock == "mock_response" or not is_switched_off(params[mock])):
            raise Inconvertible(f"LiteLLM answers with `{mock}` itself, and trigate would call a provider")
    prefix, rest = _split_model(params["model"], params.get("custom_llm_provider"))
    params = with_defaults(params, result.provider_defaults.get(prefix, {}))
    kind = _type_of(prefix, rest, info.get("mode"))
    owner = SecretOwner(name, result.secrets)
    place = place_model(owner, prefix, rest, params, kind)
    notes, model, called = _model_and_entry_name(name, place.model, place.provider, result)
    named = {} if called == f"{place.provider}/{model}" else {"name": called}
    entry = {"model": f"{place.provider}/{model}", **named, **place.members}
    draft = EntryDraft(name, prefix, params, info, entry, notes, result)
    if place.provider == AT_ROOT:
        result.providers[AT_ROOT] = AT_ROOT_SETTINGS
    draft.add("headers", _headers(owner, params))
    if place.type != model_type(place.model):
        entry["type"] = place.type
    notes += owner.notes
    _lose_requests(draft, kind, place)
    if timeouts := timeouts_of(params.get("timeout", params.get("request_timeout"))):
        entry["timeouts"] = timeouts
    _add_circuit(draft)
    draft.params = {key: value for key, value in params.items() if key not in place.used}
    _add_price(draft)
    _add_limits(draft)
    if draft.info.get("mode") == "batch" and prefix in ("bedrock", "bedrock_converse"):
        draft.lose("mode: batch", (Group.NAMES, tables.NO_BATCHES))
    if place.gains_version:
        why = "the gateway adds /v1 to its address, and LiteLLM does not: if the server lacks it, write an own provider"
        draft.lose("the paths", (Group.NAMES, why))
    if (variable := lost_address(result.variables, prefix, params)) is not None:
        draft.lose(variable, _ADDRESS)
    _add_marks(draft)
    _convert_params(draft)
    _convert_info(draft)
    return draft


def _lose_requests(draft: EntryDraft, kind: ModelType, place: ModelPlace) -> None:
    """Record the requests to a model that LiteLLM serves and trigate does not."""
    if place.type == "chat" != kind:
        why = "trigate sends only conversations to this model: their answers have its images or sound"
        draft.lose(f"{kind} requests", (Group.NAMES, why), "to")
    if draft.prefix in tables.ORIGINS and tables.ORIGINS[draft.prefix].type is not None:
        why = "LiteLLM also serves it to Chat clients, trigate only at /v1/completions"
        draft.lose("Chat requests", (Group.NAMES, why), "to")


def _add_marks(draft: EntryDraft) -> None:
    """Add cache marks if LiteLLM marks some of the content.

    https://docs.litellm.ai/docs/tutorials/prompt_caching"""
    points = draft.params.get(_MARKS)
    if is_switched_off(points):
        return
    del draft.params[_MARKS]
    provider, _, model = draft.entry["model"].partition("/")
    rows = (caching_row(provider, model, api) for api in _MARKED_APIS)
    if not isinstance(points, list) or not any(row is not None and row.needs_marks for row in rows):
        draft.lose(_MARKS, tables.REASONS[_MARKS])
        return
    is_long = any(mapping_of(point.get("control")).get("ttl") == "1h" for point in items_of(points))
    draft.entry["prompt_cache"] = {"marks": "1h" if is_long else "5m"}
    draft.notes.append("trigate chooses the marked positions: the ends of tools, system and the last user message")


def _add_circuit(draft: EntryDraft) -> None:
    """Add the cooldown of a model."""
    cooldown = draft.params.get("cooldown_time", draft.info.pop("cooldown_time", None))
    if (seconds := positive(cooldown)) is not None:
        longest = {"longest": f"{seconds:g}s"} if seconds > LONGEST else {}
        draft.entry["circuit"] = {"cooldown": f"{seconds:g}s", **longest}
    elif cooldown is not None:
        reason = (Group.TRIFLES, "set `circuit` in the entry: a target that fails always has a cooldown")
        draft.lose("cooldown_time", reason)


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


def _split_model(model: str, provider: Any = None) -> tuple[str, str]:
    """Return the prefix of the provider, and the model. Raises ``Inconvertible``.

    ``provider`` is LiteLLM's ``custom_llm_provider``, which makes the prefix needless. Like LiteLLM, the catalogue
    knows some models without a prefix."""
    if isinstance(provider, str) and provider:
        return provider, model.removeprefix(f"{provider}/")
    prefix, slash, rest = model.partition("/")
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


def _model_and_entry_name(name: str, rest: str, provider: str, result: Result) -> tuple[list[str], str, str]:
    """Return remarks, the model and the entry's name. Raises ``Inconvertible`` for unsupported patterns.

    Supported are ``prefix/*``, and families of a provider such as ``claude-*``, which its wildcard serves."""
    if "*" not in name + rest:
        return [], rest, escape_dollars(name)
    if rest == "*" and name.endswith("/*") and name.count("*") == 1:
        return [], rest, escape_dollars(name)
    row = catalog.find(provider)
    known = row is not None and row.id == provider
    if known and row is not None and name == rest and name.count("*") == 1 and row.has(name.replace("*", "x")):
        return [f"{provider}/* serves {name}, and also other models of the provider"], "*", f"{provider}/*"
    if known and row is not None and name == rest == "*" and row.families:
        why = "the entry does not serve names that match no model family of the provider"
        return [result.leave_out(f"the rest of {name}", (Group.NAMES, why))], "*", f"{provider}/*"
    raise Inconvertible("the only supported patterns are provider/* and model families such as claude-*")


def _add_price(draft: EntryDraft) -> None:
    """Add the price.

    Without a price in the file, that of ``base_model`` applies (https://docs.litellm.ai/docs/proxy/custom_pricing),
    else that of the model itself, also at another address."""
    price, read = read_price(draft.params, draft.info)
    base = draft.params.get("base_model", draft.info.get("base_model"))
    provider, _, model = draft.entry["model"].partition("/")
    listed: ListedPrice | None = None
    if price is None and isinstance(base, str) and base:
        if (listed := base_price(base, provider, model)) is None:
            why = f"the price list has no price for {base}: set `price` in the entry"
            draft.lose("base_model", (Group.MONEY, why))
    elif price is None and provider in (tables.COMPATIBLE, AT_ROOT):
        listed = base_price(f"openai/{model}", provider, model)
    if listed is not None:
        price = listed.price
        draft.notes += listed.remarks
    if price is not None:
        draft.entry["price"] = price
    for name in (*read, "base_model"):
        draft.params.pop(name, None)
        draft.info.pop(name, None)


def _add_limits(draft: EntryDraft) -> None:
    """Add the limits on a model's tokens. LiteLLM's ``max_tokens`` is the older name of ``max_output_tokens``."""
    info = draft.info
    if "*" in draft.entry["model"]:
        return
    given = {
        "context_window": info.get("max_input_tokens"),
        "max_output": info.get("max_output_tokens", info.get("max_tokens")),
    }
    limits = {name: value for name, value in given.items() if type(value) is int and 0 < value < 10**9}
    draft.add("quirks", limits)
    read = {"max_input_tokens"} if "context_window" in limits else set[str]()
    read |= {"max_output_tokens", "max_tokens"} if "max_output" in limits else set()
    draft.info = {name: value for name, value in info.items() if name not in read}


def _convert_params(draft: EntryDraft) -> None:
    """Convert the rest of ``litellm_params``, and record the lost ones."""
    params, entry = draft.params, draft.entry
    carried = (
        tables.CARRIED | tables.NO_MATTER | {ENTRA} | ({"timeout", "request_timeout"} if "timeouts" in entry else set())
    )
    budgets, changed = budgets_of(params)
    if budgets:
        entry["budgets"] = budgets
        carried |= {"max_budget", "budget_duration"}
    if changed is not None:
        draft.lose(changed.what, (changed.group, changed.why))
    weighing = _only_weights(draft)
    carried |= weighing
    if limits := dict(_ratelimits(params, weighing)):
        entry["ratelimits"] = limits
        carried |= {param for param, (limit, _) in RATES.items() if limit in limits}
    unreadable = dict(_unreadable_params(params, weighing))
    default_limit = {"max_tokens"} & params.keys() if draft.prefix == "anthropic" else set[str]()
    members = read_members({name: one for name, one in params.items() if name not in default_limit}, draft.prefix)
    if members.request:
        entry["request"] = dict(members.request)
    draft.notes += members.index_notes
    for param, loss in members.losses.items():
        draft.lose(param, loss)
    unread = {name for name, kind in _SHAPES.items() if not isinstance(params.get(name), kind | None)}
    carried |= READ - unread - default_limit
    for param, value in params.items():
        if param in unreadable:
            draft.lose(param, unreadable[param])
        elif param == "ssl_verify" and value is False:
            draft.lose(param, tables.UNVERIFIED)
        elif param in default_limit and type(value) is int and value > 0:
            draft.add("quirks", {"default_max_tokens": value})
        elif param in carried or (
            is_switched_off(value) if param in tables.REASONS else value is None
        ):  # 0 is a temperature
            continue
        else:
            draft.lose(param, _loss_reason(param, draft.result.filters_tags))


def _loss_reason(param: str, filters_tags: bool) -> tuple[Group, str]:
    """Return the group and reason for a parameter without a counterpart; it may be misspelt."""
    if param == "tags" and filters_tags:
        return tables.REASONS["enable_tag_filtering"]
    near = difflib.get_close_matches(param, sorted(tables.CARRIED | RATES.keys()), n=1, cutoff=_ALMOST)
    typo = (Group.UNKNOWN, f"did you mean {near[0]}?") if near else tables.OF_REQUESTS
    if tables.PROTECTING.search(param):
        typo = (Group.PROTECTION, tables.OF_REQUESTS[1])
    return tables.REASONS.get(param, typo)


def _only_weights(draft: EntryDraft) -> frozenset[str]:
    """Return the rates of a model that LiteLLM does not enforce, and note them."""
    rates, name, params = draft.result.enforced_rates, draft.name, draft.params
    enforced = rates.get("*", frozenset()) | rates.get(name, frozenset())
    found = [param for param in _RATES_BESIDE if param not in enforced and number_of(params.get(param)) is not None]
    draft.result.needless += (f"{one} of {name}: {_NO_LIMIT}" for one in found if not is_switched_off(params[one]))
    return frozenset(found)


def _unreadable_params(params: Mapping[str, Any], weighing: Set[str]) -> Iterator[tuple[str, tuple[Group, str]]]:
    """Yield the parameters that have a counterpart but an unreadable value, with group and reason."""
    limits = dict(_ratelimits(params, weighing))
    for param, (limit, _) in RATES.items():
        if param in weighing:
            continue
        if param in _RATES_BESIDE and number_of(params.get(param)) == 0:
            yield param, tables.NO_REQUESTS
        elif not is_switched_off(params.get(param)) and limit not in limits:
            yield param, tables.NO_WHOLE_NUMBER
    for param in _TEXTS:
        if not (is_switched_off(params.get(param)) or is_file(params[param])) and text_of(params[param]) is None:
            yield param, (Group.NAMES, "it is not a text")
    for param in _NUMBERS:
        if not is_switched_off(params.get(param)) and number_of(params[param]) is None:
            yield param, (Group.PROTECTION, "it is not a number")
    for param in _MAPPINGS:
        given = params.get(param)
        values = given.values() if isinstance(given, dict) else (given,)
        if not is_switched_off(given) and (not isinstance(given, dict) or any(text_of(one) is None for one in values)):
            yield param, (Group.NAMES, "one of these headers has a value that is not a text")
    if text_of(params.get("api_version")) is not None and not params["model"].startswith(("azure/", "azure_ai/")):
        yield "api_version", (Group.TRIFLES, "only azure/ uses a version in its address")


def _ratelimits(params: Mapping[str, Any], weighing: Set[str]) -> Iterator[tuple[str, Any]]:
    """Yield the limits of a model as members of ``ratelimits``, without the rates that are only weights."""
    for param, (limit, unit) in RATES.items():
        number = positive(params.get(param))
        if param not in weighing and number is not None and number == int(number):
            yield limit, f"{int(number)}{unit}" if unit else min(int(number), MOST_AT_ONCE)


def _convert_info(draft: EntryDraft) -> None:
    """Record the access groups in ``model_info``, and the loss of its other members."""
    info, groups = draft.info, draft.info.get("access_groups")
    if groups and not isinstance(groups, list):
        draft.lose("access_groups", (Group.PROTECTION, "it is not a list"))
    named = draft.entry.get("name", draft.entry["model"]).replace("$$", "$")
    for group in groups if isinstance(groups, list) else ():
        if named not in (names := draft.result.access_groups.setdefault(str(group), [])):
            names.append(named)
    reasons = {param: tables.REASONS.get(param, tables.REASONS["model_info"]) for param in info if param != "mode"}
    serious = {param: reason for param, reason in reasons.items() if reason[0] is not Group.TRIFLES}
    for param, reason in serious.items():
        if param != "access_groups" and not is_switched_off(info[param]):
            draft.lose(param, reason)
    if trifles := [param for param in reasons if param not in serious]:
        listed = ", ".join(map(str, trifles))
        draft.notes.append(
            draft.result.leave_out(f"model_info of {draft.name} ({listed})", tables.REASONS["model_info"])
        )


def _headers(owner: SecretOwner, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a model; ``extra_headers`` have precedence."""
    given: dict[Any, Any] = {}
    if organization := params.get("organization"):
        given["openai-organization"] = organization
    for headers in (params.get("headers"), params.get("extra_headers")):
        given |= mapping_of(headers)
    return owner.read_headers(given)
