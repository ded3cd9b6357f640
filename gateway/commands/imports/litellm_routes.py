"""Converts LiteLLM's groups, fallbacks, retries and cooldowns.

LiteLLM groups models with the same ``model_name``; ``router_settings`` and ``litellm_settings`` have the rest
(https://docs.litellm.ai/docs/routing, https://docs.litellm.ai/docs/proxy/reliability). In trigate, one alias has the
``targets`` in order, with a list inside for a group.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, TypeAlias

import attrs

from gateway.commands.imports.imported_values import (
    escape_dollars,
    free_name,
    items_of,
    list_of,
    mapping_of,
    number_of,
    section_of,
)
from gateway.commands.imports.losses import Group
from gateway.commands.imports.result import Deployment, Result
from gateway.config.attempts import Retries
from gateway.config.names import Found
from providers.endpoints.model_types import ModelType, bare_name, model_type

Find: TypeAlias = Callable[[str], Found | None]
"""A function that finds the entry for a name."""

ROUTED: Final = frozenset((
    "fallbacks", "default_fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "num_retries",
    "allowed_fails", "cooldown_time", "routing_strategy",
))  # fmt: skip
"""The settings that this module reads."""

_WEIGHTED: Final = "simple-shuffle"
"""The only strategy that uses weights, and the default."""

BALANCES: Final[Mapping[str, str]] = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "lowest_latency",
    "cost-based-routing": "cheapest",
    "usage-based-routing": "least_busy",
    "usage-based-routing-v2": "least_busy",
}
"""The value of ``balance`` for each strategy."""

LONGEST: Final = 20  # the default of circuit.longest in seconds
_LAST: Final = float("inf")


@attrs.frozen
class _Fallbacks:
    """The fallbacks of each name, for each of LiteLLM's lists."""

    unavailable: Mapping[str, tuple[str, ...]]
    default: tuple[str, ...]
    too_long: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, tuple[str, ...]]

    def chain(self, name: str) -> tuple[str, ...]:
        """Return ``name`` and its fallbacks, each followed by its own."""
        found: dict[str, None] = {}
        following = [name]
        while following:
            if (model_name := following.pop()) not in found:
                found[model_name] = None
                following += reversed(self.unavailable.get(model_name, self.default))
        return tuple(found)

    def lists(self, name: str, target: str) -> bool:
        """Return whether the file lists ``target`` as a fallback of ``name`` explicitly."""
        return any(target in those.get(name, ()) for those in (self.unavailable, self.too_long, self.refused))

    def reasons(self, name: str) -> dict[str, tuple[str, ...]]:
        """Return the fallbacks of ``name`` in order, each with its reasons unless they are the default."""
        found: dict[str, tuple[str, ...]] = dict.fromkeys(self.chain(name)[1:], ())
        for those, reason in ((self.too_long, "context_too_long"), (self.refused, "content_filter")):
            for one in those.get(name, ()):
                if one != name:
                    found[one] = (*(found.get(one) or (("unavailable",) if one in found else ())), reason)
        return found


