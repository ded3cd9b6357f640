"""The command ``import``: a LiteLLM proxy's configuration (https://docs.litellm.ai/docs/proxy/configs) as one of ours.

What has a counterpart here is carried over; everything else is named in a comment where it stood, and in the summary
by what its loss means. Keys of providers that stand in the file are not copied: the result names a variable to put each
of them into. ``litellm`` has the tables, ``litellm_keys`` the keys of clients, ``imported`` the result and its text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import click
import yaml

from gateway.commands.imported import VERSION, Deployment, Result, lines, literal, summary
from gateway.commands.litellm import (
    CARRIED,
    COMPATIBLE,
    GUARDS,
    HERE_ANYWAY,
    MOST_AT_ONCE,
    NO_COUNTERPART,
    NO_KEYS,
    NO_MATTER,
    NOT_KNOWN,
    NOT_SPOKEN,
    OF_REQUESTS,
    ORIGINS,
    REASONS,
    SERIOUS,
    TYPES,
    Group,
)
from gateway.commands.litellm_keys import Token, taken_over, tokens
from gateway.commands.litellm_prices import read_price
from gateway.commands.litellm_routes import ROUTED, add_routes, attempts_of
from gateway.commands.terminal import say
from gateway.config import document
from gateway.config.loading import ConfigError, from_mapping
from gateway.config.prices import unpriced
from providers.catalog import providers as catalog
from providers.endpoints.model_types import model_type

GOOD: Final = 0
NOTHING: Final = 1
"""The exit status where there is no configuration: nothing of the file can be had here, or it cannot be read."""
LOST: Final = 3
"""The exit status where names, protection or money are lost. (2 is that of a wrong command line.)"""

_ENVIRONMENT = "os.environ/"


def run(file: Path, write: Path | None, keys: Path | None = None) -> int:
    """Convert ``file``; the exit status."""
    try:
        read = document.read(file.read_bytes(), str(file))
        result = imported(read.content, None if keys is None else tokens(keys.read_bytes(), str(keys)))
        text = "\n".join(lines(result, file.name)) + "\n"
        from_mapping(yaml.safe_load(text))
        if write is None:
            click.echo(text, nl=False)
        else:
            with write.open("x") as into:
                into.write(text)
    except ConfigError as error:
        say(str(error))
        return NOTHING
    except OSError as error:
        click.echo(f"{error.filename}: {(error.strerror or 'unusable').lower()}", err=True)
        return NOTHING
    for line in summary(result):
        say(line)
    return LOST if any(loss.group in SERIOUS for loss in result.losses) else GOOD


def imported(content: Any, keys: Sequence[Token] | None = None) -> Result:
    """The configuration that ``content``, one of LiteLLM's, becomes here. ``keys`` are those of its database, ``None``
    where nobody has exported them.

    Raises ``ConfigError`` for what is no configuration of LiteLLM's with at least one model that can be had here."""
    if not isinstance(content, dict) or not isinstance(content.get("model_list"), list):
        raise _mistake("no model_list", "give the config.yaml of a LiteLLM proxy")
    result = Result(models=len(content["model_list"]))
    remarks: list[str] = []  # of models that are left out, before the next one that is not
    taken: dict[str, str] = {}
    credentials = _credentials(content.get("credential_list"))
    for item in content["model_list"]:
        _model(item, credentials, result, remarks, taken)
    if not result.entries:
        raise _mistake("no model that can be had here", "; ".join(remarks) or "its model_list is empty")
    result.remarks += remarks
    add_routes(content, result)
    _aliases(content, result)
    _client_keys(content.get("general_settings"), keys, result)
    for section, settings in content.items():
        if section == "model_list":
            continue
        nested = section in ("litellm_settings", "router_settings", "general_settings") and isinstance(settings, dict)
        for name, value in settings.items() if nested else ((section, settings),):
            _setting(f"{section}.{name}" if nested else section, str(name), value, result)
    _allow_unpriced(result)
    return result


