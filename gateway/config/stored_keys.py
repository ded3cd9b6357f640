"""Clients whose keys are kept in the state storage, beside those of the file: each is an item as one of ``client_keys``
is, and is read by the same code.

What is kept was good when it was written, for the file of that time. Where it no longer fits, it never allows more: of
the models and entries that it names those hold that are there, and a client of which none are, or whose group is gone
and with it the limits that nobody knows any longer, stays out. A name that the file has, too, is the file's."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from gateway.config.client_access import AccessNames
from gateway.config.client_keys import build_client
from gateway.config.converter import structure
from gateway.config.document import ConfigError, Document, Mistake
from gateway.config.findings import Findings
from gateway.config.patterns import matches_one
from gateway.config.schema import RawClientKey
from gateway.config.settings import ClientKey, Config
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


def read_item(name: str, item: Mapping[str, Any]) -> RawClientKey:
    """An item of one client. Raises ``ConfigError``."""
    found = structure({**item, "name": name}, RawClientKey)
    if isinstance(found, tuple):
        read = _document(name, item)
        raise ConfigError(tuple(read.mistake(fault.path, *fault.wrong.words) for fault in found))
    return found


def new_client(item: RawClientKey, config: Config) -> ClientKey:
    """The client of an ``item`` that is to be kept. Raises ``ConfigError`` for whatever a file may not have, too."""
    if any(client.name == item.name for client in _of_file(config)):
        advice = "give another name, or take it out of the file first"
        raise ConfigError((Mistake(_place(item.name), "", _TAKEN, advice),))
    return _built(item, AccessNames.of(config), {})


def stored_clients(items: Sequence[RawClientKey], config: Config) -> StoredClients:
    """The clients of the ``items`` that are kept, by ``config``."""
    names, others = AccessNames.of(config), _of_file(config)
    holders = {key.digest: client.name for client in others for key in client.keys}
    taken = {client.name for client in others}
    clients, refused = [], {}
    for item in items:
        try:
            if item.name in taken:
                refused[item.name] = f"{_TAKEN}, which goes before this one"
            else:
                clients.append(_built(_with_what_is_there(item, names), names, holders))
        except ConfigError as error:
            refused[item.name] = "; ".join(f"{one.path}: {one.found}" for one in error.mistakes)
    return StoredClients(tuple(clients), refused)


def _built(item: RawClientKey, names: AccessNames, holders: dict[bytes, str]) -> ClientKey:
    """Raises ``ConfigError``."""
    findings = Findings(_document(item.name, {}), [], ())
    client = build_client(item, (), names, holders, findings)
    if client is None or findings.mistakes:
        raise ConfigError(tuple(findings.mistakes))
    return attrs.evolve(client, source="state storage")


def _of_file(config: Config) -> tuple[ClientKey, ...]:
    return tuple(client for client in config.client_keys if client.source == "file")


def _with_what_is_there(item: RawClientKey, names: AccessNames) -> RawClientKey:
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
