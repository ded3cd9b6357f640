"""The value types of the gateway's configuration; ``configfile.kinds`` has the others."""

import base64
import ipaddress
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

from configfile.expanded import Unresolved
from configfile.keys import Kind, Shape
from configfile.kinds import (
    DECIMAL_SHAPE,
    HEADER,
    SECRET,
    VARIABLE,
    HeaderName,
    any_of,
    read_amount,
    read_secret,
    read_text,
    text_matching,
    text_reader,
    text_shape,
    word_reader,
)
from configfile.wording import Wrong, describe, nearest, one_of, spell_number
from gateway.http.certificates import as_name
from providers.catalog.prices import UNITS
from providers.catalog.provider import best_for
from providers.endpoints.endpoint import BODY_SHAPES, ENDPOINTS
from streams.events import APIS, UNAVAILABLE, Api, FailureReason

UNIX: Final = "unix"
"""The word for peers on a Unix socket, which have no address."""


def list_of(cls: type) -> Kind:
    """Return the kind of a list of ``cls``. Until all errors are reported, ``None`` replaces invalid items, so that the
    others keep their numbers."""
    array: Any = tuple
    return Kind("list", pick=lambda _: array[cls | None, ...], parts=(array[cls, ...],))


# Credentials


def _read_digest(value: Any) -> str:
    value = read_secret(value)
    if isinstance(value, Unresolved):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Wrong("not a SHA-256 digest", "expected 64 hexadecimal digits: `printf %s KEY | sha256sum`")
    return text


Digest: TypeAlias = Annotated[
    str,
    Kind(
        "64 hexadecimal digits",
        _read_digest,
        {"anyOf": [text_shape(r"\s*[0-9a-fA-F]{64}\s*"), VARIABLE, SECRET]},
        takes_text=True,
    ),
]
"""A SHA-256 digest in hexadecimal."""


def _pick_sealing_keys_type(value: Any) -> tuple[Any, ...]:
    if value == []:
        raise Wrong("the list is empty", "add at least one key: `openssl rand -base64 32`")
    return tuple(map(_read_sealing_key, value)) if isinstance(value, list) else (_read_sealing_key(value),)


