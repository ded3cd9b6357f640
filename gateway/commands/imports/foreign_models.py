"""The models, keys and routes of gateways other than LiteLLM, before their conversion.

Their files have the same facts as LiteLLM's under other names. So each model becomes an item of LiteLLM's
``model_list``, and one conversion knows the providers, addresses and sign-ins."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from configfile.document import ConfigError, Mistake
from gateway.commands.imports.imported_secrets import SecretNames, SecretOwner
from gateway.commands.imports.imported_values import ENVIRONMENT, escape_dollars, free_name, number_of, text_of
from gateway.commands.imports.litellm import allow_unpriced, convert_litellm
from gateway.commands.imports.losses import Group, Loss
from gateway.commands.imports.result import Result

_HEAVIEST: Final = 10**12
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@attrs.frozen
class ForeignRoute:
    """A name with several targets: the groups in order, each with names and weights."""

    groups: Sequence[Sequence[tuple[str, float | None]]]
    balance: str | None = None


@attrs.define(repr=False)
class ForeignModels:
    """The parts of another gateway's file. ``items`` are models in the form of LiteLLM's ``model_list``."""

    gateway: str
    port: int
    items: list[dict[str, Any]] = attrs.field(factory=list)
    routes: dict[str, ForeignRoute] = attrs.field(factory=dict)
    client_keys: list[dict[str, Any]] = attrs.field(factory=list)
    client_groups: list[dict[str, Any]] = attrs.field(factory=list)
    steps: list[dict[str, Any]] = attrs.field(factory=list)
    losses: list[Loss] = attrs.field(factory=list)
    missing: list[tuple[str | None, Loss]] = attrs.field(factory=list)
    """The models that cannot be converted, by the names that clients use."""
    secrets: SecretNames = attrs.field(factory=SecretNames)
    sets_members: bool = False
    """True if members of requests in ``items`` replace those of clients."""
    notes: list[str] = attrs.field(factory=list)

    def lose(self, group: Group, what: str, why: str) -> None:
        """Record a loss."""
        self.losses.append(Loss(group, what, why))

    def lose_members(self, given: Mapping[str, Any], reasons: Mapping[str, tuple[Group, str]], whose: str = "") -> None:
        """Record the members of ``given`` that ``reasons`` lists and that have a value; ``whose`` ends their names."""
        for name, (group, why) in reasons.items():
            if given.get(name):
                self.lose(group, f"{name}{whose}", why)

    def lose_model(self, name: str | None, what: str, why: str) -> None:
        """Record a model that cannot be converted; requests for its ``name`` then fail."""
        self.missing.append((name, Loss(Group.NAMES, what, why)))

    def add_model(self, name: str, model: str, params: Mapping[str, Any]) -> None:
        """Add a model; ``params`` without values are left out."""
        given = {key: value for key, value in params.items() if value not in (None, "", {}, [])}
        self.items.append({"model_name": name, "litellm_params": {"model": model, **given}})

    def add_client(self, name: str, key: Any, item: Mapping[str, Any]) -> None:
        """Add a client with its ``key`` as a variable, or with ``sha256`` in ``item``."""
        called = free_name(escape_dollars(name), [one["name"] for one in self.client_keys])
        found: dict[str, Any] = {"name": called}
        if "sha256" not in item:
            text = SecretOwner(f"{name} client", self.secrets, self.notes).read_client_key(key)
            if text is None:
                self.lose(Group.NAMES, f"the key {name}", "its value is not in the file")
                return
            found["key"] = text
        self.client_keys.append({**found, **item})


def from_dollar(value: Any) -> Any:
    """Return ``value`` with LiteLLM's notation of a variable instead of ``$NAME``."""
    found = _VARIABLE.fullmatch(value) if isinstance(value, str) else None
    return f"{ENVIRONMENT}{found[1] or found[2]}" if found is not None else value


