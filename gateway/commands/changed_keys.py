"""``trigate keys set`` and ``trigate keys import``: changes of stored clients that make no new key."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from gateway.commands.keys import (
    AskedClient,
    CommandFailed,
    OpenedKeys,
    check_name,
    check_taken,
    check_unshared,
    checked_client,
    ending_of,
    made_by,
    now_text,
    run_with_keys,
    show_changed,
    write_change,
)
from gateway.commands.terminal import say
from gateway.config.stored_keys import kept_of, read_item


def change(
    path: Path | None, name: str, asked: AskedClient, until: str | None, lasting: str | None, without: Sequence[str],
    as_json: bool, by: str | None,
) -> int:  # fmt: skip
    """Run ``trigate keys set`` and return its exit status."""

    async def work(opened: OpenedKeys) -> None:
        text = opened.known(name)
        kept = kept_of(name, text)
        read_item(name, kept["client"])
        new = {**asked.item(), **ending_of(until, lasting)}
        if both := sorted(new.keys() & set(without)):
            raise CommandFailed(f"{both[0]} is given, and removed with --without: leave out one")
        if not new and not without:
            raise CommandFailed("nothing to change: give an option such as --budget, --models, --until or --without")
        item = {key: value for key, value in {**kept["client"], **new}.items() if key not in without}
        if item == kept["client"]:
            raise CommandFailed(f"{name} is so already: nothing is changed")
        client = checked_client(name, item, opened.config)
        await write_change(opened, "changed", name, text, {**kept, "client": item}, by)
        show_changed(client, f"{name} is changed: {_listed(new, without)}. It holds within a second.", as_json)

    return run_with_keys(path, work)


def _listed(new: Mapping[str, Any], without: Sequence[str]) -> str:
    given = [f"{name} {_spelled(value)}" for name, value in new.items()]
    return ", ".join((*given, *(f"no {name}" for name in without)))


def _spelled(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={amount}" for name, amount in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)


def take_from_file(path: Path | None, file: Path, names: Sequence[str], by: str | None) -> int:
    """Run ``trigate keys import`` and return its exit status."""

    async def work(opened: OpenedKeys) -> None:
        check_taken(opened)
        items, left = _items(file, names)
        stored = [name for name in items if opened.item(name) is not None]
        new = {name: item for name, item in items.items() if name not in stored}
        holders: dict[bytes, str] = {}
        for name, item in new.items():  # all of them are good before the first one is stored
            _check(opened, name, item, holders)
        for name, item in new.items():
            kept = {"client": item, "added": now_text(), "by": made_by(by)}
            await write_change(opened, "added", name, None, kept, by)
        say(_report(opened, new, stored, left))

    return run_with_keys(path, work)


def _check(opened: OpenedKeys, name: str, item: Mapping[str, Any], holders: dict[bytes, str]) -> None:
    """Raises ``CommandFailed`` or ``ConfigError`` for a client that cannot be stored."""
    check_name(name)
    client = checked_client(name, item, opened.config, of_file=True)
    check_unshared(opened, client)
    for key in client.keys:
        if holders.setdefault(key.digest, name) != name:
            raise CommandFailed(f"{holders[key.digest]} and {name} have the same key: each client needs its own")


def _report(opened: OpenedKeys, new: Mapping[str, Any], stored: Sequence[str], left: Sequence[str]) -> str:
    said = [f"{len(new)} client{'' if len(new) == 1 else 's'} stored, with the keys that they have."]
    if stored:
        said.append(f"Stored already, and left as they are: {_first(stored)}.")
    if left:
        said.append(f"Not stored, because their keys are in variables or files: {_first(left)}.")
    in_file = {client.name for client in opened.config.client_keys if client.source == "file"}
    if doubled := [name for name in (*new, *stored) if name in in_file]:
        said.append(
            f"client_keys of {opened.config.path} still lists {_first(doubled)}, and the file goes before: take them "
            "out there and reload, then rotate and change them here."
        )
    return " ".join(said)


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", …" if names[10:] else "")


def _items(file: Path, names: Sequence[str]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the items of ``client_keys`` in ``file`` by name, with the digests of their keys, and the names of those
    whose keys are elsewhere. Raises ``CommandFailed``, also for one of these that is among ``names``."""
    try:
        content = yaml.safe_load(file.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise CommandFailed(f"{file} cannot be read as YAML: {str(error).splitlines()[0]}") from None
    listed = content.get("client_keys") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise CommandFailed(f"{file} has no client_keys: name a configuration that lists some")
    found: dict[str, dict[str, Any]] = {}
    left: list[str] = []
    for i, item in enumerate(listed):
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise CommandFailed(f"{file}: client_keys[{i}] has no name")
        if names and item["name"] not in names:
            continue
        try:
            found[item["name"]] = _with_digests(f"{file}: client_keys[{i}]", item)
        except _KeyElsewhere as error:
            if names:
                raise CommandFailed(str(error)) from None
            left.append(item["name"])
    if missing := [name for name in names if name not in found]:
        raise CommandFailed(f"{file} has no client called {missing[0]}")
    return found, left


class _KeyElsewhere(Exception):
    """A key of a file that is in a variable, or in a file of its own."""


def _with_digests(place: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item as it is stored: without its name, and with digests in place of keys."""
    listed = item.get("keys")
    keys = listed if isinstance(listed, list) else [{name: item[name] for name in ("key", "sha256") if name in item}]
    accepted = [_accepted(place, one) for one in keys if one]
    rest = {name: value for name, value in item.items() if name not in ("name", "key", "sha256", "keys")}
    return {**{name: _plain(value) for name, value in rest.items()}, **({"keys": accepted} if accepted else {})}


def _accepted(place: str, one: Any) -> dict[str, Any]:
    if not isinstance(one, dict):
        raise CommandFailed(f"{place}: a key must be a mapping with `sha256`")
    more = {name: value for name, value in one.items() if name != "key"}
    key = one.get("key")
    if key is None:
        return {name: _plain(value) for name, value in more.items()}
    if not isinstance(key, str) or "$" in key:
        raise _KeyElsewhere(
            f"{place}: its key is in a variable or a file: write its digest, sha256, which "
            '`printf %s "$KEY" | sha256sum` prints'
        )
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), **{name: _plain(value) for name, value in more.items()}}


def _plain(value: Any) -> Any:
    """Return ``value`` without YAML's dates, which JSON does not have."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.isoformat() if hasattr(value, "isoformat") else value