def _read_sealing_key(value: Any) -> Any:
    value = read_secret(value)
    if isinstance(value, Unresolved):
        return value
    try:
        key = base64.b64decode(value.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (AttributeError, ValueError):
        key = b""
    if len(key) != 32:
        raise Wrong("not a valid key", "expected 32 bytes in base64: `openssl rand -base64 32`")
    return key


_SEALING_KEY: Final[tuple[Shape, ...]] = (text_shape(r"\s*[0-9A-Za-z+/_-]{43}=\s*"), VARIABLE, SECRET)

SealingKeys: TypeAlias = Annotated[
    tuple[bytes, ...],
    Kind(
        "text or file, or a list",
        _pick_sealing_keys_type,
        {"anyOf": [*_SEALING_KEY, {"type": "array", "items": {"anyOf": [*_SEALING_KEY]}, "minItems": 1}]},
        takes_text=True,
    ),
]
"""Keys for AES-256; ``Unresolved`` text if variables were not expanded."""


def _read_certificate_name(value: Any) -> str:
    text = read_text(value)
    if isinstance(value, Unresolved):
        return text
    if (name := as_name(text)) is None:
        raise Wrong(describe(value), "expected CN=NAME, DNS:NAME, URI:…, email:… or SHA256:… of a certificate")
    return name


def _any_case_pattern(word: str) -> str:
    return "".join(f"[{letter.lower()}{letter.upper()}]" for letter in word)


CertificateName: TypeAlias = Annotated[
    str,
    Kind(
        "text",
        _read_certificate_name,
        any_of(
            text_shape(
                rf"\s*(?:{_any_case_pattern('cn')}|{_any_case_pattern('uri')}|{_any_case_pattern('dns')}|{_any_case_pattern('email')})\s*[:=]"
                r"\s*\S(?:.*\S)?\s*"
                rf"|\s*{_any_case_pattern('sha')}256\s*[:=]\s*(?:[0-9A-Fa-f]:*){{64}}\s*"
                r"|\s*[A-Za-z][A-Za-z0-9+.-]*://\S+\s*"
            )
        ),
    ),
]
"""One of ``CertificateNames``."""

# Time


def read_timestamp(value: Any) -> datetime:
    """Return a timestamp; a date includes its whole day. YAML has already converted most dates and times."""
    try:
        found = _parse_date(value.strip()) if isinstance(value, str) else value
        if isinstance(found, datetime):
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        if found == date.max:  # which other programs write for "never"; no day follows it
            return datetime.combine(found, time(23, 59, 59), UTC)
        if isinstance(found, date):
            return datetime.combine(found, time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):  # ``OverflowError`` for years beyond 9999 in UTC
        pass
    raise Wrong(describe(value), "expected a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00Z")


def _parse_date(text: str) -> date:
    """Return a date or time. Raises ``ValueError``."""
    if re.fullmatch(_DATE, text):
        return date.fromisoformat(text)
    if not re.fullmatch(rf"{_DATE}[Tt ]{_TIME}([Zz]|[+-][0-9]{{2}}:[0-9]{{2}})?", text):
        raise ValueError
    return datetime.fromisoformat(text.upper())


_DATE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME: Final = r"[0-9:.]{8,15}"

Timestamp: TypeAlias = Annotated[
    datetime,
    Kind(
        "date or time",
        read_timestamp,
        any_of(text_shape(rf"\s*{_DATE}(?:[Tt ]{_TIME}(?:[Zz]|[+-][0-9]{{2}}:[0-9]{{2}})?)?\s*")),
    ),
]
"""A moment in UTC."""

_UTC: Final = "UTC"


def read_zone(value: Any) -> str:
    """Return a known time zone's name. Raises ``Wrong``."""
    from zoneinfo import ZoneInfoNotFoundError, available_timezones

    if isinstance(value, Unresolved):
        return value
    if not isinstance(value, str):
        raise Wrong(describe(value), "expected the name of a time zone, such as Europe/Berlin")
    try:
        zone_of(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = available_timezones()
        if not known:
            raise Wrong(describe(value), "this machine has no time zone data: install the package tzdata") from None
        expected = "expected the name of a time zone, such as Europe/Berlin"
        raise Wrong(describe(value), expected, nearest(value, sorted(known))) from None
    return value


def zone_of(name: str) -> tzinfo:
    """Return the time zone of a name; UTC needs no database. Raises what ``ZoneInfo`` raises."""
    if name == _UTC:
        return UTC
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


ZoneName: TypeAlias = Annotated[
    str, Kind("name of a time zone", read_zone, any_of(text_shape(r"[A-Za-z0-9_+/-]{1,64}")))
]

# Files, addresses and peers


def check_path(text: str) -> None:
    """Raise ``Wrong`` for a path that no file can have."""
    if "\0" in text:
        raise Wrong("the path contains a null character", "write the path of a file")


def _read_path_text(value: Any) -> str:
    check_path(text := read_text(value))
    return str(text)  # a path keeps its text, which must not be ``Expanded``


def _read_file_path(value: Any) -> Path | None:
    text = _read_path_text(value)
    return Path(text) if text else None


FilePath: TypeAlias = Annotated[Path, Kind("text", _read_file_path, {"type": "string"}, takes_text=True)]
"""The path of a file; empty text is ``None``."""


def _read_needed_text(value: Any) -> str:
    if not (text := read_text(value)):
        raise Wrong("the text is empty", "write a value")
    return text


# The control characters and line breaks of Unicode: a name with one would be several lines of a log or a table
CONTROL: Final = r"\x00-\x1f\x7f-\x9f\u2028\u2029"


def _read_name(value: Any) -> str:
    text = read_text(value)
    if re.search(f"[{CONTROL}]", text):
        raise Wrong(describe(value), "a name cannot contain line breaks and control characters: remove them")
    return text


Name: TypeAlias = Annotated[
    str,
    Kind("text", _read_name, any_of(text_shape(f"[^{CONTROL}]*")), takes_text=True),
]
"""A name that people read in one line."""

ShortName: TypeAlias = Annotated[
    str, text_matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "a name of at most 64 letters, digits, `.`, `_` and `-`")
]
"""A name that a path and the name of a client may contain."""

_NEEDED_SHAPE: Final[Shape] = {"type": "string", "minLength": 1}
NeededText: TypeAlias = Annotated[str, Kind("text", _read_needed_text, _NEEDED_SHAPE, takes_text=True)]
"""Text that is not empty."""


def _read_needed_path(value: Any) -> Path:
    return Path(_read_needed_text(_read_path_text(value)))


NeededPath: TypeAlias = Annotated[Path, Kind("text", _read_needed_path, _NEEDED_SHAPE, takes_text=True)]
"""The path of a file whose absence would open access or break the start."""


def _read_file_mode(value: Any) -> int:
    """Return file permissions; they must be quoted, because YAML reads 0660 as 432."""
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
        return int(value, 8)
    raise Wrong(describe(value), 'expected three octal digits in quotes, such as "0660"')


Mode: TypeAlias = Annotated[int, Kind("three octal digits", _read_file_mode, any_of(text_shape(r"0?[0-7]{3}")))]
"""The permissions of a file."""

_ORIGIN: Final = r"\*|[A-Za-z][A-Za-z0-9+.-]*://[!-.0-~]+"
Origin: TypeAlias = Annotated[str, text_matching(_ORIGIN, "an origin such as https://app.example (no path), or *")]
"""The origin of a web page, or *."""

_HOST: Final = r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}"
HostName: TypeAlias = Annotated[
    str,
    Kind(
        "text",
        text_reader(
            _HOST,
            "a name such as gateway.example, without scheme, port and path",
            lambda text: text.lower().removesuffix("."),
        ),
        any_of(text_shape(_HOST)),
    ),
]

