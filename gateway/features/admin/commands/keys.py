"""``trigate keys``: manages the clients in the state storage, which are in addition to those of the configuration.

A key is shown once, when it is created, and stored as a digest. Gateways apply changes within a second
(``gateway/features/admin/followed_keys.py``). The storage records who made a change."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, ParamSpec, TypeVar

import attrs
import click

from configfile.document import ConfigError
from configfile.kinds import read_positive_duration
from configfile.wording import Wrong, nearest, spell_time, time_text
from gateway.commands.storage_changes import CommandFailed, made_by, on_storage, print_changes, print_rows
from gateway.commands.tables import TableColumn
from gateway.commands.terminal import say
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.features.admin import key_changes
from gateway.features.admin.client_rows import client_rows, expiry_text, row_of
from gateway.features.admin.key_store import MOST_CHANGES, KeyChange, KeyEvent, KeyStore, KeyTable, KeyTaken
from gateway.features.admin.storage import key_store_of
from gateway.features.admin.stored_clients import StoredClients, parse_stored, read_item, stored_clients
from gateway.open_store import open_keeping_database
from gateway.stores.errors import Changed
from gateway.stores.record_tables import AuditEntry
from gateway.stores.store import check_name

T = TypeVar("T")
P = ParamSpec("P")

_NO_STORAGE: Final = (
    "{}: this type of `state_storage` cannot store keys: set `type: sqlite` with a path, or `type: postgres`, and set "
    "`stored_keys: true`"
)
_NOT_ENABLED: Final = (
    "{}: this configuration does not enable stored keys: set `stored_keys: true` at its root, reload the gateway, and "
    "try again"
)
_CHANGED: Final = "another process changed {} at the same time: try again"


def settings_of(
    group: str | None, ratelimits: Sequence[str], limits: Sequence[str], **lists: Sequence[str]
) -> dict[str, Any]:
    """Return the options of a client in the form of an item of ``client_keys``. Raises ``CommandFailed``."""
    values: dict[str, Any] = {
        "group": group,
        **{name: list(words) for name, words in lists.items()},
        "ratelimits": _parse_amounts("--ratelimit", ratelimits),
        "limits": _parse_amounts("--limit", limits),
    }
    return {name: value for name, value in values.items() if value}


@attrs.frozen
class OpenedKeys:
    """A configuration, its key store, and the stored clients."""

    config: Config
    store: KeyStore
    table: KeyTable

    def item(self, name: str) -> str | None:
        return next((one.item for one in self.table.clients if one.name == name), None)

    def clients(self) -> tuple[ClientKey, ...]:
        """Return the clients of the file and of the storage, without unreadable ones."""
        return parse_clients(self.table, self.config).beside(self.config).client_keys

    def stored_text(self, name: str) -> str:
        """Return the stored text of a client. Raises ``CommandFailed`` for an unknown name."""
        if (text := self.item(name)) is not None:
            return text
        if any(client.name == name for client in self.config.client_keys):
            raise CommandFailed(f"{name} is not stored, but in {self.config.path}: change it there, and reload")
        near = nearest(name, (one.name for one in self.table.clients))
        advice = f"did you mean {near}?" if near else "trigate keys list shows all clients"
        raise CommandFailed(f"there is no stored client {name}; {advice}")


def parse_clients(table: KeyTable, config: Config) -> StoredClients:
    """Return the clients of ``table`` under ``config``, without unreadable ones."""
    items = []
    for one in table.clients:
        with contextlib.suppress(ConfigError):
            items.append(read_item(one.name, parse_stored(one.name, one.item)["client"]))
    return stored_clients(items, config)


@contextlib.asynccontextmanager
async def _open_keys(config: Config) -> AsyncIterator[OpenedKeys]:
    async with open_keeping_database(config) as database:
        if database is None:
            raise CommandFailed(_NO_STORAGE.format(config.path))
        store = key_store_of(database)
        yield OpenedKeys(config, store, await store.read())


on_keys: Final = on_storage(_open_keys)
"""Makes a command that works with the stored keys of a configuration."""


@on_keys
async def add(
    opened: OpenedKeys, /, name: str, until: str | None, lasting: str | None, sha256: str | None, by: str | None,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Run ``trigate keys add``. ``sha256`` is the digest of an existing key."""
    check_keys_enabled(opened)
    check_name(name)
    if opened.item(name) is not None:
        raise CommandFailed(f"the client {name} exists already: rotate its key, or give another name")
    given = () if sha256 is None else ({"sha256": sha256.lower()},)
    values = {**settings_of(**options), **expiry_of(until, lasting)}
    added = key_changes.added_client(name, values, given, opened.config, made_by(by))
    key_changes.check_unshared(added.client, key_changes.holders_of(opened.clients()))
    await write_changes(opened, "added", [(name, None, added.written)], "add", by, added.digests)
    if added.key is None:
        said = f"Added {name} with the given digest; gateways accept it within a second."
        show_changed(added.client, said, as_json)
    else:
        _print_new_key(name, added.key, added.client, as_json)


