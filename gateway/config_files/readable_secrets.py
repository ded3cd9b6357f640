"""The warning about secrets in a file that everyone can read, made with the content that was read."""

import re
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from gateway.config.credentials import secrets_in
from gateway.config.settings import Config
from gateway.http.redaction import SHORTEST
from gateway.http.urls import is_loopback

_KEPT_AS_BYTES: Final = frozenset({"ui_key", "metrics_key", "signing_key", "encryption_key"})
"""Keys whose text the configuration does not keep, so it is not among its secrets."""

_DATABASES: Final = frozenset({"postgres", "postgresql", "redis", "rediss", "unix"})
"""The schemes of URLs that are secrets only with a password. Others, such as those of notices, may be secrets whole."""


def warn_of_readable_secrets(content: Any, path: Path, config: Config) -> Iterator[str]:
    """Yield a warning if the file in ``path`` contains secrets of ``config`` and other users may read it."""
    if others_may_read(path) and _has_one_of(frozenset(secrets_in(config)), content):
        yield (
            f"every user of this machine can read {path}, which has keys: run `chmod o-r {path}`, or use variables "
            "(`access_key: $NAME`)"
        )


def _has_one_of(secrets: Collection[str], content: Any) -> bool:
    """Return whether ``content`` has one of ``secrets``, not as a digest or as a key of a local server.

    In a header, a scheme may precede it."""
    if isinstance(content, str):
        parts = (content.strip(), content.partition(" ")[2].strip())
        return any(len(part) >= SHORTEST and part in secrets and not _is_address(part) for part in parts)
    if isinstance(content, list):
        return any(_has_one_of(secrets, item) for item in content)
    if not isinstance(content, dict) or _is_stand_in(content.get("base_url")):
        return False
    return any(
        _is_literal(value) if name in _KEPT_AS_BYTES else _has_one_of(secrets, value)
        for name, value in content.items()
        if name != "sha256"
    )


def _is_address(text: str) -> bool:
    """Return whether ``text`` is the URL of a database or of a local server, without a password."""
    try:
        url = urlsplit(text)
        is_known = url.scheme in _DATABASES or is_loopback(url.hostname or "")
    except ValueError:
        return False
    return is_known and bool(url.scheme) and not url.password and not url.query


def _is_literal(value: Any) -> bool:
    """Return whether ``value`` is a text without variables that is long enough for a credential, or has one."""
    if isinstance(value, list):
        return any(map(_is_literal, value))
    return isinstance(value, str) and len(value) >= SHORTEST and "$" not in value


def _is_stand_in(base_url: Any) -> bool:
    """Return whether the address is a local server, whose key is worthless elsewhere."""
    return (
        isinstance(base_url, str)
        and re.match(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?:[:/]|$)", base_url) is not None
    )


def others_may_read(path: Path) -> bool:
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
