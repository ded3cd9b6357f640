"""Warnings about secrets: short ones, those sent unencrypted, and keys of providers in a form that no provider
accepts."""

import ipaddress
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from configfile.expanded import Unresolved
from gateway.config.model_entry import ModelEntry
from gateway.config.settings import ENOUGH, Config, KeyDigest
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


# The first is common in files for `docker run --env-file`, which keeps quotation marks
_WRONG_FORMS: Final = (
    (re.compile(r"""(["']).*\1"""), "is in quotation marks", "remove them from its value"),
    (re.compile(r"(?i)(?:bearer|basic)\s.*"), "begins with the scheme of a header", "remove the first word"),
    (re.compile(r"[A-Z][A-Z0-9_]*(?:KEY|TOKEN)=.+"), "begins with a variable's name", "keep only the text after `=`"),
)
"""Forms that no provider's key has, each with the fault and its correction."""


def _wrong_form(entry: ModelEntry) -> Iterator[str]:
    """Yield a warning if the value of ``access_key`` has more than the key. A provider of the file may need a whole
    header."""
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
