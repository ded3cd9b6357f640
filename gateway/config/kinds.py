"""The kinds of single values in a configuration, and how each is read: durations, sizes, ports, URLs, secrets, …"""

import base64
import ipaddress
import re
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Literal, NewType, TypeAlias, get_args
from urllib.parse import urlsplit

from configfile.expanded import Expanded, Unresolved
from configfile.secret_files import SecretFile
from configfile.wording import Wrong, describe, described_word, nearest, one_of, spelled
from gateway.config.allowances import Rate, SpendingBudget
from gateway.config.amounts import read_budget
from gateway.config.zones import read_zone
from gateway.http.certificates import as_name
from providers.catalog.prices import UNITS
from providers.endpoints.endpoint import BODY_SHAPES, ENDPOINTS
from streams.events import FailureReason

UNIX = "unix"
"""The word for peers on a Unix socket, which have no address."""

VERSIONS = ("v0.1", "v0.1.0", "0.1-beta", "0.2.0", "v0.3.0", "v0.4.0")

USER_NAME = "a URL with a user name"

Duration = NewType("Duration", float)  # seconds
Wait = NewType("Wait", float)  # seconds, more than none
Size = NewType("Size", int)  # bytes
Count = NewType("Count", int)
Port = NewType("Port", int)
Percent = NewType("Percent", int)
Natural = NewType("Natural", int)  # 1 or more
Share = NewType("Share", float)  # 0 to 1, written in percent
Weight = NewType("Weight", float)
Dollars = NewType("Dollars", float)
PromptLength = NewType("PromptLength", int)  # in tokens
RateAmount = NewType("RateAmount", Rate)
HeaderName = NewType("HeaderName", str)  # in lower case
ProbePath = NewType("ProbePath", str)
Reason = NewType("Reason", str)  # one of ``REASONS``
Url = NewType("Url", str)
UrlPath = NewType("UrlPath", str)
KeyHeader = NewType("KeyHeader", str)  # of a header, in lower case, or ``bearer``
AddressPart = NewType("AddressPart", str)  # such as a region
Secret = NewType("Secret", str)  # text that no message may repeat
Digest = NewType("Digest", str)  # SHA-256 in hexadecimal
SealingKeys = NewType("SealingKeys", tuple[bytes, ...])  # for AES-256; Unresolved text where nobody looked it up
CertificateName = NewType("CertificateName", str)  # one of ``CertificateNames``
Mode = NewType("Mode", int)  # of a file
Timestamp = NewType("Timestamp", datetime)  # in UTC
Budget = NewType("Budget", SpendingBudget)
ZoneName = NewType("ZoneName", str)  # of a time zone
Origin = NewType("Origin", str)  # of a web page, or *
AuditPlace = NewType("AuditPlace", str)  # ``stderr``, or a path
HostName = NewType("HostName", str)
Network = NewType("Network", str)  # of peers: in CIDR notation, or ``unix``
Version = NewType("Version", str)
SpokenApi: TypeAlias = Literal["chat", "messages", "responses", "gemini", "converse"]
"""The APIs that a configuration can name; they are those of ``streams.events.APIS``."""

SPOKEN_APIS: tuple[SpokenApi, ...] = get_args(SpokenApi)

REASONS = ("unavailable", *(reason for reason in get_args(FailureReason) if reason != "invalid"))
"""The failures that may lead to a target, and the word for those that are about the place that was asked."""

Speaking = NewType("Speaking", dict[SpokenApi, SpokenApi])
QuirkChanges = NewType("QuirkChanges", dict[str, Any])

UnitWord = NewType("UnitWord", str)  # one of ``UNITS``
EndpointWord = NewType("EndpointWord", str)  # one of ``ENDPOINTS``
EndpointPath = NewType("EndpointPath", str)  # a path behind the base URL, or a whole address
BodyShape = NewType("BodyShape", str)  # one of ``BODY_SHAPES``


def _text(value: Any, _: Any) -> str:
    if isinstance(value, str):
        return value
    quote = " (put it in quotes)" if not isinstance(value, list | dict) else ""
    raise Wrong(describe(value), f"this must be text{quote}")