def add_routes(content: Mapping[str, Any], result: Result) -> None:
    """Convert the groups and fallbacks in ``content`` to aliases, retries and circuits of ``result``.

    Entries whose name becomes an alias get a new name."""
    settings = {
        name: value
        for section in ("litellm_settings", "router_settings")
        for name, value in section_of(content, section).items()
        if value not in (None, [], {}, "")
    }
    if settings.get("max_fallbacks") == 0 and settings["max_fallbacks"] is not False:
        result.remarks.append("max_fallbacks: 0 switches all fallbacks off, as in LiteLLM")
        settings = {name: value for name, value in settings.items() if not name.endswith("fallbacks")}
    fallbacks, find = _read_fallbacks(settings, result), result.finder()
    separate = [(name, one) for name in result.deployments for one in _remove_unsuitable(name, result)]
    routes = {
        name: reasons
        for name, deployments in result.deployments.items()
        if (reasons := _suitable_fallbacks(name, fallbacks, find, result)) or len(deployments) > 1
    }
    rename_entries([(name, one) for name in routes for one in result.deployments[name]] + separate, result)
    _add_retries(settings, result)
    balance, find = _read_balance(settings, result), result.finder()
    for name, deployments in result.deployments.items():
        attempts = deployments[0].attempts if name not in routes and deployments else None
        if attempts is not None and (attempts > 1 or "retries" in result.settings):
            deployments[0].entry["retries"] = {"attempts": attempts}
    for name, reasons in routes.items():
        groups = [*_target_groups(name, (), result)]
        listed = {
            _entry_and_model(one.name, find) for each in (name, *reasons) for one in result.deployments.get(each, ())
        }
        for one, when in reasons.items():
            identity = _entry_and_model(one, find)
            if one in result.deployments or identity not in listed:  # otherwise a duplicate under another name
                groups += _target_groups(one, when, result)
            listed.add(identity)
        several = any(isinstance(group, list) for group in groups)
        route = {"targets": groups} | ({"balance": balance} if balance and several else {})
        result.aliases[name] = route | _route_retries(name, len(groups), result)


def aliases_in(settings: Mapping[str, Any], setting: str) -> Iterator[tuple[str, str]]:
    """Yield the aliases in a setting with their models."""
    for alias, target in mapping_of(settings.get(setting)).items():
        model = target.get("model") if isinstance(target, dict) else target
        if isinstance(model, str) and model:
            yield str(alias), model


# Fallbacks


def _read_fallbacks(settings: Mapping[str, Any], result: Result) -> _Fallbacks:
    """Return the fallbacks to served names; record the others as losses."""
    known = result.name_test()
    aliases = dict(aliases_in(settings, "model_group_alias"))

    def served_names(names: Any, where: str) -> Iterator[str]:
        for name in names if isinstance(names, list) else [names]:
            written = escape_dollars(aliases.get(name, name)) if isinstance(name, str) else ""
            if "*" in written:
                record_loss(f"{where} to {name}", "a pattern is not a single model")
            elif written in result.deployments or (written and known(written)):
                yield next(iter(result.wildcard_targets(written)), written)
            else:
                record_loss(
                    f"{where} to {name if isinstance(name, str) else 'another request'}", "this file has no such model"
                )

    def record_loss(what: str, why: str) -> None:
        result.lose(what, (Group.PROTECTION, why))

    def fallbacks_in(setting: str) -> dict[str, tuple[str, ...]]:
        given = settings.get(setting)
        found: dict[str, tuple[str, ...]] = {}
        items = given if isinstance(given, list) else [] if given is None else [given]
        for item in items:
            if not isinstance(item, dict):
                record_loss(f"{setting} ({str(item)[:40]})", "each item must be a model with a list of fallbacks")
            for name, names in item.items() if isinstance(item, dict) else ():
                written = escape_dollars(str(name))
                if written in result.deployments or name == "*":
                    found[written] = tuple(served_names(names, f"{setting} from {name}"))
                else:
                    record_loss(
                        f"{setting} from {name}", "this file has no model with that name, or the name is a pattern"
                    )
        return found

    unavailable = fallbacks_in("fallbacks")
    default = tuple(served_names(settings.get("default_fallbacks") or [], "default_fallbacks"))
    default = unavailable.pop("*", ()) or default
    patterns = [name for name in (*result.names, *result.wildcards) if "*" in name and name not in result.private]
    if default and patterns:
        record_loss(f"default_fallbacks of the names of {', '.join(sorted(patterns))}", "a pattern has no fallbacks")
    return _Fallbacks(
        unavailable, default, fallbacks_in("context_window_fallbacks"), fallbacks_in("content_policy_fallbacks")
    )  # fmt: skip


def _entry_and_model(name: str, find: Find) -> tuple[str, str]:
    """Return the entry that serves ``name``, and its model."""
    found = find(name)
    return (name, "") if found is None else (found.entry.name, found.model)


# Types


