"""Warnings about keys that expire, and about groups without clients."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from configfile.wording import spell_time
from gateway.config.settings import Config

SOON: Final = timedelta(days=14)
"""The time before a key's expiry from which on there is a warning."""


def expiring_keys(config: Config) -> Iterator[str]:
    """Yield a warning for each client and key of the file that has expired, or will soon."""
    for client in config.client_keys:
        if client.until is not None:
            yield from _expiry_warnings(f"client_keys: {client.name}", client.until)
        for i, key in enumerate(client.keys):
            if key.until is not None:
                place = f"key {i + 1} of {client.name}" if len(client.keys) > 1 else f"the key of {client.name}"
                yield from _expiry_warnings(f"client_keys: {place}", key.until)


def _expiry_warnings(what: str, end: datetime) -> Iterator[str]:
    now = datetime.now(UTC)
    if end <= now:
        yield f"{what} expired on {spell_time(end)} and is rejected: remove it"
    elif end - now <= SOON:
        days = (end - now).days
        left = f"in {days} day{'' if days == 1 else 's'}" if days else "in less than a day"
        yield f"{what} expires on {spell_time(end)}, {left}"


def empty_groups(config: Config) -> Iterator[str]:
    """Yield a warning for each group without clients, unless some may be stored."""
    if config.stored_clients == "off":
        members = {client.group_name for client in (*config.client_keys, *config.rule_clients)}
        for name in (group.name for group in config.client_groups if group.name not in members):
            yield f"client_groups: {name} has no clients: set `group: {name}` in an item of client_keys"
