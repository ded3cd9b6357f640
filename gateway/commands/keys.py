"""``trigate keys``: clients that may come in, beside those of the file, kept in the state storage.

A key is shown once, when it is made, and kept as its digest. Every process that serves takes a change in within a
second (``gateway/followed_keys.py``); who has made it is written down with it."""

import contextlib
import getpass
import hashlib
import json
import os
import secrets
import socket
import string
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import attrs
import click
import trio

from configfile.document import sentence
from configfile.kinds import read_wait
from configfile.wording import Wrong, nearest, spelled_time
from gateway.commands.check import load_or_explain
from gateway.commands.terminal import say
from gateway.config.clients import AcceptedKey, ClientKey
from gateway.config.loading import Config, ConfigError
from gateway.config.stored_keys import kept_of, new_client, read_item, stored_clients
from gateway.logs.masking import escape
from gateway.open_store import open_key_store
from gateway.stores.key_store import KeyEvent, KeyStore, KeyTable
from gateway.stores.store import Changed, Unavailable

PREFIX: Final = "sk-trigate-"
"""How keys begin: as programs expect them to, and as everybody's filters of secrets, ours too, know them again."""

_LETTERS: Final = string.ascii_letters + string.digits
_LENGTH: Final = 43  # letters of which each is one of 62: 256 bits
_LONGEST_NAME: Final = 128
MOST_KEYS: Final = 16
"""Keys of one client that are good at once."""

_NO_PLACE: Final = (
    "{}: state_storage is of a type that keeps no keys: give it `type: sqlite` with a path, or `type: postgres`, and "
    "write `stored_keys: true`"
)
_NOT_TAKEN: Final = (
    "{}: no gateway takes stored keys by this file: write `stored_keys: true` at its root and reload it, then try again"
)
_CHANGED: Final = "somebody else has changed {} at the same time: try again"


class CommandFailed(Exception):
    """The command cannot do what it was asked for; its text is for people."""


@attrs.frozen
class AskedClient:
    """What the command line says of a client."""

    group: str | None = None
    models: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ratelimits: tuple[str, ...] = ()
    budgets: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()

    def item(self) -> dict[str, Any]:
        """An item as one of ``client_keys`` is. Raises ``CommandFailed``."""
        given: dict[str, Any] = {
            "group": self.group,
            "models": list(self.models),
            "only": list(self.only),
            "ratelimits": _mapping("--ratelimit", self.ratelimits),
            "budgets": list(self.budgets),
            "limits": _mapping("--limit", self.limits),
        }
        return {name: value for name, value in given.items() if value}


@attrs.frozen
class OpenedKeys:
    """A configuration with its place for keys, and what is there."""

    config: Config
    store: KeyStore
    table: KeyTable

    def item(self, name: str) -> str | None:
        return next((one.item for one in self.table.clients if one.name == name), None)

    def clients(self) -> tuple[ClientKey, ...]:
        """Return the clients of the file and of the storage, without those that cannot be read."""
        items = []
        for one in self.table.clients:
            with contextlib.suppress(ConfigError):
                items.append(read_item(one.name, kept_of(one.name, one.item)["client"]))
        return stored_clients(items, self.config).beside(self.config).client_keys

    def known(self, name: str) -> str:
        """What is kept of a client. Raises ``CommandFailed``."""
        if (text := self.item(name)) is not None:
            return text
        if any(client.name == name for client in self.config.client_keys):
            raise CommandFailed(f"{name} is in {self.config.path}: change it there, and reload")
        near = nearest(name, (one.name for one in self.table.clients))
        raise CommandFailed(f"no stored key is called {name}" + (f"; did you mean {near}?" if near else ""))


def add(
    path: Path | None, name: str, asked: AskedClient, until: str | None, lasting: str | None, sha256: str | None,
    as_json: bool, by: str | None = None,
) -> int:  # fmt: skip
    """Run ``trigate keys add`` and return its exit status. ``sha256`` is the digest of a key that exists already."""

    async def work(opened: OpenedKeys) -> None:
        check_taken(opened)
        check_name(name)
        if opened.item(name) is not None:
            raise CommandFailed(f"there is a stored key of {name} already: rotate it, or give another name")
        key = new_key() if sha256 is None else None
        accepted = _accepted(key) if key is not None else {"sha256": (sha256 or "").lower()}
        item = {**asked.item(), **ending_of(until, lasting), "keys": [accepted]}
        client = checked_client(name, item, opened.config)
        check_unshared(opened, client)
        await write_change(opened, "added", name, None, {"client": item, "added": now_text(), "by": made_by(by)}, by)
        if key is None:
            show_changed(client, f"{name} may come in within a second, by the key of that digest.", as_json)
        else:
            _show(name, key, client, as_json)

    return run_with_keys(path, work)


