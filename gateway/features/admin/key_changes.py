"""Changes of stored clients: new keys and the checks of a change, for ``trigate keys`` and for the HTTP API.

A key is shown once, when it is created, and stored as a digest."""

import hashlib
import json
import secrets
import string
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs

from configfile.document import ConfigError
from configfile.wording import spell_time, time_text
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.features.admin.key_store import ItemChange, KeyEvent
from gateway.features.admin.stored_clients import new_client, parse_stored, read_item
from gateway.stores.database import Session
from gateway.stores.errors import ChangeRejected
from gateway.stores.record_tables import AuditEntry, RightsTables

PREFIX: Final = "sk-trigate-"
"""The prefix of keys: clients expect it, and secret scanners recognise it."""

_LETTERS: Final = string.ascii_letters + string.digits
_LENGTH: Final = 43  # 62 ** 43 is about 256 bits
MOST_KEYS: Final = 16
"""The maximum number of valid keys of one client."""


class TooManyKeys(ChangeRejected):
    """A new key for a client that has the maximum number of valid keys."""


def new_key() -> str:
    """Return a new random key."""
    return PREFIX + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def accepted_item(key: str) -> dict[str, Any]:
    """Return the stored form of ``key``, an item of ``keys``."""
    return {"sha256": hashlib.sha256(key.encode()).hexdigest()}


def checked_client(name: str, item: Mapping[str, Any], config: Config, *, of_file: bool = False) -> ClientKey:
    """Return the client of an item. Raises ``ConfigError`` like a file, and ``ChangeRejected`` if it has expired."""
    client = new_client(read_item(name, item), config, of_file=of_file)
    if client.until is not None and client.until <= datetime.now(UTC):
        raise ChangeRejected(f"{name} would expire in the past, on {spell_time(client.until)}: set a later time")
    return client


def built_client(name: str, item: Mapping[str, Any], config: Config) -> tuple[ClientKey, dict[str, Any]]:
    """Return the client of an item, and its stored form, with equal spellings of times. Raises as ``checked_client``
    does."""
    written = {member: value for member, value in item.items() if value != [] or member != "keys"}
    client = checked_client(name, written, config)
    keys = [
        {"sha256": key.digest.hex(), **({} if key.until is None else {"until": spell_time(key.until)})}
        for key in client.keys
    ]
    until = {} if client.until is None else {"until": spell_time(client.until)}
    rest = {member: value for member, value in written.items() if member != "keys"}
    return client, {**rest, **until, **({"keys": keys} if keys else {})}


@attrs.frozen(eq=False, repr=False)
class KeyedClient:
    """A client that gets a key: its stored data ``written``, and the ``key`` if it was created and not given."""

    client: ClientKey
    written: Mapping[str, Any]
    key: str | None

    @property
    def digests(self) -> list[str]:
        """The digests of all its keys."""
        return [one["sha256"] for one in self.written["client"].get("keys", ())]


def added_client(
    name: str, settings: Mapping[str, Any], given: Sequence[Mapping[str, Any]], config: Config, author: str
) -> KeyedClient:
    """Return a new client with the ``given`` keys, or with a new one unless it has a certificate.

    Raises ``ConfigError`` and ``ChangeRejected``."""
    key = new_key() if not given and settings.get("certificate") is None else None
    keys = list(given) if key is None else [accepted_item(key)]
    client, item = built_client(name, {**settings, "keys": keys}, config)
    return KeyedClient(client, {"client": item, "added": now_text(), "by": author}, key)


def changed_client(name: str, kept: Mapping[str, Any], item: Mapping[str, Any], config: Config) -> KeyedClient:
    """Return the client stored as ``kept`` with another ``item``. Raises ``ConfigError`` and ``ChangeRejected``."""
    client, item = built_client(name, item, config)
    return KeyedClient(client, {**kept, "client": item}, None)


def rotated_client(
    name: str, kept: Mapping[str, Any], given: Mapping[str, Any] | None, keep_old: float, config: Config,
    settings: Mapping[str, Any] = {},
) -> KeyedClient:  # fmt: skip
    """Return the client stored as ``kept`` with the ``given`` key or a new one, and with other ``settings``.

    The old keys expire after ``keep_old`` seconds. Raises ``ConfigError`` and ``ChangeRejected``."""
    key = new_key() if given is None else None
    accepted = given if key is None else accepted_item(key)
    keys = rotated_keys(read_item(name, kept["client"]), accepted or {}, keep_old)
    changed = changed_client(name, kept, {**kept["client"], **settings, "keys": keys}, config)
    return attrs.evolve(changed, key=key)