def _allow_unpriced(result: Result) -> None:
    """Let models be asked that have no price, though there is a budget of money: as LiteLLM does, which counts nothing
    for them."""
    try:
        config = from_mapping({**yaml.safe_load("\n".join(lines(result, ""))), "unpriced": "allow"})
    except ConfigError:
        return  # whoever writes it will hear of it
    found = [f"{one.entry.provider.id}/{one.model}" for one in unpriced(attrs.evolve(config, unpriced="refuse"))]
    if found:
        result.unpriced = True
        why = "a budget of money counts nothing for it: give each a `price`, and take `unpriced` out"
        result.remarks.append(result.leave_out(f"the price of {', '.join(found)}", (Group.MONEY, why)))


def _mistake(found: str, expected: str) -> ConfigError:
    return ConfigError((document.Mistake("", "model_list", found, expected),))


# Models


def _credentials(given: Any) -> Mapping[str, dict[str, Any]]:
    """The values of each item of ``credential_list``, by its name: models that name it have them in common."""
    found = (item for item in given if isinstance(item, dict)) if isinstance(given, list) else ()
    return {
        item["credential_name"]: values
        for item in found
        if isinstance(item.get("credential_name"), str) and isinstance(values := item.get("credential_values"), dict)
    }


def _model(
    item: Any,
    credentials: Mapping[str, dict[str, Any]],
    result: Result,
    remarks: list[str],
    taken: dict[str, str],
) -> None:
    """Add the entry for one item of ``model_list``, or a remark on why there is none."""
    params = item.get("litellm_params") if isinstance(item, dict) else None
    name = item.get("model_name") if isinstance(item, dict) else None
    if not isinstance(params, dict) or not isinstance(name, str) or not isinstance(params.get("model"), str):
        reason = (Group.NAMES, "it needs a model_name and litellm_params.model")
        remarks.append(result.leave_out("an item of model_list", reason))
        return
    if isinstance(credential := params.get("litellm_credential_name"), str):
        params = {**credentials.get(credential, {}), **params}
    what = f"{name} ({params['model']})"
    if name in taken and "*" in name:
        reason = (Group.PROTECTION, f"{taken[name]} has the name, and a pattern is one entry")
        remarks.append(result.leave_out(what, reason))
        return
    info = item.get("model_info")
    before = len(result.losses)
    try:
        notes, entry = _entry(name, params, info if isinstance(info, dict) else {}, result)
        from_mapping({"version": VERSION, "model_providers": [entry]})
    except _NotHere as reason_why:
        del result.losses[before:]  # nothing of a model that is not here is lost but the model
        remarks.append(result.leave_out(what, (Group.NAMES, str(reason_why))))
    except ConfigError as error:
        del result.losses[before:]
        remarks.append(result.leave_out(what, (Group.NAMES, error.mistakes[0].found)))
    else:
        if "*" in name and entry.get("name", entry["model"]) in result.names:
            remarks.append(f"{name} is asked for by way of {entry['model']}, above")
            return
        taken[name] = entry["model"]
        result.entries.append(([*remarks, *notes], entry))
        if "*" not in name:
            result.deployments.setdefault(literal(name), []).append(_deployment(entry, params))
        remarks.clear()


def _deployment(entry: dict[str, Any], params: Mapping[str, Any]) -> Deployment:
    order, weight, rpm, tpm = (_positive(params.get(name)) for name in ("order", "weight", "rpm", "tpm"))
    if params.get("weight") == 0:
        weight = 0
    attempts = attempts_of(params.get("num_retries", params.get("max_retries")))
    return Deployment(entry, order, _plain(weight), _plain(rpm or tpm), attempts)


def _plain(number: float | None) -> float | None:
    return int(number) if number is not None and number == int(number) else number


class _NotHere(Exception):
    """A model that cannot be had here. The message says why."""