def rotate(
    path: Path | None, name: str, keep_old: str, until: str | None, lasting: str | None, as_json: bool,
    by: str | None = None,
) -> int:  # fmt: skip
    """Run ``trigate keys rotate`` and return its exit status."""

    async def work(opened: OpenedKeys) -> None:
        text = opened.known(name)
        kept = kept_of(name, text)
        read_item(name, kept["client"])
        end = _after(_seconds("--keep-old", keep_old) if keep_old not in ("0", "0s") else 0.0)
        old = [_ended_by(one, end) for one in kept["client"]["keys"]]
        good = [one for one in old if one["until"] > now_text()]
        if len(good) >= MOST_KEYS:
            raise CommandFailed(
                f"{name} has {len(good)} keys already that are good: wait for the end of some, or revoke it"
            )
        key = new_key()
        item = {**kept["client"], **ending_of(until, lasting), "keys": [*good, _accepted(key)]}
        client = checked_client(name, item, opened.config)
        await write_change(opened, "rotated", name, text, {**kept, "client": item}, by)
        _show(name, key, client, as_json)

    return run_with_keys(path, work)


def revoke(path: Path | None, name: str, by: str | None = None) -> int:
    """Run ``trigate keys revoke`` and return its exit status."""

    async def work(opened: OpenedKeys) -> None:
        text = opened.known(name)
        await write_change(opened, "revoked", name, text, None, by)
        say(f"{name} is revoked: within a second no gateway lets it in any longer. What is under way is answered.")

    return run_with_keys(path, work)


def show_list(path: Path | None, as_json: bool) -> int:
    """``trigate keys list``: the exit status."""

    async def work(opened: OpenedKeys) -> None:
        rows = _rows(opened)
        if as_json:
            click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
            return
        _table(("name", "from", "state", "group", "models", "limits", "until", "added", "by"), map(_cells, rows))
        if opened.config.stored_keys == "off":
            say(_NOT_TAKEN.format(opened.config.path))

    return run_with_keys(path, work)


def history(path: Path | None, most: int, as_json: bool) -> int:
    """``trigate keys history``: the exit status."""

    async def work(opened: OpenedKeys) -> None:
        changes = await opened.store.changes(most)
        rows = [{"at": _time(one.at), "event": one.event, "name": one.name, "by": one.by} for one in changes]
        if as_json:
            told = [{**row, "client": json.loads(one.about)} for row, one in zip(rows, changes, strict=True)]
            click.echo(json.dumps(told, indent=2, ensure_ascii=False))
            return
        _table(("at", "event", "name", "by"), (tuple(row.values()) for row in rows))

    return run_with_keys(path, work)


def new_key() -> str:
    """A key that nobody can guess."""
    return PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def made_by(by: str | None = None) -> str:
    """Return who makes a change: the user of this machine, with the name before sudo. A program that acts for somebody
    says for whom with ``by``; the user remains part of the text, because anybody can write any name."""
    if by is not None:
        check_name(by, "--by")
        return f"{by} via {made_by()}"
    try:
        user = getpass.getuser() if os.name != "posix" else _posix_user()
    except (KeyError, OSError):  # a container may run with a number that has no name
        user = f"user {os.getuid()}"
    return f"{user}@{socket.gethostname()}"


def _posix_user() -> str:
    import pwd

    uid = os.getuid()
    name = pwd.getpwuid(uid).pw_name
    before = os.environ.get("SUDO_USER") if uid == 0 else None
    return f"{before} (sudo)" if before else name


# Running


def run_with_keys(path: Path | None, work: Callable[[OpenedKeys], Awaitable[None]]) -> int:
    config = load_or_explain(path, within=("state_storage",))
    if config is None:
        return 1
    try:
        trio.run(_with_store, config, work)
    except ConfigError as error:
        say(error.listed("mistakes"))
    except (CommandFailed, Unavailable) as error:
        say(sentence(str(error)))
    else:
        return 0
    return 1


