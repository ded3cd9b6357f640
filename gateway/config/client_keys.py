"""The keys of clients, and the live view's."""

import hashlib
from collections.abc import Collection

from gateway.config.document import Path
from gateway.config.entries import Entries
from gateway.config.findings import Findings
from gateway.config.schema import RawClientKey, RawConfig
from gateway.config.settings import ClientKey
from gateway.config.variables import Unresolved
from gateway.config.wording import describe
from streams.errors import GatewayError


def build_client_keys(raw: RawConfig, entries: Entries, findings: Findings) -> tuple[ClientKey, ...]:
    """An empty list is a mistake and not an open door."""
    if raw.client_keys == ():
        findings.wrong(("client_keys",), "an empty list", "list at least one key, or leave it out to let everybody in")
    others = {*raw.model_aliases, *(entry.name for entry in entries.made if entry.wildcard)}
    keys: dict[bytes, ClientKey] = {}
    for i, item in enumerate(raw.client_keys or ()):
        path = ("client_keys", i)
        if item is None and path not in findings.faulty:
            findings.wrong(path, "an empty item", "each item needs a name, and a key or its sha256")
        if item is not None:
            _check_models(item.models, (*path, "models"), entries, others, findings)
        key = None if item is None else _client_key(item, path, findings)
        if key is None:
            continue
        if any(key.name == other.name for other in keys.values()):
            findings.wrong((*path, "name"), f"the name {key.name} is taken already", "give each key its own name")
        first = keys.setdefault(key.digest, key)
        if first is not key:
            findings.wrong(path, f"the same key as {first.name}'s", "each client needs a key of its own")
    return tuple(keys.values())


def build_ui_key(key: str | None, findings: Findings) -> bytes | None:
    """Its SHA-256."""
    if key == "":
        findings.wrong(("ui_key",), "an empty key", "give one that nobody can guess: `openssl rand -hex 32`")
    return hashlib.sha256(key.encode()).digest() if key else None


def _client_key(raw: RawClientKey, path: Path, findings: Findings) -> ClientKey | None:
    if not raw.name:
        findings.wrong((*path, "name"), "an empty name", "name the client: it stands in the log")
    if (raw.key is None) == (raw.sha256 is None):
        if path not in findings.faulty:
            found = "neither key nor sha256" if raw.key is None else "key and sha256"
            findings.wrong(path, found, "give one of the two")
        return None
    if raw.sha256 is not None:
        known = not isinstance(raw.sha256, Unresolved)
        digest = bytes.fromhex(raw.sha256) if known else raw.sha256.encode()
    elif raw.key:
        digest = hashlib.sha256(raw.key.encode()).digest()
    else:
        findings.wrong((*path, "key"), "an empty key", "give one that nobody can guess: `openssl rand -hex 32`")
        return None
    return ClientKey(raw.name, digest, raw.models, raw.key)


def _check_models(
    models: tuple[str, ...] | None, path: Path, entries: Entries, others: Collection[str], findings: Findings
) -> None:
    if models == ():
        findings.wrong(path, "an empty list", "name at least one model, or leave it out to allow all")
    for i, model in enumerate(models or ()):
        try:
            known = isinstance(model, Unresolved) or model in others or entries.names.direct(model) is not None
        except GatewayError as error:
            findings.wrong((*path, i), str(error), "name one of them")
            continue
        if not known and entries.complete:
            found = f"{describe(model)} is no configured model"
            findings.wrong((*path, i), found, "name one of model_providers or model_aliases")
