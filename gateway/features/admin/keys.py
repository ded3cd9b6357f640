"""The clients of the file and of the storage: lists, changes and new keys."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import attrs

from configfile.kinds import read_positive_duration
from configfile.wording import Wrong, time_text
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.features.admin.calls import AdminAnswer, AdminCall, ApiCalls, OtherKeys, in_thread
from gateway.features.admin.client_rows import client_rows, client_state, expiry_text, row_of
from gateway.features.admin.errors import conflict
from gateway.features.admin.key_changes import (
    KeyedClient,
    added_client,
    changed_client,
    kind_of,
    rotated_client,
    stored_or_empty,
    stored_settings,
)
from gateway.features.admin.key_items import NewItem, build_or_refuse, check_lead_change, read_new_item
from gateway.features.admin.key_storage import (
    changeable_text,
    check_unused,
    current_config,
    refresh_keys,
    stored_creations,
    stored_group,
    stored_keys_of,
    stored_texts,
    taken_key_error,
    unknown_key,
    write_client,
)
from gateway.features.admin.pages import first_page, is_newest_first, items_after, read_period
from streams.errors import invalid

KEEP_OLD: Final = "24h"
"""How long a rotated key stays valid by default."""

_NO_CHANGE: Final = "PUT changes no key: create a new one with POST …/{}/rotate"
_STATES: Final = ("good", "ended", "refused")


async def list_keys(call: AdminCall) -> AdminAnswer:
    """List the clients that the caller sees, by name, or the newest first."""
    await refresh_keys(call)
    others = [keys for part in call.parts if (keys := await part.read_keys(call)) is not None]
    page, rows, following = await in_thread(partial(_page, call, others))
    for keys in others:
        rows |= await keys.rows([name for name in page if name in keys.keys])
    return AdminAnswer.page([rows[name] for name in page], following)


async def show_key(call: AdminCall) -> AdminAnswer:
    await refresh_keys(call)
    name = call.names["name"]
    if (part := _part_with_key(call, name)) is not None:
        keys = await part.read_keys(call)
        row = (await keys.rows([name]))[name] if keys is not None and keys.sees(name) else None
    else:
        row = await in_thread(partial(_visible_row, call, name))
    if row is None:
        raise unknown_key(name)
    text = stored_texts(call).get(name)
    if text is not None and row["from"] != "file":
        row = {**row, "settings": stored_settings(name, text)}
    return AdminAnswer(row, stored=text)


def _part_with_key(call: AdminCall, name: str) -> ApiCalls | None:
    """Return the addition to the API that has keys with names such as ``name``."""
    return next((part for part in call.parts if part.has_key_name(call.config, name)), None)


async def put_key(call: AdminCall) -> AdminAnswer:
    """Create a client, or replace the settings of one. Its key is in the response only when it is created."""
    name = call.names["name"]
    stored = await store_client(call, name, read_new_item(name, await call.body()))
    return AdminAnswer(_row_with_key(stored.made), 201 if stored.is_new else 200, stored=stored.text)


@attrs.frozen(eq=False, repr=False)
class StoredClient:
    """A client after a change, which is stored as ``text``."""

    made: KeyedClient
    text: str | None
    is_new: bool = False


async def store_client(call: AdminCall, name: str, new: NewItem) -> StoredClient:
    """Create the client ``name``, or replace its settings. Raises ``GatewayError``."""
    text = await changeable_text(call, name)
    call.check_match(text, "client")
    if text is None:
        await check_unused(call, name)
        made = await _build(call, lambda config: added_client(name, new.settings, new.keys, config, call.author))
        text = await write_client(call, name, None, made.written, "added", 201, made.digests)
        return StoredClient(made, text, is_new=True)
    kept = stored_or_empty(name, text)
    accepted = stored_keys_of(name, kept)
    if not new.digests <= {one["sha256"] for one in accepted}:
        raise conflict(_NO_CHANGE.format(name), "key_differs")
    if not accepted and new.settings.get("certificate") is None:
        raise conflict(f"{name} has only its certificate: keep `certificate`. {_NO_CHANGE.format(name)}", "key_differs")
    made = await _build(call, lambda config: changed_client(name, kept, {**new.settings, "keys": accepted}, config))
    if made.written != kept:
        text = await write_client(call, name, text, made.written, "changed", 200)
    return StoredClient(made, text)


async def delete_key(call: AdminCall) -> AdminAnswer:
    """Revoke all keys of a client, or the key that a person has made."""
    name = call.names["name"]
    if (part := _part_with_key(call, name)) is not None:
        return await part.delete_key(call, name)
    await write_client(call, name, await _stored_text(call, name), None, "revoked", 204)
    return AdminAnswer(status=204)


async def rotate_key(call: AdminCall) -> AdminAnswer:
    """Create a new key for a client. The old keys stay valid for ``keep_old``."""
    name, body = call.names["name"], await call.body("keep_old", "sha256", is_optional=True)
    keep_old = _keep_old(body.get("keep_old", KEEP_OLD))
    given = read_new_item(name, {"sha256": body["sha256"]} if "sha256" in body else {})
    text = await _stored_text(call, name)
    kept, accepted = stored_or_empty(name, text), next(iter(given.keys), None)
    rotated = await _build(call, lambda config: rotated_client(name, kept, accepted, keep_old, config))
    after = await write_client(call, name, text, rotated.written, "rotated", 200, rotated.digests[-1:])
    until = max((one.until for one in rotated.client.keys[:-1] if one.until is not None), default=None)
    return AdminAnswer({**_row_with_key(rotated), "old_keys_until": expiry_text(until)}, stored=after)


def _row_with_key(made: KeyedClient) -> dict[str, Any]:
    return {**row_of(made.client, made.written), **({} if made.key is None else {"key": made.key})}


async def _stored_text(call: AdminCall, name: str) -> str:
    """Return the stored text of a client to change, which must be the version that the caller read.

    Raises ``GatewayError`` (403, 404, 409)."""
    text = await changeable_text(call, name)
    if text is None:
        raise unknown_key(name)
    call.check_match(text, "client")
    return text


async def _build(call: AdminCall, make: Callable[[Config], KeyedClient]) -> KeyedClient:
    """Return the client that ``make`` returns under the present configuration, if the caller may make it.

    Raises ``GatewayError``."""
    config = current_config(call)

    def build() -> KeyedClient:
        made = build_or_refuse(lambda: make(config))
        _check_allowed(call, made.client, config)
        return made

    return await in_thread(build)


def _check_allowed(call: AdminCall, client: ClientKey, config: Config) -> None:
    """Check that the caller may make ``client``, and that no other client has its keys. Raises ``GatewayError``."""
    check_lead_change(call.caller, client, config)
    others = [other for other in config.client_keys if other.name != client.name]
    holders = {one: other.name for other in others for one in other.credentials}
    for one in client.credentials:
        if one in holders:
            raise taken_key_error(call, holders[one], kind_of(one))


def _keep_old(text: Any) -> float:
    if text in (0, "0", "0s"):
        return 0.0
    try:
        return read_positive_duration(text)
    except Wrong as wrong:
        raise invalid(f"keep_old: {wrong.found}; expected a duration, such as 24h, or 0", "keep_old") from None


def _page(call: AdminCall, others: Sequence[OtherKeys]) -> tuple[Sequence[str], dict[str, dict[str, Any]], str | None]:
    """Return the names on the page of visible keys that the query selects, the rows of those that are not in
    ``others``, and the ``after`` of the next page."""
    config, texts = current_config(call), stored_texts(call)
    group, state = call.query.get("group"), call.query.get("state")
    if state is not None and state not in _STATES:
        raise invalid(f"state must be one of {', '.join(_STATES)}", "state")
    clients = {client.name: client for client in config.client_keys}
    groups = {name: client.group_name for name, client in clients.items()}
    for name in texts.keys() - clients.keys():
        groups[name] = stored_group(name, texts[name])
    names = [name for name, one in groups.items() if call.caller.sees_group(one) and (group is None or one == group)]
    owners = {name: keys for keys in others for name in keys.names(group)}
    names += owners

    search, who, now = call.query.get("search", "").lower(), call.query.get("who"), datetime.now(UTC)
    newest, (since, until) = is_newest_first(call.query, "name"), read_period(call.query, call.config)

    def has_state(name: str) -> bool:
        if name in owners:
            return owners[name].has_state(name, str(state))
        return ("refused" if name not in clients else client_state(clients[name], now)) == state

    if search:
        names = [name for name in names if search in name.lower()]
    first, last = time_text(since), time_text(until) if "until" in call.query else "~"
    times = {}
    if newest or who or "since" in call.query or "until" in call.query:
        stored = stored_creations(call)
        facts = {
            name: owners[name].creation_of(name) if name in owners else stored.get(name, ("", "")) for name in names
        }
        names = [name for name, (at, by) in facts.items() if who in (None, "", by) and first <= (at or first) < last]
        if "since" in call.query or "until" in call.query:
            names = [name for name in names if facts[name][0]]
        times = {name: at for name, (at, _) in facts.items()}

    def key(name: str) -> str:
        return f"{times[name]} {name}" if newest else name

    ordered = items_after(names, call.query, key, newest=newest)
    wanted = ordered if state is None else filter(has_state, ordered)
    page, following = first_page(wanted, call.page_size, key)
    return page, {name: _row(name, clients, texts, config) for name in page if name not in owners}, following


def _visible_row(call: AdminCall, name: str) -> dict[str, Any] | None:
    config, texts = current_config(call), stored_texts(call)
    clients = {client.name: client for client in config.client_keys if client.name == name}
    if name in clients:
        group = clients[name].group_name
    elif name in texts:
        group = stored_group(name, texts[name])
    else:
        return None
    return _row(name, clients, texts, config) if call.caller.sees_group(group) else None


def _row(name: str, clients: Mapping[str, ClientKey], texts: Mapping[str, str], config: Config) -> dict[str, Any]:
    client = clients.get(name)
    if client is None:
        return next(row for row in client_rows([(name, texts[name])], config) if row["name"] == name)
    kept = stored_or_empty(name, texts[name]) if client.source != "file" and name in texts else {}
    return row_of(client, kept)
