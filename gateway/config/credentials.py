"""The credentials in a configuration."""

from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import attrs

from configfile.expanded import Unresolved
from configfile.keys import KEY, parts_of
from gateway.config.settings import Config
from gateway.http.redaction import Secrets, credentials_among
from gateway.http.urls import credentials_in

_NO_CREDENTIALS: Final = (bool, int, float)


def secrets_in(config: Config) -> Secrets:
    """Return all credentials in ``config``, which no log line or recording may contain.

    Clients mix up keys and model names. Keys stored only as digests are handled by the log alone."""
    found = [*_secrets_of(config), *_secrets_of(config.all_entries)]
    return tuple(dict.fromkeys(text for text in found if text and not isinstance(text, Unresolved)))


def _secrets_of(value: Any) -> list[str]:
    """Return the credentials in ``value``: those of keys that are declared as secret, and those in URLs."""
    found: list[str] = []
    of: Any = type(value)
    if of is str:
        found += credentials_in(value) if "://" in value else ()
    elif of is tuple:
        for one in value:
            found += _secrets_of(one)
    else:
        for name, is_secret in _keys_of(of):
            if inner := getattr(value, name):
                found += _texts_of(inner) if is_secret else _secrets_of(inner)
        found += getattr(value, "texts_of_secrets", ())
        for part in value.parts.values() if parts_of(of) else ():  # the others have their defaults
            found += _secrets_of(part)
    return found


@cache
def _keys_of(cls: Any) -> tuple[tuple[str, bool], ...]:
    """Return the keys of a class that may contain credentials, and whether they are declared as secret."""
    fields = attrs.fields(cls) if attrs.has(cls) else ()
    keys = ((one, one.metadata[KEY].secret) for one in fields if KEY in one.metadata)
    return tuple((one.name, is_secret) for one, is_secret in keys if is_secret or one.type not in _NO_CREDENTIALS)


def _texts_of(value: Any) -> Secrets:
    """Return the credentials in the value of a secret key: a text, a URL with a password, headers, or several texts."""
    if isinstance(value, str):
        return (value, urlsplit(value).password or "") if "://" in value else (value,)
    if isinstance(value, tuple) and isinstance(next(iter(value), None), tuple):
        return credentials_among(value)
    return tuple(text for one in value for text in _texts_of(one)) if isinstance(value, tuple) else ()
