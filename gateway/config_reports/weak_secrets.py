"""Warnings about secrets: short ones, those sent unencrypted, those in files that everyone can read, and keys of
providers in a form that no provider accepts."""

import ipaddress
import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from configfile import document
from configfile.document import ConfigError
from configfile.expanded import Unresolved
from gateway.config.credentials import secrets_in
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import ENOUGH, Config, KeyDigest
from gateway.http.redaction import SHORTEST
from providers.catalog.providers import CATALOG

_AT_HOME: Final = (".localhost", ".internal", ".local", ".svc")


def weak(config: Config) -> Iterator[str]:
    """Yield warnings about guessable keys, readable provider keys, and client keys that reveal other clients' data."""
    for name, digest in (("ui_key", config.ui_key), ("metrics_key", config.metrics_key)):
        if isinstance(digest, KeyDigest) and digest.is_short:
            yield _guessable_text(name)
    for client in config.client_keys:
        for key in client.keys:
            yield from _short(f"client_keys: the key of {client.name}", key.key)
    for entry in config.all_entries:
        yield from _wrong_form(entry)
        if (host := _plain_http_host(entry)) is not None:
            yield (
                f"{entry.name}: its key goes to {host} unencrypted, so others on the network can read it: use "
                "https in base_url"
            )
    yield from _exposed_metrics(config)
    yield from _readable_file(config)


# The first is common in files for `docker run --env-file`, which keeps quotation marks
_WRONG_FORMS: Final = (
    (re.compile(r"""(["']).*\1"""), "is in quotation marks", "remove them from its value"),
    (re.compile(r"(?i)(?:bearer|basic)\s.*"), "begins with the scheme of a header", "remove the first word"),
    (re.compile(r"[A-Z][A-Z0-9_]*(?:KEY|TOKEN)=.+"), "begins with a variable's name", "keep only the text after `=`"),
)
"""Forms that no provider's key has, each with the fault and its correction."""


def _wrong_form(entry: ModelEntry) -> Iterator[str]:
    """Yield a warning if a part of the key of ``entry`` is none. A provider of the file may need a whole header."""
    if entry.key and entry.provider.id in CATALOG:
        for form, what, advice in _WRONG_FORMS:
            if form.fullmatch(entry.key):
                yield f"{entry.name}: access_key {what}, which the provider would receive, too: {advice}"


def _exposed_metrics(config: Config) -> Iterator[str]:
    """Yield a warning if client keys can read the activity and costs of all clients."""
    if config.metrics_key is not None or config.ui_key is not None:
        return
    able = [client.name for client in config.client_keys if not client.lists_of_models]
    if (able and len(config.client_keys) > 1) or config.stored_clients != "off":
        who = f"client_keys: {', '.join(able[:3])}{'…' if len(able) > 3 else ''}" if able else "every stored key"
        yield (
            f"{who} can read the usage of all clients at /metrics and /readyz?verbose: to prevent that, set metrics_key"
        )


def _short(what: str, key: str | None) -> Iterator[str]:
    """Yield a warning about a guessable client ``key``; keys stored only as digests cannot be judged."""
    if key and len(key) < ENOUGH and not isinstance(key, Unresolved):
        yield _guessable_text(what)


def _guessable_text(what: str) -> str:
    """Return the text of the warning about a guessable key."""
    return (
        f"{what} has fewer than {ENOUGH} characters, so it can be guessed: create a random one with `openssl rand "
        "-hex 32`"
    )


def _plain_http_host(entry: ModelEntry) -> str | None:
    """Return the remote host that receives a key by plain HTTP; ``None`` for hosts that are probably in the same
    network."""
    sent = entry.key or entry.passthrough_auth or entry.sign_in
    if not entry.base_url or isinstance(entry.base_url, Unresolved) or not sent:
        return None
    parts = urlsplit(entry.base_url)
    host = (parts.hostname or "").lower()
    if parts.scheme != "http":
        return None
    try:
        return None if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return host if "." in host and not host.endswith(_AT_HOME) and ".svc." not in host else None


def _readable_file(config: Config) -> Iterator[str]:
    """Yield a warning if the file of ``config`` contains its secrets and other users may read it."""
    path = config.path
    if path is None or not _others_may_read(path):
        return
    try:
        content = document.read_file(path).content
    except ConfigError:  # it has changed meanwhile
        return
    if _has_one_of(frozenset(secrets_in(config)), content):
        yield (
            f"every user of this machine can read {path}, which has keys: run `chmod o-r {path}`, or use variables "
            "(`access_key: $NAME`)"
        )


def _has_one_of(secrets: Collection[str], content: Any) -> bool:
    """Return whether ``content`` has one of ``secrets``, not as a digest or as a key of a local server.

    In a header, a scheme may precede it."""
    if isinstance(content, str):
        parts = (content.strip(), content.partition(" ")[2].strip())
        return any(len(part) >= SHORTEST and part in secrets for part in parts)
    if isinstance(content, list):
        return any(_has_one_of(secrets, item) for item in content)
    if not isinstance(content, dict) or _is_stand_in(content.get("base_url")):
        return False
    return any(_has_one_of(secrets, value) for name, value in content.items() if name != "sha256")


def _is_stand_in(base_url: Any) -> bool:
    """Return whether the address is a local server, whose key is worthless elsewhere."""
    return (
        isinstance(base_url, str)
        and re.match(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?:[:/]|$)", base_url) is not None
    )


def _others_may_read(path: Path) -> bool:
    """Return whether the modes of the file and its parent directories let everyone read it."""
    try:
        whole = path.resolve()
        return (
            whole.is_file()
            and bool(whole.stat().st_mode & stat.S_IROTH)
            and all(folder.stat().st_mode & stat.S_IXOTH for folder in whole.parents)
        )
    except OSError:
        return False
