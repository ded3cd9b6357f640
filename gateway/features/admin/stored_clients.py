"""Clients in the state storage, in addition to the file's, read by the same code as ``client_keys``.

Stored items were valid for the file at that time. If the file has changed, they never gain access: unknown models and
entries are ignored, and a client without any left, or without its group, is excluded. If a name is also in the file,
the file's client counts."""

import json
from collections import ChainMap
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

import attrs

from configfile.document import ConfigError, Document, Mistake
from configfile.keys import with_parts
from configfile.reading import read
from gateway.config.clients import ClientKey
from gateway.config.findings import Findings
from gateway.config.patterns import matches_one
from gateway.config.settings import Config
from gateway.config_files.allowance_checks import PRICE_ADVICE, unpriced_models
from gateway.config_files.client_access import AccessNames
from gateway.config_files.client_keys import build_client
from gateway.config_files.loading import advise
from gateway.features.known import features
from streams.errors import GatewayError

features()  # a stored client may have keys of a feature that the file does not use

_TAKEN: Final = "the file has a client with this name"


@attrs.frozen(repr=False)
class StoredClients:
    """The clients in the state storage under one configuration, and the errors of excluded ones, by name."""

    clients: tuple[ClientKey, ...]
    refused: Mapping[str, str]

    def beside(self, config: Config) -> Config:
        """Return ``config`` with these clients instead of its stored ones."""
        return attrs.evolve(config, client_keys=(*_file_clients(config), *self.clients), stored_clients="read")


def parse_stored(name: str, text: str) -> dict[str, Any]:
    """Return a stored client: its item as ``client``, and its author. Raises ``ConfigError`` for foreign data."""
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        kept = None
    if not isinstance(kept, dict) or not isinstance(kept.get("client"), dict):
        raise ConfigError((Mistake(_location(name), "client", "the stored data cannot be read", "revoke it"),))
    return kept


def read_item(name: str, item: Mapping[str, Any]) -> ClientKey:
    """Return a client's item. Raises ``ConfigError``."""
    found = read({**item, "name": name}, ClientKey, advise)
    if found.faults or found.value is None:
        written = _document(name, item)
        raise ConfigError(tuple(written.mistake(fault.path, *fault.wrong.words) for fault in found.faults))
    return found.value


def new_client(item: ClientKey, config: Config, *, of_file: bool = False) -> ClientKey:
    """Return the client of an ``item`` to be stored; ``of_file`` allows one that the file also has.

    Raises ``ConfigError`` for everything that is invalid in a file."""
    if not of_file and any(client.name == item.name for client in _file_clients(config)):
        advice = "give another name, or remove it from the file first"
        raise ConfigError((Mistake(_location(item.name), "", _TAKEN, advice),))
    client = _build_stored(item, AccessNames.of(config), {}, config.rule_prefixes)
    found = unpriced_models(attrs.evolve(config, client_keys=(client,)))
    if mistakes := tuple(Mistake(_location(item.name), "budgets", one.problem, PRICE_ADVICE) for one in found):
        raise ConfigError(mistakes)
    return client


def stored_clients(items: Sequence[ClientKey], config: Config) -> StoredClients:
    """Return the clients of the stored ``items`` under ``config``."""
    return StoredReader(config).read(items)


class StoredReader:
    """A reader of stored clients for one configuration that builds each once: there may be thousands with one new."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._others = _file_clients(config)
        self._names = AccessNames.of(config)
        self._holders = {one: client.name for client in self._others for one in client.credentials}
        self._taken = {client.name for client in self._others}
        self._prefixes = config.rule_prefixes
        self._known: dict[str, tuple[ClientKey, ClientKey | str]] = {}

    def fits(self, config: Config) -> bool:
        """Return whether ``config`` would give the stored clients the same rights and limits."""
        named = ("entries", "aliases", "routes", "client_groups", "rule_clients", "parts")
        same = all(getattr(config, name) == getattr(self._config, name) for name in named)
        return same and _file_clients(config) == self._others

    def read(self, items: Sequence[ClientKey]) -> StoredClients:
        before, known = self._known, dict[str, tuple[ClientKey, ClientKey | str]]()
        for item in items:
            found = before.get(item.name)
            if found is None or found[0] is not item:
                found = item, self._client_or_reason(item)
            known[item.name] = found
        self._known = known
        clients = tuple(made for _, made in known.values() if not isinstance(made, str))
        return StoredClients(clients, {name: made for name, (_, made) in known.items() if isinstance(made, str)})

    def _client_or_reason(self, item: ClientKey) -> ClientKey | str:
        """Return the client of a stored item, or the reason why the item is invalid."""
        if item.name in self._taken:
            return f"{_TAKEN}, which has precedence"
        try:
            item = _without_missing_names(item, self._names)
            return _build_stored(item, self._names, ChainMap({}, self._holders), self._prefixes)
        except ConfigError as error:
            return "; ".join(f"{one.path}: {one.found}" for one in error.mistakes)


def _build_stored(
    item: ClientKey, names: AccessNames, holders: MutableMapping[bytes | str, str], prefixes: Sequence[str]
) -> ClientKey:
    """Return the client of a stored ``item``. Raises ``ConfigError``."""
    findings = Findings(_document(item.name, {}), [], (), {})
    if item.role != "user":
        findings.wrong(("role",), "a stored client has no role", "give the role to a client of the file")
    if (prefix := next(filter(item.name.startswith, prefixes), None)) is not None:
        findings.wrong(("name",), f"names that begin with `{prefix}` are people's", "give the client another name")
    client = build_client(item, (), names, holders, findings, "state storage")
    if item.certificate is not None and (holder := holders.get(item.certificate)) is not None:
        findings.wrong(("certificate",), f"{holder} has the same one", "give each client its own")
    if findings.mistakes:
        raise ConfigError(tuple(findings.mistakes))
    return client


def _file_clients(config: Config) -> tuple[ClientKey, ...]:
    return tuple(client for client in config.client_keys if client.source == "file")


def _without_missing_names(item: ClientKey, names: AccessNames) -> ClientKey:
    """Return ``item`` with its existing models and entries, and names in parts. A list of models or entries stays
    unchanged if none exist."""
    if not (item.models or item.only or item.parts):
        return item
    models = tuple(model for model in item.models or () if _is_model(model, names)) or item.models
    there = [entry.name for entry in names.entries.made]
    only = tuple(one for one in item.only or () if any(matches_one(name, (one,)) for name in there)) or item.only
    parts = {part: keys.within(names.config) for part, keys in item.parts.items()}
    return with_parts(attrs.evolve(item, models=models, only=only), parts)


def _is_model(name: str, names: AccessNames) -> bool:
    try:
        return names.is_model(name)
    except GatewayError:  # two entries have it by now
        return False


def _document(name: str, item: Mapping[str, Any]) -> Document:
    return Document(_location(name), item)


def _location(name: str) -> str:
    return f"the key {name}"
