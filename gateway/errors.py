"""Which of an upstream's errors the client is told, and how (the shapes are ``providers/failures.py``'s business)."""

from collections.abc import Iterable
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import attrs
import msgspec

from gateway.config.settings import Config, Entry
from gateway.config.urls import credentials_in
from gateway.headers import Headers
from gateway.routing import Target
from providers.overflow import in_words_of, is_native
from streams.events import Api, Failed
from streams.surrogates import NOT_JSON

REDACTED = b"[redacted]"

SHORTEST = 8
"""Characters of a credential that is looked for where nothing says that it must be one."""

MISTAKE = Failed("internal", "the gateway has made a mistake; its log says more")
"""For exceptions that nobody expects."""

FULL = Failed(
    "overloaded", "the gateway serves as many requests as its limits.in_flight allows", headers=(("retry-after", "1"),)
)

# 401 and 403 with our own key say that the provider refused *us*: the client's key is fine, and repeating is useless
# (Claude Code repeats a 502 for minutes without the header).
_OURS = ("authentication", "permission")

Secrets: TypeAlias = tuple[str, ...]

# Configured headers whose names hold one of these are credentials too.
_SECRET = ("auth", "key", "token", "secret", "cookie")


def secrets_of(target: Target, given: str | None) -> Secrets:
    """What must come back from ``target`` to nobody, the log included, as far as it can be looked for; ``given`` is the
    client's own credential."""
    return findable((*_credentials(target.headers(given)), *_in_url(target.entry)))


def secrets_in(config: Config) -> Secrets:
    """All that ``config`` holds: what no line of the log and no recording may repeat. A client may have put its key
    where a model's name belongs; of keys that the file has by their digest alone only the log can tell."""
    found = [
        text for entry in config.entries for text in (entry.key or "", *_credentials(entry.headers), *_in_url(entry))
    ]
    found += [key.key for key in config.client_keys if key.key]
    storage = config.state_storage
    if storage is not None and storage.connection_string:
        found.append(storage.connection_string)
        found.append(urlsplit(storage.connection_string).password or "")
    return tuple(dict.fromkeys(filter(None, found)))


def findable(secrets: Iterable[str]) -> Secrets:
    """Those that can be looked for in any text, also as JSON writes them, in the order in which to look: one may be
    part of another. What is short is a placeholder such as ``none``, and would blot out words."""
    long = {str(secret) for secret in secrets if len(secret) >= SHORTEST}  # a variable that nobody looked up is more
    spelled = {msgspec.json.encode(secret)[1:-1].decode() for secret in long}
    return tuple(sorted(long | spelled, key=len, reverse=True))


def _credentials(headers: Headers) -> Secrets:
    credentials = (value for name, value in headers if any(word in name.lower() for word in _SECRET))
    return tuple(text for value in credentials if (text := value.removeprefix("Bearer ").strip()))


def _in_url(entry: Entry) -> Secrets:
    return credentials_in(entry.base_url or "")


def told(failed: Failed, api: Api, target: Target, secrets: Secrets) -> Failed:
    """What the client of ``api`` is told of an upstream's failure, credentials removed. Told twice it is the same."""
    if failed.kind in _OURS and not target.entry.passthrough_auth:
        return Failed(
            "upstream",
            f"the provider refused the gateway's credential: check access_key of {target.entry.name} in the config",
            headers=(("x-should-retry", "false"),),
        )
    status = failed.status
    if 300 <= status < 400:
        return Failed("upstream", f"the provider answered with a redirect ({status})")
    if status == 408:
        status = 504
    if status == 529 and api != "messages":
        status = 503
    failed = in_words_of(api, failed)
    return attrs.evolve(
        failed,
        status=status,
        message=redact(failed.message.encode(), secrets).decode(),
        details=_redact_json(failed.details, secrets),
        headers=with_wait(failed.headers, status),
    )


def passes(body: bytes, api: Api, target: Target, secrets: Secrets) -> bytes | None:
    """The body of an upstream's error response where it can go to the client as it is, credentials removed: the API is
    the client's own, and the body has its shape and the words that its clients act on."""
    if target.lane != "byte":
        return None
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("error"), dict):
        return None
    if not isinstance(value["error"].get("message"), str) or (api == "messages" and value.get("type") != "error"):
        return None
    if not is_native(api, value["error"]):
        return None
    return redact(body, secrets)


def with_wait(headers: tuple[tuple[str, str], ...], status: int) -> tuple[tuple[str, str], ...]:
    """A 429 or a translated 529 never goes without a wait: Codex gives up at once where there is none."""
    if status in (429, 503) and not any(name in ("retry-after", "retry-after-ms") for name, _ in headers):
        return (*headers, ("retry-after", "1"))
    return headers


def redact(data: bytes, secrets: Secrets) -> bytes:
    """``data`` without credentials, which some providers echo in their errors. ``secrets`` are ``findable``."""
    for secret in secrets:
        data = data.replace(secret.encode(), REDACTED)
    return data


def _redact_json(value: Any, secrets: Secrets) -> Any:
    return None if value is None else msgspec.json.decode(redact(msgspec.json.encode(value), secrets))
