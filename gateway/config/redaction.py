"""Credentials of a configuration, and texts without them."""

from collections.abc import Iterable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import msgspec

from gateway.config.settings import Config
from gateway.config.urls import credentials_in
from gateway.http.headers import Headers

REDACTED = b"[redacted]"

SHORTEST = 8
"""Characters of a credential that is looked for where nothing says that it must be one."""

Secrets: TypeAlias = tuple[str, ...]

# Configured headers whose names hold one of these are credentials too.
_SECRET = ("auth", "key", "token", "secret", "cookie")


def secrets_in(config: Config) -> Secrets:
    """All that ``config`` holds: what no line of the log and no recording may repeat. A client may have put its key
    where a model's name belongs; of keys that the file has by their digest alone only the log can tell."""
    found = [
        text
        for entry in config.entries
        for text in (entry.key or "", *credentials_among(entry.headers), *credentials_in(entry.base_url or ""))
    ]
    found += [key.key for client in config.client_keys for key in client.keys if key.key]
    storage = config.state_storage
    if storage is not None and storage.connection_string:
        found.append(storage.connection_string)
        found.append(urlsplit(storage.connection_string).password or "")
    return tuple(dict.fromkeys(filter(None, found)))


def findable(secrets: Iterable[str]) -> Secrets:
    """The ``secrets`` that can be looked for in any text, also as JSON writes them, in the order in which to look: one
    may be part of another. What is short is a placeholder such as ``none``, and would blot out words."""
    long = {str(secret) for secret in secrets if len(secret) >= SHORTEST}  # a variable that nobody looked up is more
    spelled = {msgspec.json.encode(secret)[1:-1].decode() for secret in long}
    return tuple(sorted(long | spelled, key=len, reverse=True))


def credentials_among(headers: Headers) -> Secrets:
    """The values of those ``headers`` whose names say that they are credentials."""
    credentials = (value for name, value in headers if any(word in name.lower() for word in _SECRET))
    return tuple(text for value in credentials if (text := value.removeprefix("Bearer ").strip()))


def redact(data: bytes, secrets: Secrets) -> bytes:
    """``data`` without credentials, which some providers echo in their errors. ``secrets`` are ``findable``."""
    for secret in secrets:
        data = data.replace(secret.encode(), REDACTED)
    return data


def redact_json(value: Any, secrets: Secrets) -> Any:
    """``redact`` for a value of JSON."""
    return None if value is None else msgspec.json.decode(redact(msgspec.json.encode(value), secrets))
