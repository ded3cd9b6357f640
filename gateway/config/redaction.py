"""Credentials of a configuration, and texts without them."""

import re
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.config.urls import credentials_in
from gateway.http.headers import Headers

REDACTED = b"[redacted]"

SHORTEST = 8
"""Characters of a credential that is looked for where nothing says that it must be one."""

LONGEST_SPELLED: Final = 256 * 1024
"""Bytes in which other spellings are looked for, which takes about 50 ns for each of them."""

Secrets: TypeAlias = tuple[str, ...]

# Configured headers whose names hold one of these are credentials too.
_SECRET = ("auth", "key", "token", "secret", "cookie")


def secrets_in(config: Config) -> Secrets:
    """All that ``config`` holds: what no line of the log and no recording may repeat. A client may have put its key
    where a model's name belongs; of keys that the file has by their digest alone only the log can tell."""
    found = [
        text
        for entry in config.entries
        for text in (
            entry.key or "",
            *_of_sign_in(entry),
            *credentials_among(entry.headers),
            *credentials_in(entry.base_url or ""),
        )
    ]
    found += [key.key for client in config.client_keys for key in client.keys if key.key]
    storage = config.state_storage
    for address in (storage and storage.connection_string, config.counters.url, config.cache.url):
        if address:
            found += [address, urlsplit(address).password or ""]
    return tuple(dict.fromkeys(filter(None, found)))


def _of_sign_in(entry: ModelEntry) -> Secrets:
    return () if entry.sign_in is None else entry.sign_in.secrets


class FetchedSecrets:
    """The credentials that were fetched lately: one list for the process, as its log is. ``words`` are ``findable``."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=FETCHED_KEPT)
        self.words: Secrets = ()

    def hide(self, secrets: Iterable[str]) -> None:
        """Leave ``secrets`` out of whatever is told from now on, in place of those that were fetched longest ago."""
        self._kept.extend(one for one in secrets if one not in self._kept)
        self.words = findable(self._kept)


FETCHED_KEPT: Final = 256


def findable(secrets: Iterable[str]) -> Secrets:
    """The ``secrets`` that can be looked for in any text, also as JSON writes them, in the order in which to look: one
    may be part of another. What is short is a placeholder such as ``none``, and would blot out words."""
    long = {str(secret) for secret in secrets if len(secret) >= SHORTEST}  # a variable that nobody looked up is more
    spelled = {msgspec.json.encode(secret)[1:-1].decode() for secret in long}
    return tuple(sorted(long | spelled, key=len, reverse=True))


FETCHED: Final = FetchedSecrets()


def credentials_among(headers: Headers) -> Secrets:
    """The values of those ``headers`` whose names say that they are credentials."""
    credentials = (value for name, value in headers if any(word in name.lower() for word in _SECRET))
    return tuple(text for value in credentials if (text := value.removeprefix("Bearer ").strip()))


def redact(data: bytes, secrets: Secrets) -> bytes:
    """``data`` without credentials, which some providers echo in their errors. ``secrets`` are ``findable``."""
    for secret in secrets:
        data = data.replace(secret.encode(), REDACTED)
    return data


def redact_spelled(data: bytes, secrets: Secrets) -> bytes:
    """``redact``, also of credentials in another spelling: any of their characters escaped as JSON does it
    (``\\u002d``, also in JSON within JSON) or as a URL does (``%2d``). Nothing else of ``data`` is touched. It is for
    what is short and seldom: errors and headers."""
    data = redact(data, secrets)
    if (b"\\" in data or b"%" in data) and len(data) <= LONGEST_SPELLED:
        for secret in secrets:
            data = _spelled(secret).sub(REDACTED, data)
    return data


@lru_cache(maxsize=64)
def _spelled(secret: str) -> re.Pattern[bytes]:
    """Every spelling of ``secret``. Repetitions are bounded, so that the search takes linear time."""
    return re.compile(b"".join(map(_spellings, secret.encode())))


def _spellings(byte: int) -> bytes:
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{byte:02x}").encode()
    literal = re.escape(bytes((byte,)))
    escaped = b"" if chr(byte).isalnum() else rb"\\{0,4}"
    return rb"(?:" + escaped + literal + rb"|\\{1,4}u00" + digits + rb"|%(?:25){0,2}" + digits + rb")"


def redact_json(value: Any, secrets: Secrets) -> Any:
    """``redact_spelled`` for a value of JSON."""
    return None if value is None else msgspec.json.decode(redact_spelled(msgspec.json.encode(value), secrets))