def _held(value: Any) -> Any:
    """What the file holds where ``value`` names one. Raises ``Wrong``."""
    return value.text() if isinstance(value, SecretFile) else value


def _secret(value: Any, _: Any) -> str:
    value = _held(value)
    if not isinstance(value, str):
        raise Wrong("something that is no text", "this must be text (put it in quotes)")
    if isinstance(value, Unresolved):
        return value
    text = value.strip()  # files and secret stores like to end with a line break
    if not re.fullmatch(r"[\t\x20-\x7e]*", text):
        raise Wrong("characters that no header can carry", "this must be one line of printable ASCII")
    return text


def _digest(value: Any, _: Any) -> str:
    value = _held(value)
    if isinstance(value, Unresolved):
        return value
    text = value.strip().lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise Wrong("something that is no SHA-256", "this must be 64 hexadecimal digits: `printf %s KEY | sha256sum`")
    return text


def _sealing_keys(value: Any, _: Any) -> tuple[Any, ...]:
    """One, or a list."""
    if value == []:
        raise Wrong("an empty list", "give at least one key: `openssl rand -base64 32`")
    return tuple(map(_sealing_key, value)) if isinstance(value, list) else (_sealing_key(value),)


def _sealing_key(value: Any) -> Any:
    value = _held(value)
    if isinstance(value, Unresolved):
        return value
    try:
        key = base64.b64decode(value.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (AttributeError, ValueError):
        key = b""
    if len(key) != 32:
        raise Wrong("something that is no key", "this must be 32 bytes in base64: `openssl rand -base64 32`")
    return key


def _certificate_name(value: Any, _: Any) -> str:
    text = _text(value, _)
    if isinstance(value, Unresolved):
        return text
    if (name := as_name(text)) is None:
        raise Wrong(describe(value), "this must be CN=NAME, DNS:NAME, URI:…, email:… or SHA256:… of a certificate")
    return name


def _mode(value: Any, _: Any) -> int:
    """In quotes alone: YAML takes 0660 for 432."""
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
        return int(value, 8)
    raise Wrong(describe(value), 'this must be three octal digits in quotes, such as "0660"')


def _timestamp(value: Any, _: Any) -> datetime:
    """A date lasts to its end, as people mean it. YAML has made a date or a time of most of them already."""
    try:
        found = _parsed(value.strip()) if isinstance(value, str) else value
        if isinstance(found, datetime):
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        if isinstance(found, date):
            return datetime.combine(found, time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError):  # the latter for what is beyond the year 9999 in UTC
        pass
    raise Wrong(describe(value), "this must be a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00Z")


def _parsed(text: str) -> date:
    """Raises ``ValueError``."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return date.fromisoformat(text)
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{8,15}([Zz]|[+-][0-9]{2}:[0-9]{2})?", text):
        raise ValueError
    return datetime.fromisoformat(text.upper())


def _origin(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and not re.fullmatch(r"\*|[A-Za-z][A-Za-z0-9+.-]*://[!-.0-~]+", text):
        raise Wrong(describe(value), "this must be an origin such as https://app.example (no path), or *")
    return text


def _host_name(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}|[0-9A-Fa-f:.]{2,45}", text):
        raise Wrong(describe(value), "this must be a name such as gateway.example, without scheme, port and path")
    return text.lower().removesuffix(".")


def _audit_place(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and (not text or "\0" in text):
        raise Wrong(describe(value), "this must be stderr, or the path of a file")
    return text


def _network(value: Any, _: Any) -> str:
    text = _text(value, _)
    if isinstance(value, Unresolved) or text == UNIX:
        return text
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise Wrong(describe(value), "this must be an address, a network such as 10.0.0.0/8, or unix") from None


def _boolean(value: Any, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise Wrong(describe(value), "this must be true or false")


def _integer(least: int, most: int | None, what: str) -> Callable[[Any, Any], int]:
    def structure(value: Any, _: Any) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value) else value
        good = isinstance(number, int) and not isinstance(number, bool) and number >= least
        if not good or (most is not None and number > most):
            raise Wrong(describe(value), f"this must be {what}")
        return int(number)

    return structure


_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_AMOUNT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")


def _amount(value: Any, units: Mapping[str, float], expected: str, least: float = 0.0) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = format(value, "f") if isinstance(value, float) else spelled(value) if number else value
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None or (amount := float(match[1]) * unit) < least:
        raise Wrong(describe(value), expected)
    return amount


def _duration(value: Any, _: Any) -> float:
    return _amount(value, _SECONDS, "this must be a duration such as 30s, 0.5s or 5m")


def _wait(value: Any, _: Any) -> float:
    return _amount(value, _SECONDS, "this must be a duration above 0, such as 30s, 0.5s or 5m", 0.001)


def read_wait(text: str) -> float:
    """Seconds, as a configuration spells a duration above 0. Raises ``Wrong``."""
    return _wait(text, None)


def _share(value: Any, _: Any) -> float:
    match = SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(describe(value), "this must be a share such as 20%")
    return float(match[1]) / 100


SHARE = re.compile(r"(100|[0-9]{1,2}(?:\.[0-9]{1,3})?)\s*%")


def _weight(value: Any, _: Any) -> float:
    return _amount(value, {"": 1.0}, "this must be a number, 0 or more")


def _dollars(value: Any, _: Any) -> float:
    """0 for a variable that nobody has looked up."""
    if isinstance(value, Unresolved):
        return 0.0
    exact = f"{value:.9f}" if isinstance(value, float) else value  # as many digits as text may have
    return _amount(exact, {"": 1.0}, "this must be a number of dollars, 0 or more, such as 1.25")


def _prompt_length(value: Any, _: Any) -> int:
    match = PROMPT_LENGTH.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(describe(value), "this must be a number of tokens, such as 200k or 272000")
    return int(match[1]) * _THOUSANDS[match[2].lower()]


PROMPT_LENGTH = re.compile(r"([0-9]{1,9})([kKmM]?)")
_THOUSANDS: Mapping[str, int] = {"": 1, "k": 10**3, "m": 10**6}

_RATE_EXPECTED = "this must be an amount for a time, such as 600/m, 2M/m, 50k/d or 10/s"
_TIMES = {"s": 1.0, "second": 1.0, "m": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0, "d": 86400.0, "day": 86400.0}
_MULTIPLES = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6}
RATE = re.compile(rf"([0-9]{{1,15}})(?:\.([0-9]{{1,3}}))?([kKM]?)\s*/\s*({'|'.join(_TIMES)})")
"""Of a fraction nothing may be left over: ``1.5M`` is whole, ``0.5`` is not."""


def _rate(value: Any, _: Any) -> Rate:
    match = RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Wrong(describe(value), _RATE_EXPECTED)
    whole, fraction, multiple, unit = match[1], match[2] or "", match[3], match[4]
    amount, rest = divmod(int(whole + fraction) * _MULTIPLES[multiple], 10 ** len(fraction))
    if rest:
        raise Wrong(describe(value), "this must come to a whole number: write it for a longer time, such as 30/m")
    if not amount:
        raise Wrong(describe(value), "with this nothing would ever pass: leave it out for no limit")
    return Rate(amount, _TIMES[unit], re.sub(r"\s", "", value))


def _header_name(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and not HEADER.fullmatch(text):
        raise Wrong(describe(value), "this must be the name of a header")
    return text.lower()


HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _probe_path(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and not re.fullmatch(r"/[!-~]*", text):
        raise Wrong(describe(value), "this must be a path such as /health")
    return text


def _endpoint_word(value: Any, _: Any) -> str:
    return _one_word(value, ENDPOINTS)


def _unit_word(value: Any, _: Any) -> str:
    return _one_word(value, UNITS)


def _body_shape(value: Any, _: Any) -> str:
    return _one_word(value, BODY_SHAPES)


def _one_word(value: Any, words: Collection[str]) -> str:
    if isinstance(value, str) and (value in words or isinstance(value, Unresolved)):
        return value
    raise Wrong(described_word(value), one_of(words), nearest(value, words) if isinstance(value, str) else None)


def _endpoint_path(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and not ENDPOINT_PATH.fullmatch(text):
        raise Wrong(describe(value), "this must be a path such as /embed, a whole URL, true or false")
    return text


ENDPOINT_PATH = re.compile(r"(?:https?://[A-Za-z0-9.\[\]_-]+(?::[0-9]{1,5})?)?/[!\"$-~]*")


def _reason(value: Any, _: Any) -> str:
    if isinstance(value, str) and (value in REASONS or isinstance(value, Unresolved)):
        return value
    if value == "invalid":
        raise Wrong("'invalid'", "a mistake of the client's is answered as it is, always")
    raise Wrong(described_word(value), one_of(REASONS), nearest(value, REASONS) if isinstance(value, str) else None)


def _size(value: Any, _: Any) -> int:
    return int(_amount(value, _BYTES, "this must be a size such as 64MiB, 500kB or a number of bytes", 1))


def _url(value: Any, _: Any) -> str:
    text = _text(value, _)
    if isinstance(value, Unresolved):
        return text
    if re.match(r"[^/?#]*//[^/?#]*@", text):
        raise Wrong(USER_NAME, "credentials belong in access_key or headers")
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or not re.fullmatch(r"[\x21-\x7e]+", text) or "#" in text:
        raise Wrong(_no_url(text), "this must be a URL such as https://host:8000/v1")
    return text


def _address_part(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and not ADDRESS_PART.fullmatch(text):
        raise Wrong(describe(value), "this must be a name such as us-east-1: letters, digits, `.`, `_` and `-`")
    return text


ADDRESS_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _url_path(value: Any, _: Any) -> str:
    text = _text(value, _)
    if not isinstance(value, Unresolved) and not URL_PATH.fullmatch(text):
        raise Wrong(describe(value), "this must be a path such as /api/v1/messages")
    return text


URL_PATH = re.compile(r"/[!$-~]*")


def _no_url(text: str) -> str:
    """The value that stands where a URL should, fit for a message. What a URL has before ``@``, or after ``?``, may be
    a credential in this, too."""
    if isinstance(text, Expanded):
        return describe(text)
    return "something that may hold a password" if "@" in text else describe(re.sub(r"(?s)([?#]).*", r"\1…", text))


def _version(value: Any, _: Any) -> str:
    text = spelled(value) if isinstance(value, int | float) else str(value)
    if text in VERSIONS:
        return text
    raise Wrong(describe(value), one_of(VERSIONS), nearest(text, ("v0.3.0", "v0.4.0", *VERSIONS), 0.5))


READERS: Mapping[Any, Callable[[Any, Any], Any]] = {
    str: _text,
    bool: _boolean,
    int: _integer(0, None, "a whole number"),
    Count: _integer(0, 10**6, "a whole number, 0 or more"),
    Port: _integer(1, 65535, "a port, 1 to 65535"),
    Percent: _integer(0, 100, "a percentage, 0 to 100"),
    Natural: _integer(1, 10**6, "a whole number, 1 or more"),
    Share: _share,
    Weight: _weight,
    Dollars: _dollars,
    PromptLength: _prompt_length,
    RateAmount: _rate,
    HeaderName: _header_name,
    ProbePath: _probe_path,
    UnitWord: _unit_word,
    EndpointWord: _endpoint_word,
    EndpointPath: _endpoint_path,
    BodyShape: _body_shape,
    Reason: _reason,
    Duration: _duration,
    Wait: _wait,
    Size: _size,
    Url: _url,
    AddressPart: _address_part,
    UrlPath: _url_path,
    KeyHeader: _header_name,
    Secret: _secret,
    Digest: _digest,
    SealingKeys: _sealing_keys,
    CertificateName: _certificate_name,
    Mode: _mode,
    Timestamp: _timestamp,
    Budget: read_budget,
    ZoneName: read_zone,
    Origin: _origin,
    AuditPlace: _audit_place,
    HostName: _host_name,
    Network: _network,
    Version: _version,
}
"""What makes a value of each kind of what stands in the file. All raise ``Wrong``."""
