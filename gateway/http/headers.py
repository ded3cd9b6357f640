"""Headers that cross the gateway, by direction (RFC 9110 section 7.6.1, and the headers that the providers' SDKs read).
``passing`` lists the permitted ones."""

import math
import time
from collections.abc import Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import unquote_to_bytes

Headers = tuple[tuple[str, str], ...]

RawHeaders: TypeAlias = list[tuple[bytes, bytes]]
EditHeaders: TypeAlias = Callable[[RawHeaders], RawHeaders]
"""Returns the headers of a response, given those of the route."""
Adapter: TypeAlias = Callable[[MutableMapping[str, Any]], EditHeaders | None]
"""Changes the ASGI scope of a request or a websocket in place, and returns what edits its response's headers."""


class PassingNames(Protocol):
    """A set of names of headers or of query parameters."""

    def __contains__(self, name: str, /) -> bool: ...


class PassingHeaders(Protocol):
    """A set of names of headers."""

    def select(self, headers: Headers, /) -> list[tuple[str, str]]:
        """Return those of ``headers`` that have one of the names."""


LONGEST_WAIT: Final = 31 * 86400
"""The longest wait in seconds that a client receives, a month: the longest window of a plan. A longer wait is a
provider's mistake."""

LONGEST_PATH = 100
"""Characters of a path in a header; the name of a member may have megabytes."""
MOST_PATH_BYTES = 2000  # of all paths together
MOST_PATHS = 50
"""Paths in a header; for the others it only has their number."""

_RETRY_HEADERS = {"retry-after", "retry-after-ms", "x-should-retry"}
_LIMIT_PREFIXES = ("anthropic-ratelimit-", "x-ratelimit-")

PROJECT: Final = "x-trigate-project"
"""The header in which a client names the project that a request is for. ``trigate connect`` sets it."""

OWN_PREFIX: Final = "x-trigate-"
_OWN_NAMES = ("budget", "deadline", "fallback", "key", "models", "project", "provider", "run", "steps", "strict")
OWN_REQUEST_HEADERS: Final = frozenset(f"{OWN_PREFIX}{name}" for name in _OWN_NAMES)
"""The headers for this gateway that clients may send."""


def unknown_own_headers(client: Headers) -> tuple[str, ...]:
    """Return the names of the client's headers for this gateway that it does not know, such as misspelled ones."""
    return tuple([name for name, _ in client if name.startswith(OWN_PREFIX) and name not in OWN_REQUEST_HEADERS])


def upstream_headers(client: Iterable[tuple[str, str]], passing: PassingHeaders) -> Headers:
    """Return the client's headers in ``passing`` for a provider of the same API (the byte lane)."""
    headers = tuple(client)
    if not (selected := passing.select(headers)):
        return ()
    named = _hop_by_hop_names(headers)
    return tuple([pair for pair in selected if pair[0] not in named and pair[1].isprintable()])


def upstream_query(client: str, passing: PassingNames) -> str:
    """Return the client's query parameters in ``passing`` for a provider of the same API."""
    if not client:
        return client
    return "&".join(pair for pair in client.split("&") if pair.partition("=")[0] in passing)


def passthrough_headers(upstream: Headers, passing: PassingHeaders) -> Headers:
    """Return the provider's headers in ``passing`` for a client of the same API (the byte lane)."""
    if not (selected := passing.select(upstream)):
        return ()
    named = _hop_by_hop_names(upstream)
    return bounded_waits(tuple([pair for pair in selected if pair[0] not in named]))


def _hop_by_hop_names(headers: Headers) -> set[str]:
    """Return the names that ``Connection`` lists; these headers are hop-by-hop, too."""
    found = [value for name, value in headers if name == "connection"]
    return {token.strip().lower() for value in found for token in value.split(",")} if found else set()


def translated_headers(upstream: Headers, added: PassingNames = frozenset()) -> Headers:
    """Return the headers for a client of another API: waits, limits and those in ``added``."""
    named = _hop_by_hop_names(upstream)
    wanted = [
        pair
        for pair in upstream
        if (pair[0] in _RETRY_HEADERS or pair[0].startswith(_LIMIT_PREFIXES) or pair[0] in added)
        and pair[0] not in named
    ]
    return bounded_waits(tuple(wanted))


def bounded_waits(headers: Headers) -> Headers:
    """Return ``headers`` with waits of at most ``LONGEST_WAIT`` and without invalid waits."""
    if _RETRY_HEADERS.isdisjoint([name for name, _ in headers]):
        return headers
    told = ((name, _valid_wait(name, value) if name in _RETRY_HEADERS else value) for name, value in headers)
    return tuple((name, value) for name, value in told if value is not None)