def _shared_property(type: ModelType, model: str) -> tuple[str, ...]:
    """Return the property that all models of a route must share: the type, and the model itself for embeddings."""
    if type == "embedding":
        return type, bare_name(model)
    return ("chat",) if type == "completion" else (type,)


def _shared_property_of_name(name: str, find: Find, result: Result) -> tuple[str, ...]:
    if deployments := result.deployments.get(name):
        return _shared_property(deployments[0].type, deployments[0].model)
    found = find(name)
    return (
        _shared_property(model_type(name), name)
        if found is None
        else _shared_property(found.entry.type_of(found.model), found.model)
    )


def _remove_unsuitable(name: str, result: Result) -> Iterator[Deployment]:
    """Remove and yield the deployments of the group ``name`` that cannot serve the requests of the first one."""
    first = min(result.deployments[name], key=_order_of)
    wanted = _shared_property(first.type, first.model)
    for one in [one for one in result.deployments[name] if _shared_property(one.type, one.model) != wanted]:
        result.deployments[name].remove(one)
        kind = "its type" if one.type != first.type else "its model"
        why = f"{kind} differs from {first.entry['model']}, so its entry has a separate name"
        result.lose(f"{one.entry['model']} as a target of {name}", (Group.PROTECTION, why))
        yield one


def _suitable_fallbacks(name: str, fallbacks: _Fallbacks, find: Find, result: Result) -> dict[str, tuple[str, ...]]:
    """Return the fallbacks of ``name`` that can serve its requests.

    An embedding model cannot fall back to a chat model or to another embedding model, whose vectors differ."""
    found = fallbacks.reasons(name)
    wanted = _shared_property_of_name(name, find, result)
    unfit = [target for target in found if _shared_property_of_name(target, find, result) != wanted]
    for target in unfit:
        del found[target]
        if fallbacks.lists(name, target):
            why = f"{target} cannot serve requests for {name}: the model types differ"
            result.lose(f"fallbacks from {name} to {target}", (Group.PROTECTION, why))
    if others := [target for target in unfit if not fallbacks.lists(name, target)]:
        result.remarks.append(
            f"default_fallbacks to {', '.join(others)} do not apply to {name}: the model types differ"
        )
    return found


# Groups


def _target_groups(name: str, when: Sequence[str], result: Result) -> Iterator[Any]:
    """Yield the groups of targets of ``name`` in the order of its models; a name of a wildcard is one target."""
    if name not in result.deployments:
        yield _target_item(name, None, when)
        return
    ordered = sorted(result.deployments[name], key=_order_of)
    for _, group in groupby(ordered, key=_order_of):
        found = [*group]
        weights = _weights(name, found, result)
        items = [_target_item(one.name, weight, when) for one, weight in zip(found, weights, strict=True)]
        yield items if len(items) > 1 else _target_item(found[0].name, None, when)


def _order_of(deployment: Deployment) -> float:
    return _LAST if deployment.order is None else deployment.order


def _weights(name: str, group: Sequence[Deployment], result: Result) -> list[float | None]:
    """Return the weights of a group of ``name``: the first kind that any member has, if LiteLLM uses them. A member
    without it has the weight 0."""
    strategy = result.strategies.get(name, result.strategies.get("*", _WEIGHTED))
    if strategy in BALANCES and strategy != _WEIGHTED:
        if any(one.weights[0] for one in group):
            result.needless.append(f"weight of {name}: {strategy} does not use it")
        return [None] * len(group)
    for given in zip(*(one.weights for one in group), strict=True):
        if any(given):
            return list(given)
    return [None] * len(group)


def _target_item(target: str, weight: float | None, when: Sequence[str]) -> Any:
    more: dict[str, Any] = {} if weight in (None, 1) else {"weight": weight}
    more |= {"when": list(when)} if when else {}
    return {"target": target, **more} if more else target


def rename_entries(deployments: Sequence[tuple[str, Deployment]], result: Result) -> None:
    """Rename the entries of these deployments after their providers: the old names become aliases."""
    taken = {*result.names, *result.deployments}
    for name, one in deployments:
        provider = one.entry["model"].partition("/")[0]
        called = free_name(f"{name}-{provider}", taken)
        taken.add(called)
        model, *rest = one.entry.items()
        entry = {**dict([model]), "name": called, **{key: value for key, value in rest if key != "name"}}
        one.entry.clear()
        one.entry.update(entry)


