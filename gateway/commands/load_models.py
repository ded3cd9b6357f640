"""The model that is asked for where nobody names one: the only one of a server's list."""

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import msgspec

from configfile.document import ConfigError, Mistake
from gateway.commands.fetching import FetchError, fetch
from loadtest.exchange.masking import SecretWords
from loadtest.exchange.plain_text import plain_text
from loadtest.plan.load_endpoints import LoadApi
from loadtest.plan.masked_urls import secrets, shown
from loadtest.requests.bodies import headers
from streams.surrogates import NOT_JSON

PATIENCE: Final = 10.0  # seconds
LONGEST: Final = 256  # characters of a name; it goes into every request, every report and onto the terminal
SHOWN: Final = 12  # models that a message lists
EXPECTED: Final = "name the model: --model MODEL"


def only_model(url: str, api: LoadApi, key: str | None) -> str:
    """The one model that the server at ``url`` lists at ``/v1/models``. Raises ``ConfigError`` where it lists none, or
    several: then with their names."""
    parts = urlsplit(url)
    root = parts.path.partition("/v1")[0].rstrip("/")
    place = urlunsplit((parts.scheme, parts.netloc, f"{root}/v1/models", parts.query, ""))
    try:
        status, body = fetch(place, _asked(api, key), PATIENCE)
    except FetchError as error:
        raise _mistake(f"missing, and {shown(place)} cannot be asked for its models: {error}", EXPECTED) from error
    names = _names(body) if status == 200 else []
    if len(names) == 1 and len(names[0]) <= LONGEST and names[0].isprintable():
        return names[0]
    if not names:
        raise _mistake(f"missing, and {shown(place)} lists no models (status {status})", EXPECTED)
    words = SecretWords.among((key or "", *secrets(url)))
    shorter = (words.masked(plain_text(name, 100)) for name in names[:SHOWN])
    listed = ", ".join(shorter) + (", …" if len(names) > SHOWN else "")
    raise _mistake(f"missing, and {shown(url)} has {len(names)}: {listed}", "choose one: --model MODEL")


def _asked(api: LoadApi, key: str | None) -> Mapping[str, str]:
    return {name: value for name, value in headers(api, key, ()) if name != "content-type"}


def _names(body: bytes) -> Sequence[str]:
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        return ()
    data = value.get("data") if isinstance(value, dict) else None
    found = [one.get("id") for one in data if isinstance(one, dict)] if isinstance(data, list) else []
    return [name for name in found if isinstance(name, str) and name]


def _mistake(found: str, expected: str) -> ConfigError:
    return ConfigError((Mistake("--model", "", found, expected),))