@on_keys
async def rotate(
    opened: OpenedKeys, name: str, keep_old: str, until: str | None, lasting: str | None, by: str | None, as_json: bool
) -> None:
    """Run ``trigate keys rotate``."""
    text = opened.stored_text(name)
    seconds = _parse_seconds("--keep-old", keep_old) if keep_old not in ("0", "0s") else 0.0
    kept, expiry = parse_stored(name, text), expiry_of(until, lasting)
    rotated = key_changes.rotated_client(name, kept, None, seconds, opened.config, expiry)
    await write_changes(opened, "rotated", [(name, text, rotated.written)], "rotate", by, rotated.digests[-1:])
    _print_new_key(name, rotated.key or "", rotated.client, as_json)


@on_keys
async def revoke(opened: OpenedKeys, name: str, by: str | None) -> None:
    """Run ``trigate keys revoke``."""
    text = opened.stored_text(name)
    await write_changes(opened, "revoked", [(name, text, None)], "revoke", by)
    say(f"Revoked {name}; gateways reject it within a second. Running requests still finish.")


@on_keys
async def show_list(opened: OpenedKeys, as_json: bool) -> None:
    """Run ``trigate keys list``."""
    rows = client_rows([(one.name, one.item) for one in opened.table.clients], opened.config)
    print_rows(rows if as_json else [*map(_shown_row, rows)], _CLIENT_COLUMNS, as_json)
    if not as_json and opened.config.stored_clients == "off":
        say(_NOT_ENABLED.format(opened.config.path))


_CLIENT_COLUMNS: Final = (
    TableColumn("name", "name"),
    TableColumn("from", "word", 2),
    *map(TableColumn, ("state", "group", "models", "limits")),
    TableColumn("until", "word"),
    TableColumn("added", "word", 3),
    TableColumn("by", rank=1),
)


def _shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client with all its limits in one text, and its state with the reason."""
    amounts = {**row["ratelimits"], **row["limits"]}
    limits = [*(f"{name}={amount}" for name, amount in amounts.items()), *row["budgets"]]
    old = [key["until"] for key in row["keys"] if key["until"] and not key["ended"]]
    state = f"{row['state']}: {row['why']}" if "why" in row else row["state"]
    if old and len(row["keys"]) > 1:
        state += f", an old key until {max(old)}"
    allowed = row["group_models"] if row["models"] is None else row["models"]
    return {**row, "state": state, "models": "all" if allowed is None else allowed, "limits": limits}


_HISTORY_COLUMNS: Final = (
    *(TableColumn(name, "word") for name in ("at", "event")),
    TableColumn("name", "name"),
    *map(TableColumn, ("by", "change")),
)


@on_keys
async def history(opened: OpenedKeys, last: int, as_json: bool, name: str | None) -> None:
    """Run ``trigate keys history``. With ``name``, only that client's changes count."""
    rows = _history_rows(await opened.store.changes(MOST_CHANGES))
    if name is not None and name not in (names := {row["name"] for row in rows}):
        near = nearest(name, names)
        advice = f"did you mean {near}?" if near else "trigate keys history shows all changes"
        raise CommandFailed(f"there is no change of a client {name[:200]}; {advice}")
    print_changes([row for row in rows if name in (None, row["name"])][-last:], _HISTORY_COLUMNS, as_json)


def _history_rows(changes: Iterable[KeyChange]) -> list[dict[str, Any]]:
    """Return a row for each change with the client's settings before and after it; ``None`` for no client.

    The settings before the first stored change of a client are unknown, and ``None`` too."""
    rows: list[dict[str, Any]] = []
    known: dict[str, Any] = {}
    for one in changes:
        settings = json.loads(one.about)
        before, after = (settings, None) if one.event == "revoked" else (known.get(one.name), settings)
        known[one.name] = after
        shown = {"at": time_text(one.at), "event": one.event, "name": one.name, "by": one.by}
        rows.append({**shown, "client": settings, "before": before, "after": after})
    return rows