AuditPlace: TypeAlias = Annotated[
    str, Kind("text", text_reader(r"[^\0]+", "stderr, or the path of a file"), {"type": "string", "minLength": 1})
]
"""``stderr``, or a path."""


def _read_network(value: Any) -> str:
    text = read_text(value)
    if isinstance(value, Unresolved) or text == UNIX:
        return text
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise Wrong(describe(value), "expected an address, a network such as 10.0.0.0/8, or unix") from None


Network: TypeAlias = Annotated[
    str, Kind("text", _read_network, any_of(text_shape(r"unix|[0-9A-Fa-f:.]+(/[0-9]{1,3})?")))
]
"""Peers: a network in CIDR notation, or ``unix``."""

AddressPart: TypeAlias = Annotated[
    str,
    text_matching(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}",
        "a name such as us-east-1: letters, digits, `.`, `_` and `-`",
        takes_text=True,
    ),
]
"""A part of a provider's address, such as a region."""

UrlPath: TypeAlias = Annotated[
    str, text_matching(r"/[!$-~]*", "a path such as /api/v1/messages", "path", takes_text=True)
]
ProbePath: TypeAlias = Annotated[str, text_matching(r"/[!-~]*", "a path such as /health", "path")]
EndpointPath: TypeAlias = Annotated[
    str,
    text_matching(
        r"(?:https?://[A-Za-z0-9.\[\]_-]+(?::[0-9]{1,5})?)?/[!\"$-~]*",
        "a path such as /embed, a whole URL, true or false",
        "path or URL",
    ),
]
"""A path after the base URL, or a whole URL."""

# Words

VERSIONS: Final = ("v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.3.0", "v0.4.0")


def _read_version(value: Any) -> str:
    text = spell_number(value) if isinstance(value, int | float) else str(value)
    if text in VERSIONS:
        return text
    meant = (one for one in reversed(VERSIONS) if one.removeprefix("v").startswith(text.removeprefix("v")))
    raise Wrong(describe(value), one_of(VERSIONS), next(meant, None))


Version: TypeAlias = Annotated[str, Kind("text", _read_version, {"enum": list(VERSIONS)})]
UnitWord: TypeAlias = Annotated[str, Kind("text", word_reader(UNITS), {"enum": list(UNITS)})]
EndpointWord: TypeAlias = Annotated[str, Kind("text", word_reader(ENDPOINTS), {"enum": list(ENDPOINTS)})]
BodyShape: TypeAlias = Annotated[str, Kind("text", word_reader(BODY_SHAPES), any_of({"enum": list(BODY_SHAPES)}))]

REASONS: Final = ("unavailable", *(reason for reason in get_args(FailureReason) if reason != "invalid"))
"""The failures that may lead to a target, and the word for those of the target itself."""


REQUEST_KINDS: Final = ("background", "thinking", "web_search")
"""The kinds of requests that may lead to a target, in addition to prompts above a number of tokens."""

LONG_PROMPT: Final = re.compile(r"tokens\s*>\s*([0-9]{1,9})([km]?)", re.IGNORECASE)
"""The kind of requests whose prompts have more than a number of tokens."""

_WHEN: Final = (*REASONS, *REQUEST_KINDS, "tokens > 60000")


def _read_reason(value: Any) -> str:
    if value == "invalid":
        raise Wrong("'invalid'", "errors of the client never lead to another target")
    if isinstance(value, str) and (long := LONG_PROMPT.fullmatch(value.strip())):
        return f"tokens > {int(long[1]) * {'': 1, 'k': 1000, 'm': 10**6}[long[2].lower()]}"
    return word_reader(_WHEN)(value)