def holders_of(clients: Iterable[ClientKey]) -> dict[bytes | str, str]:
    """Return the name of the client for each key and certificate of ``clients``."""
    return {one: client.name for client in clients for one in client.credentials}


def check_unshared(client: ClientKey, holders: Mapping[bytes | str, str]) -> None:
    """Check that ``client`` shares no key or certificate with another client. Raises ``ChangeRejected``."""
    for one in client.credentials:
        if holders.get(one, client.name) != client.name:
            kind = kind_of(one)
            raise ChangeRejected(f"{client.name} and {holders[one]} have the same {kind}: give each client its own")


def kind_of(credential: bytes | str) -> str:
    """Return the word for one of a client's ``credentials``."""
    return "key" if isinstance(credential, bytes) else "certificate"


def rotated_keys(client: ClientKey, new: Mapping[str, Any], keep_old: float) -> list[Any]:
    """Return the stored keys of ``client`` with the ``new`` one; the old ones expire after ``keep_old`` seconds.

    Raises ``ChangeRejected`` if too many are valid."""
    now = datetime.now(UTC)
    end = _moment_after(keep_old)
    old = [(key.digest, end if key.until is None else min(key.until, end)) for key in client.keys]
    good = [{"sha256": digest.hex(), "until": spell_time(until)} for digest, until in old if until > now]
    if len(good) >= MOST_KEYS:
        raise TooManyKeys(
            f"{client.name} has {len(good)} valid keys, the maximum: wait until one expires, or revoke the client"
        )
    return [*good, dict(new)]


def described_settings(name: str, text: str | None) -> str:
    """Return the settings in the stored ``text`` of a client without its keys, for the record of a change.

    Unreadable text has none, so that such a client can still be revoked."""
    return json.dumps(stored_settings(name, text), ensure_ascii=False)


def audited_client(name: str, text: str | None) -> dict[str, Any] | None:
    """Return the record of a client, stored as ``text``, in the audit: its settings without its keys.

    ``None`` is no client."""
    return None if text is None else {"name": name, **stored_settings(name, text)}


def stored_settings(name: str, text: str | None) -> dict[str, Any]:
    """Return the settings of a client, stored as ``text``, without its keys."""
    return {key: value for key, value in stored_or_empty(name, text)["client"].items() if key != "keys"}


def stored_or_empty(name: str, text: str | None) -> Mapping[str, Any]:
    """Return the stored data of a client, empty if it is unreadable."""
    try:
        return parse_stored(name, text or "")
    except ConfigError:
        return {"client": {}}


def client_change(
    entry: AuditEntry,
    event: KeyEvent,
    name: str,
    before: str | None,
    written: Mapping[str, Any] | None,
    digests: Sequence[str] = (),
) -> ItemChange:
    """Return the change that stores ``written`` for a client, whose stored text must be ``before``.

    ``None`` for either means no client: the change removes or creates it. ``digests`` are those of new keys."""
    text = None if written is None else json.dumps(written, ensure_ascii=False)
    about = described_settings(name, before if text is None else text)

    def write_audit(session: Session) -> None:
        tables = RightsTables(session)
        tables.lock()
        tables.add_audit(entry, audited_client(name, before), audited_client(name, text))

    certificate = (written or {}).get("client", {}).get("certificate")
    own = () if certificate is None else (f'"certificate": {json.dumps(certificate, ensure_ascii=False)}',)
    return ItemChange(event, name, before, text, about, (*digests, *own), write_audit)


def time_after(seconds: float) -> str:
    """Return the time after so many seconds as text. Raises ``ChangeRejected`` beyond the year 9999."""
    return spell_time(_moment_after(seconds))


def _moment_after(seconds: float) -> datetime:
    try:
        return (datetime.now(UTC) + timedelta(seconds=seconds)).replace(microsecond=0)
    except OverflowError:
        raise ChangeRejected("the duration is too long: leave it out for a client that does not expire") from None


def now_text() -> str:
    return time_text(time.time())