async def write_changes(
    opened: OpenedKeys,
    event: KeyEvent,
    changes: Iterable[tuple[str, str | None, Mapping[str, Any] | None]],
    command: str,
    by: str | None = None,
    digests: Sequence[str] = (),
) -> None:
    """Write all changes by ``trigate keys COMMAND``, each with its row in the audit, or none.

    A change is a client's name, its stored text before, and its data after; ``None`` is no client. ``digests`` are
    those of new keys. Raises ``CommandFailed`` and ``StoreFull``."""
    now, author = time.time(), made_by(by)
    prepared = []
    for name, before, written in changes:
        entry = AuditEntry.of_command(f"keys {command} {name}", now, author)
        prepared.append(key_changes.client_change(entry, event, name, before, written, digests))
    try:
        await opened.store.change_all(prepared, at=now, by=author, is_patient=len(prepared) > 1)
    except Changed as changed:
        raise CommandFailed(_CHANGED.format(changed.args[0])) from None
    except KeyTaken as taken:
        raise CommandFailed(f"{taken.args[0]} has the same key: give each client its own") from None


# Writing


def check_keys_enabled(opened: OpenedKeys) -> None:
    """Check that gateways accept stored keys. Raises ``CommandFailed``."""
    if opened.config.stored_clients == "off":
        raise CommandFailed(_NOT_ENABLED.format(opened.config.path))


def _parse_amounts(option: str, words: Sequence[str]) -> dict[str, Any]:
    """Parse words of the form ``NAME=AMOUNT``. Raises ``CommandFailed``."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, amount = word.partition("=")
        if not equals or not amount:
            raise CommandFailed(f"{option} {word}: expected NAME=AMOUNT, such as {_SUCH_AS[option]}")
        found[name.strip()] = {"true": True, "false": False}.get(amount.strip(), amount.strip())
    return found


_SUCH_AS: Final = {"--ratelimit": "requests=600/m", "--limit": "in_flight=8"}


def expiry_of(until: str | None, lasting: str | None) -> dict[str, Any]:
    """Return the setting ``until`` for the options, or nothing. Raises ``CommandFailed`` and ``click.UsageError``."""
    if until is not None and lasting is not None:
        raise click.UsageError("--until and --for both set the expiry: give only one")
    if lasting is not None:
        return {"until": key_changes.time_after(_parse_seconds("--for", lasting))}
    if until is None:
        return {}
    try:
        read = read_item("", {"sha256": "0" * 64, "until": until}).until
    except ConfigError as error:
        wrong = error.mistakes[0]
        raise CommandFailed(f"--until: {wrong.found}; {wrong.expected}") from None
    return {} if read is None else {"until": spell_time(read)}


def _parse_seconds(option: str, text: str) -> float:
    """Parse a duration, which needs a unit. Raises ``CommandFailed``."""
    if text.strip().isdecimal():  # in a configuration it would be in seconds
        raise CommandFailed(f"{option}: {text} has no unit: write {text}d, {text}h or {text}m")
    try:
        return read_positive_duration(text)
    except Wrong as wrong:
        raise CommandFailed(f"{option}: {wrong.found}; expected a duration, such as 30d, 24h or 90m") from None


# Printing


def _print_new_key(name: str, key: str, client: ClientKey, as_json: bool) -> None:
    """Print a new key."""
    now = datetime.now(UTC)
    old = max((one.until for one in client.keys if one.until is not None and one.until > now), default=None)
    if as_json:
        ends = {"until": expiry_text(client.until), "old_keys_until": expiry_text(old)}
        click.echo(json.dumps({"name": name, "key": key, **ends}, indent=2, ensure_ascii=False))
        return
    say(
        f"The new key of {name} is below; gateways accept it within a second. trigate stores only its digest, so copy "
        "the key now."
        + (f" It expires on {spell_time(client.until)}." if client.until is not None else "")
        + (f" The old key stays valid until {spell_time(old)}." if old is not None else "")
    )
    click.echo(key)


def show_changed(client: ClientKey, sentence: str, as_json: bool) -> None:
    """Print the result of a change that created no key."""
    if as_json:
        click.echo(json.dumps(row_of(client, {}), indent=2, ensure_ascii=False))
    else:
        say(sentence)