def _entry(name: str, params: dict[str, Any], info: dict[str, Any], result: Result) -> tuple[list[str], dict[str, Any]]:
    """Remarks and the entry. Raises ``_NotHere``."""
    mode = info.get("mode")
    if mode is not None and mode not in TYPES:
        raise _NotHere(f"{mode} is not served here")
    prefix, rest = _split(params["model"])
    base = _text(params.get("api_base") or params.get("base_url"))
    kind = model_type(rest) if mode is None else TYPES[mode]
    if prefix in NOT_SPOKEN:
        raise _NotHere(NOT_SPOKEN[prefix])
    origin = ORIGINS.get(prefix)
    if origin is None:
        raise _NotHere(NOT_KNOWN.format(prefix))
    provider, extra = origin.provider, dict(origin.extra)
    if rest.startswith("responses/") and prefix in ("openai", "azure"):
        rest, extra = rest.removeprefix("responses/"), {"speaks": ["responses"]}
    if prefix == "openai" and base is not None and not base.startswith("https://api.openai.com"):
        provider = COMPATIBLE
    notes, model, called = _called(name, rest, provider, result)
    entry: dict[str, Any] = {"model": f"{provider}/{model}", "name": called}
    if entry["name"] == entry["model"]:
        del entry["name"]
    if base := base or origin.base_url:
        version = _text(params.get("api_version"))
        entry["base_url"] = f"{base}?api-version={version}" if version and prefix == "azure" else base
    more, key = _key(name, params.get("api_key"), origin.key_env)
    if key is not None:
        entry["access_key"] = key
    if headers := dict(_headers(params)):
        entry["headers"] = headers
    entry.update(extra)
    if kind != model_type(rest):
        entry["type"] = kind
    if timeouts := _timeouts(params.get("timeout", params.get("request_timeout"))):
        entry["timeouts"] = timeouts
    price, priced = read_price(params, info)
    entry |= {} if price is None else {"price": price}
    params, info = ({name: one for name, one in given.items() if name not in priced} for given in (params, info))
    notes += more
    notes += _params(name, params, bool(timeouts), prefix, entry, result)
    notes += _info(name, entry, info, result)
    return notes, entry


def _split(model: str) -> tuple[str, str]:
    """The provider and its model. LiteLLM knows some models without a prefix; so does our catalogue. Raises
    ``_NotHere``."""
    prefix, slash, rest = model.partition("/")
    if slash and rest:
        return prefix, rest
    for known, origin in ORIGINS.items():
        row = catalog.find(origin.provider)
        if row is not None and "*" not in model and (model in row.models or row.has(model)):
            return known, model
    if model == "*":
        raise _NotHere("no name stands for all providers here: write an entry PROVIDER/* for each")
    raise _NotHere("it names no provider: write provider/model")


def _called(name: str, rest: str, provider: str, result: Result) -> tuple[list[str], str, str]:
    """Remarks, the model and the entry's name. Of patterns there are ``prefix/*``, and a provider's own family, such as
    ``claude-*``, which is in the wildcard of that provider. Raises ``_NotHere`` for any other."""
    if "*" not in name + rest:
        return [], rest, literal(name)
    if rest == "*" and name.endswith("/*") and name.count("*") == 1:
        return [], rest, literal(name)
    row = catalog.find(provider)
    known = row is not None and row.id == provider
    if known and row is not None and name == rest and name.count("*") == 1 and row.has(name.replace("*", "x")):
        return [f"{name} is in the family of {provider}/*: more names work than before"], "*", f"{provider}/*"
    if known and row is not None and name == rest == "*" and row.families:
        why = "names of no provider's family are not sent to it"
        return [result.leave_out(f"the rest of {name}", (Group.NAMES, why))], "*", f"{provider}/*"
    raise _NotHere("of patterns only provider/* and families such as claude-* are known here")


def _params(
    name: str,
    params: dict[str, Any],
    timed: bool,
    prefix: str,
    entry: dict[str, Any],
    result: Result,
) -> Iterator[str]:
    """Remarks on what else ``litellm_params`` says; what has a counterpart goes into ``entry``."""
    carried = CARRIED | NO_MATTER | ({"timeout", "request_timeout"} if timed else set())
    if limits := dict(_ratelimits(params)):
        entry["ratelimits"] = limits
        carried |= {param for param, (limit, _) in _RATES.items() if limit in limits}
    for param, value in params.items():
        if param == "max_tokens" and prefix == "anthropic" and type(value) is int and value > 0:
            entry["quirks"] = {"default_max_tokens": value}
        elif param in carried or (_says_nothing(value) if param in REASONS else value is None):  # 0 is a temperature
            continue
        else:
            yield result.leave_out(f"{param} of {name}", REASONS.get(param, OF_REQUESTS))