async def _with_store(config: Config, work: Callable[[OpenedKeys], Awaitable[None]]) -> None:
    store = open_key_store(config)
    if store is None:
        raise CommandFailed(_NO_PLACE.format(config.path))
    try:
        await work(OpenedKeys(config, store, await store.read()))
    finally:
        await store.aclose()


async def write_change(
    opened: OpenedKeys, event: KeyEvent, name: str, expect: str | None, item: Any, by: str | None = None
) -> None:
    """Write one change of a client. Raises ``CommandFailed``."""
    text = None if item is None else json.dumps(item, ensure_ascii=False)
    about = {key: value for key, value in (item or _readable(name, expect))["client"].items() if key != "keys"}
    try:
        await opened.store.change(
            event, name, expect, text, at=time.time(), by=made_by(by), about=json.dumps(about, ensure_ascii=False)
        )
    except Changed:
        raise CommandFailed(_CHANGED.format(name)) from None


def _readable(name: str, text: str | None) -> Mapping[str, Any]:
    """What is kept of a client, as far as it can be read: in any case it can be revoked."""
    try:
        return kept_of(name, text or "")
    except ConfigError:
        return {"client": {}}


# What is written


def check_taken(opened: OpenedKeys) -> None:
    """Check that gateways accept stored keys. Raises ``CommandFailed``."""
    if opened.config.stored_keys == "off":
        raise CommandFailed(_NOT_TAKEN.format(opened.config.path))


def check_name(name: str, what: str = "a name") -> None:
    """Raises ``CommandFailed``."""
    if not name or len(name) > _LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise CommandFailed(f"{what} is printable text of {_LONGEST_NAME} characters at most, as it stands in the log")


def check_unshared(opened: OpenedKeys, client: ClientKey) -> None:
    """Check that no other client has a key of ``client``. Raises ``CommandFailed``."""
    holders = {key.digest: other.name for other in opened.clients() for key in other.keys if other.name != client.name}
    if taken := [holders[key.digest] for key in client.keys if key.digest in holders]:
        raise CommandFailed(f"the key of {client.name} is the key of {taken[0]} already: each client needs its own")


def checked_client(name: str, item: Mapping[str, Any], config: Config, *, of_file: bool = False) -> ClientKey:
    """Return the client of an item. Raises ``ConfigError`` for what a file may not have either, and ``CommandFailed``
    for an end in the past."""
    client = new_client(read_item(name, item), config, of_file=of_file)
    if client.until is not None and client.until <= datetime.now(UTC):
        raise CommandFailed(
            f"{name} ends on {spelled_time(client.until)}, which has been: give another end by --until or --for"
        )
    return client


