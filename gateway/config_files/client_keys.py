"""The checks of client keys."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, MutableMapping, Sequence

import attrs

from configfile.document import Path
from gateway.config.clients import AcceptedKey, ClientKey, KeySource
from gateway.config.findings import Findings
from gateway.config.listening import Listener
from gateway.config_files.client_access import AccessNames, build_client_rights


def build_client_keys(
    items: Sequence[ClientKey | None], listeners: Sequence[Listener], names: AccessNames, findings: Findings
) -> tuple[ClientKey, ...]:
    """Return the clients of a file. An empty list is an error: it does not open the gateway."""
    if not items and "client_keys" in findings.given_attributes(()):
        findings.wrong(
            ("client_keys",), "the list is empty", "list at least one key, or remove it to accept every client"
        )
    clients: dict[str, ClientKey] = {}
    holders: dict[bytes | str, str] = {}
    certificates = defaultdict[str, list[str]](list)
    for path, item in findings.present_items(items, ("client_keys",), "add `name`, and `key` or `sha256`"):
        client = build_client(item, path, names, holders, findings)
        if item.name in clients:
            found = f"another client has the name {item.name}"
            findings.wrong(
                (*path, "name"),
                found,
                "give each client its own name; for several keys of a client, use the list `keys`",
            )
        _check_certificate(item, path, listeners, certificates, findings)
        clients.setdefault(item.name, client)
    return tuple(clients.values())


def build_client(
    item: ClientKey,
    path: Path,
    names: AccessNames,
    holders: MutableMapping[bytes | str, str],
    findings: Findings,
    source: KeySource = "file",
) -> ClientKey:
    """Return one client, and report errors in it.

    ``holders`` has the clients' names by key digest, to which its own are added."""
    client = build_client_rights(item, path, names, findings)
    if not item.name:
        findings.wrong((*path, "name"), "the name is empty", "give the client a name; the log shows it")
    keys = tuple(_report_shared_keys(_read_keys(item, path, findings), item.name, holders, findings))
    models = () if item.models is None and item.role != "user" else item.models
    if models != item.models and (*path, "models") not in findings.faulty:
        findings.note(
            f"client_keys: {item.name} has the role {item.role} and no `models`, so it may use no model: list them, or "
            "write `models: []`"
        )
    return attrs.evolve(client, key=None, sha256=None, keys=keys, models=models, source=source)


def _read_keys(item: ClientKey, path: Path, findings: Findings) -> Iterator[tuple[Path, AcceptedKey]]:
    """Yield a client's keys with their paths: its single key, or those of its list."""
    has_list = bool(item.keys) or "keys" in findings.given_attributes(path)
    has_own = item.key is not None or item.sha256 is not None
    if not has_list:
        if has_own or item.certificate is None:
            yield from _read_key(AcceptedKey(item.key, item.sha256), path, findings)
        return
    if has_own:
        findings.wrong((*path, "keys"), "it cannot be combined with key or sha256", "add that key to the list")
    if not item.keys and (*path, "keys") not in findings.faulty:
        findings.wrong((*path, "keys"), "the list is empty", "list at least one key")
    for i, one in enumerate(item.keys):
        yield from _read_key(one, (*path, "keys", i), findings)


def _read_key(written: AcceptedKey, path: Path, findings: Findings) -> Iterator[tuple[Path, AcceptedKey]]:
    """Yield the key if it is valid."""
    if (written.key is None) == (written.sha256 is None):
        if not findings.is_faulty(path, ("key", "sha256")):
            found = "neither key nor sha256 is set" if written.key is None else "both key and sha256 are set"
            findings.wrong(path, found, "set one of them")
    elif written.digest:
        yield path, written
    else:
        findings.wrong((*path, "key"), "the key is empty", "create a random one with `openssl rand -hex 32`")


def _check_certificate(
    item: ClientKey,
    path: Path,
    listeners: Sequence[Listener],
    holders: Mapping[str, list[str]],
    findings: Findings,
) -> None:
    if item.certificate is None:
        return
    for other in holders[item.certificate]:
        if other != item.name:
            findings.wrong((*path, "certificate"), f"{other} has the same one", "give each client its own certificate")
    holders[item.certificate].append(item.name)
    if not any(one.tls is not None and one.tls.client_ca for one in listeners) and findings.first("client_ca"):
        findings.warn(
            "client_keys: a certificate has no effect, because no listener requests one: set tls.client_ca for a "
            "listener"
        )


def _report_shared_keys(
    keys: Iterator[tuple[Path, AcceptedKey]], name: str, holders: MutableMapping[bytes | str, str], findings: Findings
) -> Iterator[AcceptedKey]:
    """Yield the ``keys`` of ``name``, and report those that another client has; ``holders`` has names by digest."""
    for path, key in keys:
        if (holder := holders.get(key.digest)) is None:
            holders[key.digest] = name
        else:
            findings.wrong(path, f"client {holder} has the same key", "give each client its own keys")
        yield key
