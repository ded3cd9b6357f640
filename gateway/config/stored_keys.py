"""Clients whose keys are kept in the state storage, beside those of the file: each is an item as one of ``client_keys``
is, and is read by the same code.

What is kept was good when it was written, for the file of that time. Where it no longer fits, it never allows more: of
the models and entries that it names those hold that are there, and a client of which none are, or whose group is gone
and with it the limits that nobody knows any longer, stays out. A name that the file has, too, is the file's."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from configfile.document import ConfigError, Document, Mistake
from configfile.reading import read
from gateway.config.client_access import AccessNames
from gateway.config.client_keys import build_client
from gateway.config.clients import ClientKey
from gateway.config.findings import Findings
from gateway.config.patterns import matches_one
from gateway.config.prices import ADVICE, unpriced
from gateway.config.settings import Config
from gateway.config.unknown import wrong_key
from streams.errors import GatewayError

_TAKEN: Final = "the file has a client of this name"


@attrs.frozen
class StoredClients:
    """The clients of the state storage by one configuration, and what is wrong with those that stay out, by their
    names."""

    clients: tuple[ClientKey, ...]
    refused: Mapping[str, str]

    def beside(self, config: Config) -> Config:
        """``config`` with these in place of those of the state storage that it has."""
        return attrs.evolve(config, client_keys=(*_of_file(config), *self.clients), stored_keys="read")


def kept_of(name: str, text: str) -> dict[str, Any]:
    """What is kept of a client: its item as ``client``, and who has made it. Raises ``ConfigError`` for what nobody
    here has written so."""
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        kept = None
    if not isinstance(kept, dict) or not isinstance(kept.get("client"), dict):
        raise ConfigError((Mistake(_place(name), "client", "what is kept of it cannot be read", "revoke it"),))
    return kept


def read_item(name: str, item: Mapping[str, Any]) -> ClientKey:
    """An item of one client. Raises ``ConfigError``."""
    found = read({**item, "name": name}, ClientKey, wrong_key)
    if found.faults or found.value is None:
        written = _document(name, item)
        raise ConfigError(tuple(written.mistake(fault.path, *fault.wrong.words) for fault in found.faults))
    return found.value


def new_client(item: ClientKey, config: Config, *, of_file: bool = False) -> ClientKey:
    """Return the client of an ``item`` that is to be kept; ``of_file`` allows one that the file still has. Raises
    ``ConfigError`` for whatever a file may not have, too."""
    if not of_file and any(client.name == item.name for client in _of_file(config)):
        advice = "give another name, or take it out of the file first"
        raise ConfigError((Mistake(_place(item.name), "", _TAKEN, advice),))
    client = _built(item, AccessNames.of(config), {})
    found = unpriced(attrs.evolve(config, client_keys=(client,)))
    if mistakes := tuple(Mistake(_place(item.name), "budgets", one.found, ADVICE) for one in found):
        raise ConfigError(mistakes)
    return client


def stored_clients(items: Sequence[ClientKey], config: Config) -> StoredClients:
    """The clients of the ``items`` that are kept, by ``config``."""
    return StoredReader(config).read(items)


class StoredReader:
    """Makes clients of items by one configuration, each of them once: there may be thousands, of which one is new."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._others = _of_file(config)
        self._names = AccessNames.of(config)
        self._holders = {key.digest: client.name for client in self._others for key in client.keys}
        self._taken = {client.name for client in self._others}
        self._known: dict[ClientKey, ClientKey | str] = {}

    def fits(self, config: Config) -> bool:
        """True if clients are the same by ``config``."""
        named = ("entries", "aliases", "routes", "client_groups")
        same = all(getattr(config, name) is getattr(self._config, name) for name in named)
        return same and _of_file(config) == self._others

    def read(self, items: Sequence[ClientKey]) -> StoredClients:
        self._known = {item: self._known.get(item) or self._made(item) for item in items}
        clients = tuple(found for found in self._known.values() if not isinstance(found, str))
        return StoredClients(
            clients, {item.name: found for item, found in self._known.items() if isinstance(found, str)}
        )

    def _made(self, item: ClientKey) -> ClientKey | str:
        """The client, or why it is none."""
        if item.name in self._taken:
            return f"{_TAKEN}, which goes before this one"
        try:
            return _built(_with_what_is_there(item, self._names), self._names, dict(self._holders))
        except ConfigError as error:
            return "; ".join(f"{one.path}: {one.found}" for one in error.mistakes)


def _built(item: ClientKey, names: AccessNames, holders: dict[bytes, str]) -> ClientKey:
    """Raises ``ConfigError``."""
    findings = Findings(_document(item.name, {}), [], (), {})
    client = build_client(item, (), names, holders, findings)
    if client is None or findings.mistakes:
        raise ConfigError(tuple(findings.mistakes))
    return attrs.evolve(client, source="state storage")


def _of_file(config: Config) -> tuple[ClientKey, ...]:
    return tuple(client for client in config.client_keys if client.source == "file")


def _with_what_is_there(item: ClientKey, names: AccessNames) -> ClientKey:
    """``item`` with those of its models and entries that are there, or as it is where none are."""
    models = tuple(model for model in item.models or () if _is_model(model, names)) or item.models
    there = [entry.name for entry in names.entries.made]
    only = tuple(one for one in item.only or () if any(matches_one(name, (one,)) for name in there)) or item.only
    return attrs.evolve(item, models=models, only=only)


def _is_model(name: str, names: AccessNames) -> bool:
    try:
        return names.is_model(name)
    except GatewayError:  # two entries offer it by now
        return False


def _document(name: str, item: Mapping[str, Any]) -> Document:
    return Document(_place(name), item)


def _place(name: str) -> str:
    return f"the key {name}"
