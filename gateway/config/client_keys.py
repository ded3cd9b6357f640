"""The keys of clients, and the live view's."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from configfile.document import Path
from configfile.expanded import Unresolved
from configfile.wording import spelled_time
from gateway.config.budgets import build_budgets
from gateway.config.caching import build_switch
from gateway.config.client_access import AccessNames, check_access, check_wall, group_of
from gateway.config.findings import Findings
from gateway.config.ratelimits import build_ratelimits
from gateway.config.schema import RawAcceptedKey, RawClientKey, RawClientLimits, RawConfig, given
from gateway.config.settings import AcceptedKey, ClientKey, ClientLimits, RealtimeGrant
from gateway.config.weak_secrets import short

SOON: Final = timedelta(days=14)
"""The time before a key's end in which that is a warning."""


def build_client_keys(raw: RawConfig, names: AccessNames, findings: Findings) -> tuple[ClientKey, ...]:
    """An empty list is a mistake and not an open door."""
    if raw.client_keys == ():
        findings.wrong(("client_keys",), "an empty list", "list at least one key, or leave it out to let everybody in")
    clients: dict[str, ClientKey] = {}
    holders: dict[bytes, str] = {}
    for i, item in enumerate(raw.client_keys or ()):
        path = ("client_keys", i)
        if item is None and path not in findings.faulty:
            findings.wrong(path, "an empty item", "each item needs a name, and a key or its sha256")
        if item is None:
            continue
        client = build_client(item, path, names, holders, findings)
        if client is None:
            continue
        if item.name in clients:
            found = f"the name {item.name} is taken already"
            findings.wrong(
                (*path, "name"), found, "give each client its own name, and one with several keys a list `keys`"
            )
        _check_certificate(item, path, raw, clients, findings)
        clients.setdefault(item.name, client)
        _warn_of_ends(client, path, findings)
    return tuple(clients.values())


def build_client(
    item: RawClientKey, path: Path, names: AccessNames, holders: dict[bytes, str], findings: Findings
) -> ClientKey | None:
    """One client, ``None`` without a way in. ``holders`` are the names of clients by the digests of keys, its own from
    now on, too."""
    group = group_of(item, path, names.groups, findings)
    check_access(item, path, names, findings)
    if not item.name:
        findings.wrong((*path, "name"), "an empty name", "name the client: it stands in the log")
    keys = tuple(_unlike(_keys(item, path, findings), item.name, holders, findings))
    if not keys and item.certificate is None:
        return None
    limits = build_client_limits(item.limits)
    ratelimits = build_ratelimits(item.ratelimits, (*path, "ratelimits"), findings)
    budgets = build_budgets(item.budgets, path, findings)
    client = ClientKey(
        item.name, keys, item.models, item.until, limits, item.certificate, item.only, group, ratelimits, budgets,
        foreign_ids=item.foreign_ids,
        realtime=RealtimeGrant(**given(item.realtime)),
        cache=build_switch(item.cache),
        passthrough=item.passthrough or (),
    )  # fmt: skip
    check_wall(client, path, names.entries, findings)
    return client


def build_client_limits(raw: RawClientLimits | None) -> ClientLimits:
    """What the file gives of the shares of one client, or of all."""
    return ClientLimits(**given(raw))


def build_operator_key(name: str, key: str | None, findings: Findings) -> bytes | None:
    """Return the SHA-256 of an operator's key, which the configuration calls ``name``."""
    if key == "":
        findings.wrong((name,), "an empty key", "give one that nobody can guess: `openssl rand -hex 32`")
    for sentence in short(name, key):
        findings.warn(sentence)
    return hashlib.sha256(key.encode()).digest() if key else None


def _keys(raw: RawClientKey, path: Path, findings: Findings) -> Iterator[tuple[Path, AcceptedKey]]:
    """The keys of a client with their places: its one key, or those of its list."""
    short = RawAcceptedKey(raw.key, raw.sha256)
    if raw.keys is None and raw.certificate is not None and short == RawAcceptedKey():
        return
    if raw.keys is None:
        yield from _key(short, path, findings)
        return
    if short != RawAcceptedKey():
        findings.wrong((*path, "keys"), "given beside key or sha256", "put that key into the list, too")
    if raw.keys == () and path not in findings.faulty:
        findings.wrong((*path, "keys"), "an empty list", "list at least one key")
    for i, one in enumerate(raw.keys):
        yield from _key(one, (*path, "keys", i), findings)


def _key(raw: RawAcceptedKey, path: Path, findings: Findings) -> Iterator[tuple[Path, AcceptedKey]]:
    if (raw.key is None) == (raw.sha256 is None):
        if path[:2] not in findings.faulty:
            found = "neither key nor sha256" if raw.key is None else "key and sha256"
            findings.wrong(path, found, "give one of the two")
    elif raw.sha256 is not None:
        known = not isinstance(raw.sha256, Unresolved)
        yield path, AcceptedKey(bytes.fromhex(raw.sha256) if known else raw.sha256.encode(), raw.until)
    elif raw.key:
        yield path, AcceptedKey(hashlib.sha256(raw.key.encode()).digest(), raw.until, raw.key)
    else:
        findings.wrong((*path, "key"), "an empty key", "give one that nobody can guess: `openssl rand -hex 32`")


def _check_certificate(
    item: RawClientKey, path: Path, raw: RawConfig, others: Mapping[str, ClientKey], findings: Findings
) -> None:
    if item.certificate is None:
        return
    for other in others.values():
        if other.certificate == item.certificate and other.name != item.name:
            findings.wrong((*path, "certificate"), f"the same as {other.name}'s", "each client needs one of its own")
    listeners = raw.listeners if isinstance(raw.listeners, tuple) else ()
    if not any(one.tls is not None and one.tls.client_ca for one in listeners) and findings.first("client_ca"):
        findings.warn("client_keys: a certificate is named, and no listener asks for one: give one tls.client_ca")


def _unlike(
    keys: Iterator[tuple[Path, AcceptedKey]], name: str, holders: dict[bytes, str], findings: Findings
) -> Iterator[AcceptedKey]:
    """The ``keys`` of ``name``, each reported that somebody has already: ``holders`` are the names by digests."""
    for path, key in keys:
        if key.digest in holders:
            findings.wrong(path, f"the same key as {holders[key.digest]}'s", "each client needs keys of its own")
        holders.setdefault(key.digest, name)
        yield key


def _warn_of_ends(client: ClientKey, path: Path, findings: Findings) -> None:
    now = datetime.now(UTC)
    if client.until is not None:
        _warn_of_end(f"client_keys: {client.name}", client.until, now, findings)
    for i, key in enumerate(client.keys):
        if key.until is not None:
            place = f"key {i + 1} of {client.name}" if len(client.keys) > 1 else f"the key of {client.name}"
            _warn_of_end(f"client_keys: {place}", key.until, now, findings)


def _warn_of_end(what: str, end: datetime, now: datetime, findings: Findings) -> None:
    if end <= now:
        findings.warn(f"{what} has ended on {spelled_time(end)}, and is refused: take it out")
    elif end - now <= SOON:
        days = (end - now).days
        left = f"in {days} day{'' if days == 1 else 's'}" if days else "in less than a day"
        findings.warn(f"{what} ends on {spelled_time(end)}, {left}")