# Attempts


def _add_retries(settings: Mapping[str, Any], result: Result) -> None:
    attempts = attempts_of(number_of(settings.get("num_retries")))
    failures = _whole_number(number_of(settings.get("allowed_fails")))
    cooldown = number_of(settings.get("cooldown_time", 0))
    is_cooldown = cooldown is not None and 0 <= cooldown < 10**6
    read = {"num_retries": attempts is not None, "allowed_fails": failures is not None, "cooldown_time": is_cooldown}
    for setting, is_good in read.items():
        if settings.get(setting) is not None and not is_good:
            result.lose(setting, (Group.PROTECTION, "it is not a suitable number"))
    if attempts is not None and attempts > 1:  # with one, the fallbacks in a client's request would not be used
        result.settings["retries"] = {"attempts": attempts}
    circuit: dict[str, Any] = {} if failures is None else {"failures": failures + 1}
    if cooldown and is_cooldown:  # for 0, LiteLLM uses its default, which is trigate's, too
        circuit |= {"cooldown": f"{cooldown:g}s"} | ({"longest": f"{cooldown:g}s"} if cooldown > LONGEST else {})
    if circuit:
        result.settings["circuit"] = circuit


def attempts_of(retries: Any) -> int | None:
    """Return the number of attempts with so many ``retries`` after the first one."""
    number = _whole_number(retries)
    return None if number is None or number > 100 else number + 1


def _route_retries(name: str, groups: int, result: Result) -> dict[str, Any]:
    """Return the retries of a route: those of its models, and at least one for each fallback."""
    own = max((one.attempts or 0 for one in result.deployments[name]), default=0)
    common = result.settings.get("retries", {}).get("attempts", 0)
    is_own = own > 1 or (own == 1 and common > 1)
    return {"retries": {"attempts": max(own, groups)}} if is_own or groups > (common or Retries().attempts) else {}


_RATES: Final = ("rpm", "tpm")
_ENFORCING: Final = frozenset(
    ("usage-based-routing", "usage-based-routing-v2", "latency-based-routing", "cost-based-routing")
)
"""The routing strategies that choose no model above its rates."""


def _whole_number(value: Any) -> int | None:
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value)
    return int(value) if is_whole else None


def enforced_rates(settings: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Return the rates of models that LiteLLM enforces with these ``router_settings``; ``*`` are all models.

    https://docs.litellm.ai/docs/routing"""
    checks = list_of(settings.get("optional_pre_call_checks"))
    found = set(_RATES) if settings.get("routing_strategy") in _ENFORCING else set()
    found |= {"rpm"} if settings.get("enable_pre_call_checks") is True else set()
    found |= set(_RATES) if "enforce_model_rate_limits" in checks else set()
    rates = {"*": frozenset(found)}
    strategies = routing_strategies(settings)
    return rates | {name: frozenset(_RATES) for name, one in strategies.items() if name != "*" and one in _ENFORCING}


def routing_strategies(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the routing strategy of each model in a group of ``router_settings``; ``*`` is that of all others."""
    found = {"*": str(settings.get("routing_strategy", _WEIGHTED))}
    for group in items_of(settings.get("routing_groups")):
        strategy = str(group.get("routing_strategy", _WEIGHTED))
        found |= {str(model): strategy for model in list_of(group.get("models"))}
    return found


def _read_balance(settings: Mapping[str, Any], result: Result) -> str | None:
    strategy = str(settings.get("routing_strategy", _WEIGHTED))
    if strategy not in BALANCES:
        result.lose(f"routing_strategy {strategy}", (Group.TRIFLES, ""))
        return None
    if strategy.startswith("usage-"):
        result.remarks.append(
            f"routing_strategy {strategy} became `balance: least_busy`: it counts open requests, not tokens"
        )
    return BALANCES[strategy]