def _valid_wait(name: str, value: str) -> str | None:
    """Return the valid value of a retry header, with a limited wait, or ``None``."""
    if name == "x-should-retry":
        return value if value in ("true", "false") else None
    unit = 1000 if name == "retry-after-ms" else 1
    try:
        wait = float(value)
    except ValueError:
        wait = _seconds_until(value) if unit == 1 else math.nan
        value = str(math.ceil(wait)) if wait >= 0 else value
    if not wait >= 0:  # also if it is NaN
        return None
    return value if wait <= LONGEST_WAIT * unit else str(LONGEST_WAIT * unit)


def _seconds_until(date: str) -> float:
    """Return the seconds until an HTTP date, NaN if it is invalid."""
    from email.utils import parsedate_to_datetime  # rarely needed

    try:
        return max(0.0, parsedate_to_datetime(date).timestamp() - time.time())
    except (ValueError, OverflowError, OSError):
        return math.nan


PLAIN_KEYS: Final = ("x-api-key", "x-goog-api-key")
"""Headers that hold only a key."""


def sent_credential(headers: Headers) -> str | None:
    """Return the client's credential for its provider: the token of ``Authorization: Bearer``, otherwise a plain key.

    An ``Authorization`` with another scheme is meant for a proxy on the way (RFC 7617)."""
    shown = dict(headers)
    return bearer_token(headers) or next(filter(None, (shown.get(name, "").strip() for name in PLAIN_KEYS)), None)


def bearer_token(headers: Headers) -> str:
    """Return the token of ``Authorization: Bearer``, or ""."""
    bearer = dict(headers).get("authorization", "")
    return bearer[7:].strip() if bearer[:7].lower() == "bearer " else ""


UPSTREAM_IDS: Final = frozenset((
    "request-id", "x-request-id",
    "x-amzn-requestid",  # AWS, in its logs too
    "x-generation-id",  # OpenRouter, in its activity exports too
))  # fmt: skip
"""The headers in which providers send their request id."""


def upstream_id(upstream: Headers) -> str | None:
    """Return the provider's request id, or ``None``."""
    for name, value in upstream:
        if name in UPSTREAM_IDS:
            return value
    return None


def as_text(pairs: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return raw headers as text with lower-case names."""
    return tuple([(_name_as_text(name), value.decode("latin-1")) for name, value in pairs])


@lru_cache(64)  # few, because a name may have the length of a head
def _name_as_text(name: bytes) -> str:
    return name.decode("latin-1").lower()


def ends_connection(pairs: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether the connection ends after the message with these headers (RFC 9112, section 9.6). Their names are
    in lower case."""
    values = [value for name, value in pairs if name == b"connection"]
    return bool(values) and b"close" in map(bytes.strip, b",".join(values).lower().split(b","))


def paths_header(paths: tuple[str, ...]) -> str:
    """Return the value of ``x-trigate-dropped`` or ``x-trigate-adapted``."""
    return header_safe(",".join(first_paths(paths)))


def first_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first of ``paths``, and the number of the others (``+3``).

    Clients choose the names and the number, so at most ``MOST_PATHS`` and ``MOST_PATH_BYTES`` are returned, each cut at
    ``LONGEST_PATH``."""
    if not paths:
        return paths
    kept: list[str] = []
    size = 0
    for path in paths[:MOST_PATHS]:
        if len(path) > LONGEST_PATH:
            path = path[:LONGEST_PATH] + "..."
        size += len(path) + 1
        if size > MOST_PATH_BYTES:
            break
        kept.append(path)
    return tuple(kept) if len(kept) == len(paths) else (*kept, f"+{len(paths) - len(kept)}")


def header_safe(text: str) -> str:
    """Return ``text`` encoded so that a name from a client or the configuration cannot end the header."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if " " <= char <= "~" else "?" for char in text)


_MEMBER: Final = b"key="
_GOOGLE_KEY: Final = b"x-goog-api-key"


def may_hold_key(path: str, query: bytes) -> bool:
    """Return whether the query may contain ``?key=…``, the form in which Google's clients may send keys.

    The key is moved out of the query before logs, traces or recordings read the URL."""
    return _MEMBER in query and (path.startswith("/v1beta/") or ":" in path)


def with_key_in_header(query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """Return ``query`` without its keys, and ``headers`` with them."""
    members = query.split(b"&")
    keys = [(_GOOGLE_KEY, unquote_to_bytes(one.removeprefix(_MEMBER))) for one in members if one.startswith(_MEMBER)]
    rest = b"&".join(one for one in members if not one.startswith(_MEMBER))
    return rest, [*headers, *((name, key) for name, key in keys if key)]