_Reason: TypeAlias = Annotated[
    str,
    Kind(
        "text",
        _read_reason,
        any_of({"enum": [*REASONS, *REQUEST_KINDS]}, {"type": "string", "pattern": r"^tokens *> *[0-9]{1,9}[kKmM]?$"}),
    ),
]


def _select_reasons(words: tuple[str, ...]) -> frozenset[str]:
    """Return the failure reasons that ``words`` select."""
    named = frozenset(word for word in words if word != "unavailable")
    return named | UNAVAILABLE if "unavailable" in words else named


Reasons: TypeAlias = Annotated[
    frozenset[str],
    Kind("list of texts", _select_reasons, pick=lambda _: tuple[_Reason, ...], parts=(tuple[_Reason, ...],)),
]

SpokenApi: TypeAlias = Literal["chat", "messages", "responses", "gemini", "converse", "interactions"]
"""The APIs that a configuration can name, equal to ``streams.events.APIS``."""

_SPOKEN: Final[tuple[SpokenApi, ...]] = get_args(SpokenApi)
_API: Final[Shape] = {"enum": list(APIS)}


def _read_speaks(value: Any) -> Mapping[Api, Api]:
    if isinstance(value, dict):
        return value
    if not value:
        raise Wrong("the list is empty", f"list at least one of {', '.join(_SPOKEN)}")
    return {api: best_for(api, value) for api in _SPOKEN}


Speaking: TypeAlias = Annotated[
    Mapping[Api, Api],
    Kind(
        "list or mapping",
        _read_speaks,
        {
            "anyOf": [
                {"type": "array", "items": _API, "minItems": 1},
                {"type": "object", "propertyNames": _API, "additionalProperties": _API},
            ]
        },
        pick=lambda value: dict[SpokenApi, SpokenApi] if isinstance(value, dict) else tuple[SpokenApi, ...],
    ),
]
"""The API that a provider receives for each client API: a list of supported APIs, or a mapping."""

ApiPaths: TypeAlias = Annotated[
    Mapping[Api, str],
    Kind(
        "mapping of paths",
        shape={
            "type": "object",
            "propertyNames": _API,
            "additionalProperties": any_of(text_shape(r"/[!$-~]*")),
        },
        pick=lambda _: dict[SpokenApi, UrlPath],
    ),
]


def _read_key_header(value: Any) -> Any:
    if isinstance(value, dict):
        return dict[SpokenApi, HeaderName]
    if isinstance(value, str):
        return HeaderName
    raise Wrong(describe(value), "expected bearer, a header's name, or a mapping such as {messages: x-api-key}")


_HEADER: Final[Shape] = any_of(text_shape(HEADER))
KeyHeader: TypeAlias = Annotated[
    str | Mapping[Api, str],
    Kind(
        "`bearer`, the name of a header, or mapping",
        shape={
            "anyOf": [*_HEADER["anyOf"], {"type": "object", "propertyNames": _API, "additionalProperties": _HEADER}]
        },
        pick=_read_key_header,
    ),
]
"""The header of a key in lower case, or ``bearer``; also by API."""

# Money


def _read_dollars(value: Any) -> float:
    """Return an amount in dollars, 0 for a variable that was not expanded."""
    if isinstance(value, Unresolved):
        return 0.0
    exact = f"{value:.9f}" if isinstance(value, float) else value  # as many digits as text may have
    return read_amount(exact, {"": 1.0}, "expected a number of dollars, 0 or more, such as 1.25")


Dollars: TypeAlias = Annotated[float, Kind("number of dollars", _read_dollars, DECIMAL_SHAPE, takes_text=True)]

_PROMPT_LENGTH: Final = r"([0-9]{1,9})([kKmM]?)"


def _read_prompt_length(value: Any) -> int:
    match = re.fullmatch(_PROMPT_LENGTH, value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(describe(value), "expected a number of tokens, such as 200k or 272000")
    return int(match[1]) * {"": 1, "k": 10**3, "m": 10**6}[match[2].lower()]


PromptLength: TypeAlias = Annotated[
    int, Kind("number of tokens", _read_prompt_length, {"pattern": f"^(?:{_PROMPT_LENGTH})$"})
]
"""Tokens of a prompt."""

# Reasons for accepting a key without effect

OUTSIDE: Final = "not part of the model gateway, ignored"


def later(consequence: str) -> str:
    """Return the reason for a key that is not implemented yet; ``consequence`` applies until then."""
    return f"accepted, not enforced yet: {consequence}"


BY_NAME: Final = later("requests go to the model in their `model`")


CodeName: TypeAlias = Annotated[
    str,
    text_matching(
        r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*", "a module and a name in it, as package.module:NAME"
    ),
]
"""An object in an installed package."""
