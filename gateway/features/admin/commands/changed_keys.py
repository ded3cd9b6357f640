"""``trigate keys set`` and ``trigate keys import``: changes of stored clients that create no key."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml

from configfile.document import ConfigError
from configfile.users_files import read_file
from gateway.commands.storage_changes import CommandFailed, made_by, value_text
from gateway.commands.terminal import count_text, say, some_of
from gateway.features.admin.commands.key_tables import FoundClients, read_key_table
from gateway.features.admin.commands.keys import (
    OpenedKeys,
    check_keys_enabled,
    expiry_of,
    on_keys,
    settings_of,
    show_changed,
    write_changes,
)
from gateway.features.admin.key_changes import (
    changed_client,
    check_unshared,
    checked_client,
    holders_of,
    now_text,
)
from gateway.features.admin.stored_clients import parse_stored, read_item
from gateway.stores.errors import ChangeRejected
from gateway.stores.store import check_name


@on_keys
async def change(
    opened: OpenedKeys, /, name: str, until: str | None, lasting: str | None, without: Sequence[str], by: str | None,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Run ``trigate keys set``."""
    text = opened.stored_text(name)
    kept = parse_stored(name, text)
    read_item(name, kept["client"])
    new = {**settings_of(**options), **expiry_of(until, lasting)}
    if both := sorted(new.keys() & set(without)):
        raise CommandFailed(f"{both[0]} is both set and removed by --without: give only one")
    if not new and not without:
        raise CommandFailed("nothing to change: add an option, such as --budget, --models, --until or --without")
    item = {key: value for key, value in {**kept["client"], **new}.items() if key not in without}
    if item == kept["client"]:
        raise CommandFailed(f"nothing changed: {name} has these settings already")
    made = changed_client(name, kept, item, opened.config)
    await write_changes(opened, "changed", [(name, text, made.written)], "set", by)
    sentence = f"Changed {name}: {_describe_changes(new, without)}. Gateways apply it within a second."
    show_changed(made.client, sentence, as_json)


def _describe_changes(new: Mapping[str, Any], without: Sequence[str]) -> str:
    changed = [f"{name} {value_text(value)}" for name, value in new.items()]
    return ", ".join((*changed, *(f"no {name}" for name in without)))


@on_keys
async def import_clients(opened: OpenedKeys, file: Path, names: Sequence[str], by: str | None) -> None:
    """Run ``trigate keys import``, with ``names`` for these clients only."""
    check_keys_enabled(opened)
    found = read_key_table(file) if file.suffix.lower() == ".csv" else _read_clients(file, names)
    if missing := [name for name in names if name not in found.items and name not in found.skipped]:
        raise CommandFailed(f"{file} has no client with the name {missing[0]}")
    items = {name: item for name, item in found.items.items() if not names or name in names}
    known = {one.name for one in opened.table.clients}
    stored = [name for name in items if name in known]
    new = {name: item for name, item in items.items() if name not in known}
    holders = holders_of(opened.clients())
    for name, item in new.items():  # check all before storing the first one
        _check_row(opened, name, item, holders, found.places.get(name))
    kept = {"added": now_text(), "by": made_by(by)}
    changes = [(name, None, {"client": item, **kept}) for name, item in new.items()]
    await write_changes(opened, "added", changes, "import", by)
    sentences = [f"Stored {count_text(len(new), 'client')}; the keys stay the same."]
    skipped = [name for name in found.skipped if not names or name in names]
    for reason, left_out in (("they are stored already", stored), (found.why_skipped, skipped)):
        if left_out:
            sentences.append(f"Skipped, because {reason}: {some_of(left_out)}.")
    if found.unknown:
        sentences.append(f"Columns that changed nothing: {some_of(found.unknown)}.")
    in_file = {client.name for client in opened.config.client_keys if client.source == "file"}
    if doubled := [name for name in (*new, *stored) if name in in_file]:
        sentences.append(
            f"client_keys in {opened.config.path} still lists {some_of(doubled)}, and the file has precedence: "
            "remove them there and reload; then you can rotate and change them here."
        )
    say(" ".join(sentences))


def _check_row(
    opened: OpenedKeys, name: str, item: Mapping[str, Any], holders: dict[bytes | str, str], place: str | None
) -> None:
    """Check that a client can be stored. Raises as ``_check`` does, with the ``place`` of a row."""
    try:
        _check(opened, name, item, holders)
    except (ConfigError, CommandFailed, ChangeRejected) as error:
        if place is None:
            raise
        if not isinstance(error, ConfigError):
            raise CommandFailed(f"{place}: {error}") from None
        wrong = "; ".join(f"`{one.path}`: {one.found}; {one.expected}" for one in error.mistakes)
        raise CommandFailed(f"{place}: {wrong}") from None


def _check(opened: OpenedKeys, name: str, item: Mapping[str, Any], holders: dict[bytes | str, str]) -> None:
    """Check that a client can be stored, and add it to ``holders``. Raises ``ChangeRejected`` and ``ConfigError``."""
    check_name(name)
    client = checked_client(name, item, opened.config, of_file=True)
    check_unshared(client, holders)
    holders.update(holders_of((client,)))


def _read_clients(file: Path, names: Sequence[str]) -> FoundClients:
    """Return the ``client_keys`` in ``file`` with digests instead of keys. Those whose keys are elsewhere are skipped.

    Raises ``CommandFailed``, also if the key of a client in ``names`` is elsewhere."""
    try:
        content = msgspec.to_builtins(yaml.safe_load(read_file(file)), str_keys=True)  # with dates as text
    except (OSError, ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise CommandFailed(
            f"cannot read {file} as YAML: {getattr(error, 'strerror', None) or str(error).splitlines()[0]}"
        ) from None
    listed = content.get("client_keys") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise CommandFailed(f"{file} has no client_keys: give a configuration that has some")
    items: dict[str, dict[str, Any]] = {}
    skipped: list[str] = []
    for i, item in enumerate(listed):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise CommandFailed(f"{file}: `client_keys[{i}]` has no name: add `name`")
        try:
            items[item["name"]] = _with_digests(f"{file}: `client_keys[{i}]`", item)
        except _KeyElsewhere as error:
            if item["name"] in names:
                raise CommandFailed(str(error)) from None
            skipped.append(item["name"])
    return FoundClients(items, skipped, "their keys are in variables or files")


class _KeyElsewhere(Exception):
    """An error: the key of a client is in an environment variable or in another file."""


def _with_digests(place: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored form of an item: without its name, and with digests instead of keys."""
    listed = item.get("keys")
    keys = listed if isinstance(listed, list) else [{name: item[name] for name in ("key", "sha256") if name in item}]
    accepted = [_accepted_key(place, one) for one in keys if one]
    rest = {name: value for name, value in item.items() if name not in ("name", "key", "sha256", "keys")}
    return {**rest, **({"keys": accepted} if accepted else {})}


def _accepted_key(place: str, one: Any) -> dict[str, Any]:
    if not isinstance(one, dict):
        raise CommandFailed(f"{place}: expected each of `keys` to be a mapping with `sha256`")
    more = {name: value for name, value in one.items() if name != "key"}
    key = one.get("key")
    if key is None:
        return more
    if not isinstance(key, str) or "$" in key:
        raise _KeyElsewhere(
            f"{place}: the key is in a variable or a file: replace it by `sha256`, the digest that "
            '`printf %s "$KEY" | sha256sum` prints'
        )
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), **more}