_RATES: Final[Mapping[str, tuple[str, str]]] = {
    "rpm": ("requests", "/m"), "tpm": ("tokens", "/m"), "max_parallel_requests": ("concurrent", ""),
}  # fmt: skip


def _ratelimits(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a model's place bears."""
    for param, (limit, unit) in _RATES.items():
        number = _positive(params.get(param))
        if number is not None and number == int(number):
            yield limit, f"{int(number)}{unit}" if unit else min(int(number), MOST_AT_ONCE)


def _info(name: str, entry: dict[str, Any], info: dict[str, Any], result: Result) -> Iterator[str]:
    groups = info.get("access_groups")
    named = entry.get("name", entry["model"]).replace("$$", "$")
    for group in groups if isinstance(groups, list) else ():
        if named not in (names := result.access_groups.setdefault(str(group), [])):
            names.append(named)
    reasons = {param: REASONS.get(param, REASONS["model_info"]) for param in info if param != "mode"}
    serious = {param: reason for param, reason in reasons.items() if reason[0] is not Group.TRIFLES}
    for param, reason in serious.items():
        if param != "access_groups" and not _says_nothing(info[param]):
            yield result.leave_out(f"{param} of {name}", reason)
    if trifles := [param for param in reasons if param not in serious]:
        yield result.leave_out(f"model_info of {name} ({', '.join(map(str, trifles))})", REASONS["model_info"])


def _says_nothing(value: Any) -> bool:
    return value in (None, False, 0, "", [], {})


def _timeouts(value: Any) -> dict[str, str]:
    """LiteLLM's one limit is for every wait of its HTTP client: for an answer that comes as a whole, and for each piece
    of a stream (https://docs.litellm.ai/docs/proxy/timeout)."""
    seconds = _positive(value)
    return {} if seconds is None else {"first_byte": f"{seconds:g}s", "idle": f"{seconds:g}s"}


def _positive(value: Any) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and 0.001 <= value < 10**9
    return float(value) if number else None


def _key(name: str, key: Any, default: str | None) -> tuple[list[str], str | None]:
    if isinstance(key, str) and key.startswith(_ENVIRONMENT):
        return [], _text(key)
    if isinstance(key, str) and key.lower() in NO_KEYS:
        return [], None
    if not key:
        return [], None if default is None else f"${default}"
    variable = re.sub(r"[^A-Z0-9]+", "_", name.upper()).strip("_")
    variable = f"{'KEY_' if variable[:1].isdigit() else ''}{variable}_API_KEY"
    return [f"the key stands in LiteLLM's file: put it into {variable}"], f"${variable}"


def _headers(params: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if organization := _text(params.get("organization")):
        yield "openai-organization", organization
    for given in (params.get("headers"), params.get("extra_headers")):
        for header, value in given.items() if isinstance(given, dict) else ():
            if (text := _text(value)) is not None:
                yield str(header), text


def _text(value: Any) -> str | None:
    """A value as we would write it: variables in our way, and other dollar signs doubled."""
    if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
        return None
    text = str(value)
    return f"${text.removeprefix(_ENVIRONMENT)}" if text.startswith(_ENVIRONMENT) else literal(text)


# The rest


def _aliases(content: dict[str, Any], result: Result) -> None:
    known = result.known()
    for section, setting in (("router_settings", "model_group_alias"), ("litellm_settings", "model_alias_map")):
        settings = content.get(section)
        given = settings.get(setting) if isinstance(settings, dict) else None
        for alias, target in given.items() if isinstance(given, dict) else ():
            model = target.get("model") if isinstance(target, dict) else target
            if isinstance(model, str) and known(literal(model)) and str(alias) not in {*result.names, *result.aliases}:
                route = result.aliases.get(literal(model), {})
                result.aliases[str(alias)] = route if "targets" in route else {"target": literal(model)}
                if "targets" in route:
                    result.same[str(alias)] = literal(model)
            else:
                reason = (Group.NAMES, "its model is not above, or has its name")
                result.remarks.append(result.leave_out(f"the alias {alias}", reason))


def _client_keys(general: Any, keys: Sequence[Token] | None, result: Result) -> None:
    """The master key, and those of the database."""
    if isinstance(general, dict) and (master := general.get("master_key")):
        notes, key = _key("litellm_master", master, None)
        if key is not None:
            result.client_keys.append({"name": "master", "key": key})
        result.remarks += [note.replace("the key", "the master_key") for note in notes]
    result.knows_keys = keys is not None
    if keys is not None:
        known = result.known()
        taken = {one["name"] for one in result.client_keys}
        found = taken_over(keys, lambda name: known(literal(name)), result.access_groups, taken)
        result.client_keys += [_written(one, result) for one in found.items]
        result.remarks += [result.leave_out(loss.what, (loss.group, loss.why)) for loss in found.losses]
        result.no_longer_good = found.no_longer_good
        result.remarks += [f"a key that was no longer good: {one}" for one in found.no_longer_good]
    elif result.access_groups:
        what = f"the access groups {', '.join(result.access_groups)}"
        result.remarks.append(result.leave_out(what, REASONS["access_groups"]))


def _written(item: Mapping[str, Any], result: Result) -> dict[str, Any]:
    """An item of ``client_keys`` as the file has it. Who may use a name may use its aliases: one of a single model goes
    with that, one of several targets is a name of its own here."""
    if "models" not in item:
        return {**item, "name": literal(item["name"])}
    routes = [literal(model) for model in item["models"]]
    same = [alias for alias, name in result.same.items() if name in routes and alias not in routes]
    return {**item, "name": literal(item["name"]), "models": [*routes, *same]}


def _setting(what: str, name: str, value: Any, result: Result) -> None:
    """Carry a setting of the root, of ``litellm_settings`` and so on over, or leave it out with a remark."""
    carried = name == "completion_model" and _default(value, result)
    if name == "master_key" or carried or name in NO_MATTER | ROUTED or _says_nothing(value):
        return
    if name in _COUNTERPARTS and _counterpart(name, value, result):
        return
    if name in ("callbacks", "success_callback", "failure_callback", "service_callback", "service_callbacks"):
        _callbacks(what, name, value, result)
    elif name != "database_url" or not result.knows_keys:
        result.remarks.append(result.leave_out(what, REASONS.get(name, NO_COUNTERPART)))


def _default(name: Any, result: Result) -> bool:
    deployments = result.deployments.get(literal(name)) if isinstance(name, str) else None
    if not deployments:
        return False
    deployments[0].entry["default"] = True
    if deployments[0].name != name:
        result.remarks.append(f"requests that name no model go to {deployments[0].name}, the first of {name}, alone")
    return True


_COUNTERPARTS: Final[Mapping[str, tuple[str, str]]] = {
    "global_max_parallel_requests": ("in_flight", ""),
    "max_request_size_mb": ("request_body", "MiB"),
    "max_response_size_mb": ("answer", "MiB"),
    "request_timeout": ("", ""),
    "timeout": ("", ""),
}
"""LiteLLM's settings that are one of ``limits`` here, with the unit of the number; ``timeouts`` are those without."""


def _counterpart(name: str, value: Any, result: Result) -> bool:
    """True if ``value`` could be carried over."""
    key, unit = _COUNTERPARTS[name]
    number = _positive(value)
    if number is None:
        return False
    if not key:
        if name == "timeout" or not result.timeouts:  # the router's outranks that of litellm_settings
            result.timeouts = _timeouts(value)
    elif unit:
        result.limits[key] = f"{number:g}{unit}"
    elif number == int(number) and number <= 10**6:
        result.limits[key] = int(number)
    else:
        return False
    return True


def _callbacks(what: str, name: str, value: Any, result: Result) -> None:
    found = [one if isinstance(one, str) else "…" for one in (value if isinstance(value, list) else [value])]
    for group, those in (
        (Group.PROTECTION, [one for one in found if one in GUARDS]),
        (Group.TRIFLES, [one for one in found if one not in GUARDS | HERE_ANYWAY]),
    ):
        why = REASONS["guardrails"][1] if group is Group.PROTECTION else REASONS[name][1]
        if those:
            result.remarks.append(result.leave_out(f"{what} ({', '.join(those)})", (group, why)))
