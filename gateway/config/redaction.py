"""The credentials in a configuration, and their removal from texts."""

import re
from collections import deque
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import msgspec

from configfile.expanded import Unresolved
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.config.urls import credentials_in
from gateway.http.headers import Headers

REDACTED = b"[redacted]"

SHORTEST = 8
"""The shortest text that counts as a credential without other evidence."""

WINDOW: Final = 256 * 1024
"""Bytes that one C call searches. A search of text that resembles a credential takes up to 30 ns a byte, and no other
thread runs meanwhile."""

LONGEST_SPELLED: Final = 256 * 1024
"""Bytes in which other spellings are searched, at about 50 ns each."""

Secrets: TypeAlias = tuple[str, ...]

# Configured headers whose names contain one of these are also credentials.
_SECRET = ("auth", "key", "token", "secret", "cookie")


def secrets_in(config: Config) -> Secrets:
    """Return all credentials in ``config``, which no log line or recording may contain.

    Clients mix up keys and model names. Keys stored only as digests are handled by the log alone."""
    found = [
        text
        for entry in config.all_entries
        for text in (
            entry.key or "",
            *_sign_in_secrets(entry),
            *credentials_among(entry.headers),
            *credentials_in(entry.base_url or ""),
        )
    ]
    found += [key.key for client in config.client_keys for key in client.keys if key.key]
    storage = config.state_storage
    for address in (storage and storage.connection_string, config.counters.url, config.cache.url):
        if address:
            found += [address, urlsplit(address).password or ""]
    found += [text for step in config.steps for text in step.secrets]
    found += [text for issuer in config.issuers for text in issuer.secrets]
    return tuple(dict.fromkeys(text for text in found if text and not isinstance(text, Unresolved)))


def _sign_in_secrets(entry: ModelEntry) -> Secrets:
    return () if entry.sign_in is None else entry.sign_in.secrets


class FetchedSecrets:
    """The recently fetched credentials of the process; ``words`` are their ``search_forms``."""

    def __init__(self) -> None:
        self._kept: deque[str] = deque(maxlen=FETCHED_KEPT)
        self.words: Secrets = ()

    def hide(self, secrets: Iterable[str]) -> None:
        """Mask ``secrets`` from now on, instead of those fetched longest ago."""
        self._kept.extend(one for one in secrets if one not in self._kept)
        self.words = search_forms(self._kept)


FETCHED_KEPT: Final = 256


def search_forms(secrets: Iterable[str]) -> Secrets:
    """Return the ``secrets`` to search for, also as JSON writes them, in search order: one may be part of another.

    Short ones are placeholders such as ``none``, and would mask ordinary words."""
    long = {
        str(secret) for secret in secrets if len(secret) >= SHORTEST
    }  # a variable that was not expanded is a special value
    spelled = {msgspec.json.encode(secret)[1:-1].decode() for secret in long}
    return tuple(sorted(long | spelled, key=len, reverse=True))


FETCHED: Final = FetchedSecrets()


def credentials_among(headers: Headers) -> Secrets:
    """Return the values of ``headers`` whose names suggest credentials."""
    credentials = (value for name, value in headers if any(word in name.lower() for word in _SECRET))
    return tuple(text for value in credentials if (text := value.removeprefix("Bearer ").strip()))


def redact(data: bytes, secrets: Secrets) -> bytes:
    """Return ``data`` without credentials, which some providers repeat; ``secrets`` are from ``search_forms``."""
    for secret in secrets:
        data = _replace(data, secret.encode())
    return data


def _replace(data: bytes, word: bytes, window: int = WINDOW) -> bytes:
    """Return ``data`` with ``REDACTED`` for each ``word``, searched in calls of ``window`` bytes."""
    if len(data) <= window:
        return data.replace(word, REDACTED)
    parts: list[bytes] = []
    copied = start = 0
    while start < len(data):
        found = data.find(word, start, start + window + len(word) - 1)
        if found < 0:
            start += window
        else:
            parts += (data[copied:found], REDACTED)
            copied = start = found + len(word)
    return b"".join((*parts, data[copied:])) if parts else data


def redact_spelled(data: bytes, secrets: Secrets) -> bytes:
    r"""Return ``data`` without credentials in any spelling, escaped as in JSON (``\u002d``, also nested) or URLs
    (``%2d``).

    Everything else stays unchanged. It is for short, rare texts: errors and headers."""
    data = redact(data, secrets)
    if (b"\\" in data or b"%" in data) and len(data) <= LONGEST_SPELLED:
        for secret in secrets:
            data = _spellings_pattern(secret).sub(REDACTED, data)
    return data


@lru_cache(maxsize=64)
def _spellings_pattern(secret: str) -> re.Pattern[bytes]:
    """Return a pattern for every spelling of ``secret``, with bounded repetitions for linear time."""
    return re.compile(b"".join(map(_byte_spellings, secret.encode())))


def _byte_spellings(byte: int) -> bytes:
    digits = "".join(f"[{digit}{digit.upper()}]" if digit.isalpha() else digit for digit in f"{byte:02x}").encode()
    literal = re.escape(bytes((byte,)))
    escaped = b"" if chr(byte).isalnum() else rb"\\{0,4}"
    return rb"(?:" + escaped + literal + rb"|\\{1,4}u00" + digits + rb"|%(?:25){0,2}" + digits + rb")"


def redact_json(value: Any, secrets: Secrets) -> Any:
    """Return a JSON value after ``redact_spelled``."""
    return None if value is None else msgspec.json.decode(redact_spelled(msgspec.json.encode(value), secrets))