def _mapping(option: str, words: Sequence[str]) -> dict[str, Any]:
    """``NAME=AMOUNT`` each. Raises ``CommandFailed``."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, amount = word.partition("=")
        if not equals or not amount:
            raise CommandFailed(f"{option} {word}: write NAME=AMOUNT, as in {_SUCH_AS[option]}")
        found[name.strip()] = {"true": True, "false": False}.get(amount.strip(), amount.strip())
    return found


_SUCH_AS: Final = {"--ratelimit": "requests=600/m", "--limit": "in_flight=8"}


def ending_of(until: str | None, lasting: str | None) -> dict[str, Any]:
    """Raises ``CommandFailed``."""
    if lasting is not None:
        return {"until": _after(_seconds("--for", lasting))}
    if until is None:
        return {}
    try:
        read = read_item("", {"sha256": "0" * 64, "until": until}).until
    except ConfigError as error:
        wrong = error.mistakes[0]
        raise CommandFailed(f"--until: {wrong.found}; {wrong.expected}") from None
    return {} if read is None else {"until": spelled_time(read)}


def _seconds(option: str, text: str) -> float:
    """Raises ``CommandFailed``."""
    try:
        return read_wait(text)
    except Wrong as wrong:
        raise CommandFailed(f"{option}: {wrong.found}; this must be a duration such as 30d, 24h or 90m") from None


def _after(seconds: float) -> str:
    """Raises ``CommandFailed`` for what is beyond the year 9999."""
    try:
        return spelled_time((datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0))
    except OverflowError:
        raise CommandFailed("that is too long: leave the end out for a key without one") from None


def _accepted(key: str) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(key.encode()).hexdigest()}


def _ended_by(accepted: Mapping[str, Any], end: str) -> dict[str, Any]:
    """A key that is good to ``end`` at most. Times in UTC of one form are in the order of their texts."""
    return {**accepted, "until": min(accepted.get("until", end), end)}


def now_text() -> str:
    return _time(time.time())


def _time(seconds: float) -> str:
    return spelled_time(datetime.fromtimestamp(int(seconds), UTC))


# What is shown


def _show(name: str, key: str, client: ClientKey, as_json: bool) -> None:
    """Print the key, the only time that anybody sees it."""
    now = datetime.now(UTC)
    old = max((one.until for one in client.keys if one.until is not None and one.until > now), default=None)
    if as_json:
        ends = {"until": _end(client.until), "old_keys_until": _end(old)}
        click.echo(json.dumps({"name": name, "key": key, **ends}, indent=2, ensure_ascii=False))
        return
    say(
        f"{name} may come in within a second, by the key below. It is shown this once, and kept as its digest alone."
        + (f" It ends on {spelled_time(client.until)}." if client.until is not None else "")
        + (f" The old key is good until {spelled_time(old)}." if old is not None else "")
    )
    click.echo(key)


def show_changed(client: ClientKey, sentence: str, as_json: bool) -> None:
    """Print what a client may use after a change that made no key."""
    if as_json:
        click.echo(json.dumps(row_of(client, {}), indent=2, ensure_ascii=False))
    else:
        say(sentence)


def _end(end: datetime | None) -> str | None:
    return None if end is None else spelled_time(end)


def _rows(opened: OpenedKeys) -> list[dict[str, Any]]:
    """What is known of each client, but for keys: of the file first."""
    kept = {one.name: _readable(one.name, one.item) for one in opened.table.clients}
    items, refused = [], {}
    for stored in opened.table.clients:
        name = stored.name
        try:
            items.append(read_item(name, kept_of(name, stored.item)["client"]))
        except ConfigError as error:
            refused[name] = str(error)
    found = stored_clients(items, opened.config)
    rows = [row_of(client, kept.get(client.name, {}) if client.source != "file" else {})
            for client in found.beside(opened.config).client_keys]  # fmt: skip
    for name, why in {**refused, **found.refused}.items():
        rows.append({**row_of(ClientKey(name, source="state storage"), kept[name]), "state": "refused", "why": why})
    return rows


def row_of(client: ClientKey, kept: Mapping[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "name": client.name,
        "from": client.source,
        "state": _state(client, now),
        "group": None if client.group is None else client.group.name,
        "models": client.models,
        "group_models": None if client.group is None else client.group.models,
        "only": client.only,
        "ratelimits": _amounts(client.ratelimits),
        "budgets": [budget.text for budget in client.budgets],
        "limits": _amounts(client.limits),
        "until": _end(client.until),
        "keys": [{"until": _end(key.until), "ended": _has_ended(key, now)} for key in client.keys],
        "added": kept.get("added"),
        "by": kept.get("by"),
    }


def _amounts(limits: Any) -> dict[str, Any]:
    """What is given of the rates or the shares of a client, as the file spells it."""
    given = ((name, getattr(limits, name)) for name in attrs.fields_dict(type(limits)))
    return {name: getattr(value, "text", value) for name, value in given if value is not None and value is not False}


def _has_ended(key: AcceptedKey, now: datetime) -> bool:
    return key.until is not None and key.until <= now


def _state(client: ClientKey, now: datetime) -> str:
    over = client.until is not None and client.until <= now
    all_over = bool(client.keys) and all(_has_ended(key, now) for key in client.keys)
    return "ended" if over or all_over else "good"


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    amounts = {**row["ratelimits"], **row["limits"]}
    limits = [*(f"{name}={amount}" for name, amount in amounts.items()), *row["budgets"]]
    old = [key["until"] for key in row["keys"] if key["until"] and not key["ended"]]
    state = f"{row['state']}: {row['why']}" if "why" in row else row["state"]
    if old and len(row["keys"]) > 1:
        state += f", an old key until {max(old)}"
    allowed = row["group_models"] if row["models"] is None else row["models"]
    models = "all" if allowed is None else ", ".join(allowed)
    words = (row["name"], row["from"], state, row["group"], models, ", ".join(limits))
    return (*(word or "-" for word in words), *(row[name] or "-" for name in ("until", "added", "by")))


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> None:
    """Print rows in columns as wide as what is in them."""
    lines = [head, *(tuple(escape(str(cell)) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        click.echo(click.style(text, bold=True) if line is head else text)