def convert_models(foreign: ForeignModels) -> Result:
    """Return the new file's parts. Raises ``ConfigError`` if no model can be converted."""
    if not foreign.items and foreign.missing:
        found = "; ".join(str(loss) for _, loss in foreign.missing)
        raise ConfigError((Mistake("", "", f"no model can be converted; {found}", ""),))
    result = convert_litellm({"model_list": foreign.items}, secrets=foreign.secrets, gateway=foreign.gateway)
    result.entries = [([*filter(None, map(_own_words, notes))], entry) for notes, entry in result.entries]
    result.models += len(foreign.missing)
    result.remarks += [result.lose_model(name, loss) for name, loss in foreign.missing]
    if foreign.sets_members:
        _set_members(result)
    result.port = foreign.port
    result.add_losses(foreign.losses)
    result.remarks += foreign.notes
    result.steps += foreign.steps
    known = result.name_test()
    for name, route in foreign.routes.items():
        groups = [
            [(target, weight) for target, weight in group if known(escape_dollars(target))] for group in route.groups
        ]
        lost = [target for group in route.groups for target, _ in group if not known(escape_dollars(target))]
        written = escape_dollars(name)
        if not any(groups) or written in {*result.names, *result.aliases}:
            why = "none of its models is in this file" if not any(groups) else "a model has the same name"
            result.note_loss(f"the name {name}", (Group.NAMES, why))
            if not any(groups):
                result.missing_aliases.append(name)
            continue
        for target in lost:
            result.note_loss(f"{target} as a target of {name}", (Group.PROTECTION, "it is not in this file"))
        targets = [*_targets(groups)]
        several = any(isinstance(one, list) for one in targets)
        result.aliases[written] = {"targets": targets} | (
            {"balance": route.balance} if route.balance and several else {}
        )
    listed = _listed_names(foreign, result)
    result.client_keys += [client for client in foreign.client_keys if _has_models(client, known, listed, result)]
    used = {client.get("group") for client in result.client_keys}
    result.client_groups += [group for group in foreign.client_groups if group["name"] in used]
    allow_unpriced(result)
    return result


def _own_words(note: str) -> str:
    """Return ``note`` without its part about LiteLLM, empty if it only applies to LiteLLM's variables."""
    return "" if " was set for LiteLLM" in note else _OF_LITELLM.sub("", note)


_OF_LITELLM: Final = re.compile(r"(?:;|, and|, as for)[^;]*\bLiteLLM\b.*")


def _set_members(result: Result) -> None:
    """Make the members of requests replace those of clients."""
    for _, entry in result.entries:
        if isinstance(request := entry.get("request"), dict) and "default" in request:
            entry["request"] = {"set": request.pop("default"), **request}


def _readable_weight(given: Any) -> float:
    weight = number_of(given)
    return weight if weight is not None and weight < _HEAVIEST else 1


def _targets(groups: Sequence[Sequence[tuple[str, float | None]]]) -> Iterator[Any]:
    for group in groups:
        found: list[Any] = [
            escape_dollars(target)
            if (weight := _readable_weight(given)) == 1
            else {"target": escape_dollars(target), "weight": int(weight) if weight == int(weight) else weight}
            for target, given in group
            if given is None or given >= 0
        ]
        if len(found) > 1:
            yield found
        elif found:
            yield found[0] if isinstance(found[0], str) else found[0]["target"]


def _listed_names(foreign: ForeignModels, result: Result) -> list[str]:
    """Return the names that clients request: those of entries and aliases, without the targets of ``foreign``."""
    targets = {target for route in foreign.routes.values() for group in route.groups for target, _ in group}
    entries = (entry.get("name", entry["model"]) for _, entry in result.entries)
    return [*(name for name in entries if name not in targets), *result.aliases]


def _has_models(client: dict[str, Any], known: Any, listed: Sequence[str], result: Result) -> bool:
    """Remove unknown names from the models of a client, and expand patterns. Return whether it may still use any."""
    if "models" not in client:
        return True
    models: list[str] = []
    for name in client["models"]:
        if known(name) or name in result.aliases:
            models.append(name)
        elif name.endswith("/*"):
            models += [one for one in listed if one.startswith(name[:-1])]
    client["models"] = models
    if not client["models"]:
        what = f"the key {client['name']}"
        result.note_loss(what, (Group.NAMES, "this file has none of its models"))
    return bool(client["models"])


def as_seconds(value: Any) -> Any:
    """Return a number of seconds, or a text such as ``30s``, as LiteLLM's number of seconds."""
    found = re.fullmatch(r"([0-9.]+)(ms|s|m|h)", value) if isinstance(value, str) else None
    if found is None:
        return value if isinstance(value, int | float) else None
    return float(found[1]) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[found[2]]


def plain_text(value: Any) -> str | None:
    """Return ``value`` if it is a text that the new file can contain, ``None`` otherwise."""
    return value if isinstance(value, str) and text_of(value) is not None else None
