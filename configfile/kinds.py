"""Kinds of values in files of any purpose: durations, sizes, numbers, URLs, secrets, …

Each is a type of the program, annotated with its form in a file. Readers of text return unresolved variables unchanged.
"""

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlsplit

from configfile.expanded import Expanded, Unresolved
from configfile.keys import Kind, Shape
from configfile.secret_files import SecretReference
from configfile.stored_secrets import StoredText
from configfile.wording import Wrong, describe, describe_word, nearest, one_of, spell_number

VARIABLE: Final[Shape] = {"$ref": "#/$defs/variable"}
"""Text with a variable, valid in place of any value."""

FILE: Final[Shape] = {"$ref": "#/$defs/file"}
"""A secret in a file of its own."""

SECRET: Final[Shape] = {"anyOf": [FILE, {"$ref": "#/$defs/stored_secret"}]}
"""A secret in a file of its own or in a store."""

USER_NAME: Final = "a URL with a user name"


def text_shape(pattern: str, **more: Any) -> Shape:
    """Return the shape of text that ``pattern`` matches completely."""
    return {"type": "string", "pattern": f"^(?:{pattern})$", **more}


def any_of(*shapes: Shape) -> Shape:
    """Return the shape of a value with one of ``shapes``, or of a variable."""
    return {"anyOf": [*shapes, VARIABLE]}


# Text


def read_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    quote = " (put it in quotes)" if not isinstance(value, list | dict) else ""
    raise Wrong(describe(value), f"expected text{quote}")


def text_reader(pattern: str, what: str, change: Callable[[str], str] = str) -> Callable[[Any], str]:
    """Return a reader of text that ``pattern`` matches completely.

    ``what`` is its name in messages, and ``change`` converts the text.
    """

    def read(value: Any) -> str:
        text = read_text(value)
        if isinstance(value, Unresolved):
            return text
        if not re.fullmatch(pattern, text):
            raise Wrong(describe(value), f"expected {what}")
        return change(text)

    return read


def text_matching(pattern: str, what: str, words: str = "text", *, takes_text: bool = False) -> Kind:
    """Return the kind of text that ``pattern`` matches completely."""
    return Kind(words, text_reader(pattern, what), any_of(text_shape(pattern)), takes_text=takes_text)


def word_reader(words: Collection[str]) -> Callable[[Any], str]:
    """Return a reader of one of ``words``."""

    def read(value: Any) -> str:
        if isinstance(value, str) and (value in words or isinstance(value, Unresolved)):
            return value
        raise Wrong(describe_word(value), one_of(words), nearest(value, words) if isinstance(value, str) else None)

    return read


def read_secret(value: Any, *, may_be_unread: bool = False) -> Any:
    """Return the text of a secret, also from a file or a store. Raises ``Wrong``, as ``SecretReference.text``."""
    return value.text(may_be_unread=may_be_unread) if isinstance(value, SecretReference) else value


def _read_secret(value: Any, *, may_be_unread: bool = False) -> str:
    value = read_secret(value, may_be_unread=may_be_unread)
    if not isinstance(value, str):
        raise Wrong("not text", "expected text (put it in quotes)")
    if isinstance(value, Unresolved):
        return value
    text = value.strip()  # files and secret stores like to end with a line break
    if not re.fullmatch(r"[\t\x20-\x7e]*", text):
        raise Wrong("it has characters that headers cannot contain", "expected one line of printable ASCII")
    return StoredText.of(text, value.secret) if isinstance(value, StoredText) else text


# Numbers


def _read_boolean(value: Any) -> bool:
    found = {"1": True, "0": False}.get(value, value) if isinstance(value, Expanded) else value
    if isinstance(found := plain_value(found), bool):
        return found
    raise Wrong(describe(value), "expected true or false")


def plain_value(value: Any) -> Any:
    """Return the boolean or number that the text of a variable would be in the file, any other value unchanged."""
    if not isinstance(value, Expanded):
        return value
    if (word := _BOOLEANS.get(value.strip().lower())) is not None:
        return word
    found = _NUMBER.fullmatch(value.strip())
    return value if found is None else float(value) if found[1] else int(value)


_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
"""The words of YAML 1.1."""

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,15})(\.[0-9]{1,16})?")


def _whole_number_reader(least: int, most: int | None, what: str) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        number = int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value) else value
        good = isinstance(number, int) and not isinstance(number, bool) and number >= least
        if not good or (most is not None and number > most):
            raise Wrong(describe(value), f"expected {what}")
        return int(number)

    return read


def whole_number(least: int, most: int | None, what: str, words: str, digits: str) -> Kind:
    """Return the kind of whole numbers from ``least`` to ``most``; ``digits`` is their pattern as text."""
    bound = {} if most is None else {"maximum": most}
    shape = any_of({"type": "integer", "minimum": least, **bound}, text_shape(digits, maxLength=12))
    return Kind(words, _whole_number_reader(least, most, what), shape)


def read_amount(value: Any, units: Mapping[str, float], expected: str, least: float = 0.0) -> float:
    """Read a number with one of ``units``. Raises ``Wrong`` with ``expected``."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = format(value, "f") if isinstance(value, float) else spell_number(value) if number else value
    match = _AMOUNT.fullmatch(text) if isinstance(text, str) else None
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None or (amount := float(match[1]) * unit) < least:
        raise Wrong(describe(value), expected)
    return amount


_AMOUNT: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
_SECONDS: Final = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def _read_duration(value: Any) -> float:
    return read_amount(value, _SECONDS, "expected a duration such as 30s, 0.5s or 5m")


def read_positive_duration(value: Any) -> float:
    """Return the seconds of a duration above 0. Raises ``Wrong``."""
    return read_amount(value, _SECONDS, "expected a duration above 0, such as 30s, 0.5s or 5m", 0.001)


def _read_size(value: Any) -> int:
    return int(read_amount(value, _BYTES, "expected a size such as 64MiB, 500kB or a number of bytes", 1))


_SHARE: Final = r"(100|[0-9]{1,2}(?:\.[0-9]{1,3})?)\s*%"


def _read_share(value: Any) -> float:
    match = re.fullmatch(_SHARE, value) if isinstance(value, str) else None
    if match is None:
        raise Wrong(describe(value), "expected a share such as 20%")
    return float(match[1]) / 100


def _read_weight(value: Any) -> float:
    return read_amount(value, {"": 1.0}, "expected a number, 0 or more")


def spell_duration(seconds: float) -> str:
    """Spell a duration in the largest unit that divides it: ``5m`` for 300.0."""
    units = (("d", 86400), ("h", 3600), ("m", 60))
    unit, size = next(((unit, size) for unit, size in units if seconds and seconds % size == 0), ("s", 1))
    return f"{seconds / size:g}{unit}"


def spell_size(size: int) -> str:
    """Spell a size in the largest unit that divides it: ``64MiB`` for 2**26."""
    units = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))
    unit, bytes_of = next(((unit, of) for unit, of in units if size and size % of == 0), ("", 1))
    return f"{size // bytes_of}{unit}"


# URLs


def _read_url(value: Any) -> str:
    text = read_text(value)
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
        raise Wrong(_describe_wrong_url(text), "expected a URL such as https://host:8000/v1")
    return text


def _describe_wrong_url(text: str) -> str:
    """Describe an invalid URL. The parts before ``@`` and after ``?`` may be credentials, even here."""
    if isinstance(text, Expanded):
        return describe(text)
    return "a value that may have a password" if "@" in text else describe(re.sub(r"(?s)([?#]).*", r"\1…", text))


# The kinds

_DIGITS: Final = r"(?=[0-9]{1,12}(?![0-9]))"
_DECIMALS: Final = r"(?=[0-9]{1,9}(?![0-9]))"
_DECIMAL: Final = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_SOME: Final = rf"(?=[0-9.]*[1-9]){_DECIMAL}"
_ONE: Final = rf"{_DIGITS}0*[1-9][0-9]*(?:\.[0-9]{{1,9}})?"  # 1 or more
_THOUSANDTH: Final = rf"{_ONE}|{_DIGITS}0+\.{_DECIMALS}0{{0,2}}[1-9][0-9]*"  # 0.001 or more
_PORT: Final = r"0*(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
HEADER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"


def number_shape(least: float) -> Shape:
    return {"type": "number", "minimum": least, "exclusiveMaximum": 10**12}


DECIMAL_SHAPE: Final = any_of(number_shape(0), text_shape(rf"{_DECIMAL}\s*"))

PLAIN: Final[Mapping[Any, Kind]] = {
    str: Kind("text", read_text, {"type": "string"}, takes_text=True),
    bool: Kind("true or false", _read_boolean, any_of({"type": "boolean"}), spell=lambda value: str(value).lower()),
    int: whole_number(0, None, "a whole number", "whole number", r"[0-9]{1,12}"),
}
"""The kinds of types without an annotation."""

Count: TypeAlias = Annotated[
    int, whole_number(0, 10**6, "a whole number, 0 or more", "whole number", r"0*(?:[0-9]{1,6}|1000000)")
]
Natural: TypeAlias = Annotated[
    int,
    whole_number(1, 10**6, "a whole number, 1 or more", "whole number, above 0", r"0*(?:[1-9][0-9]{0,5}|1000000)"),
]
Port: TypeAlias = Annotated[int, whole_number(1, 65535, "a port, 1 to 65535", "1 to 65535", _PORT)]
Percent: TypeAlias = Annotated[int, whole_number(0, 100, "a percentage, 0 to 100", "0 to 100", r"0*(?:[0-9]{1,2}|100)")]
Share: TypeAlias = Annotated[
    float, Kind("percentage", _read_share, any_of(text_shape(_SHARE)), spell=lambda share: f"{share * 100:g}%")
]
"""0 to 1, written in percent."""

Weight: TypeAlias = Annotated[float, Kind("number", _read_weight, DECIMAL_SHAPE, spell=lambda weight: f"{weight:g}")]

_DURATION_SHAPE: Final = any_of(number_shape(0), text_shape(rf"{_DECIMAL}\s*(?:[mM]?[sS]|[mMhHdD])?"))
Duration: TypeAlias = Annotated[
    float,
    Kind("duration", _read_duration, _DURATION_SHAPE, spell=spell_duration),
]
"""Seconds."""

Wait: TypeAlias = Annotated[
    float,
    Kind(
        "duration, above 0",
        read_positive_duration,
        any_of(number_shape(0.001), text_shape(rf"(?:{_THOUSANDTH})\s*[sS]?|{_ONE}\s*[mM][sS]|{_SOME}\s*[mMhHdD]")),
        spell=spell_duration,
    ),
]
"""Seconds, > 0."""

TimeLimit: TypeAlias = Annotated[
    float | None,
    Kind(
        "duration",
        lambda value: _read_duration(value) or None,
        _DURATION_SHAPE,
        spell=lambda time: spell_duration(time or 0),
    ),
]
"""Seconds; 0 is no limit (``None``)."""

Size: TypeAlias = Annotated[
    int,
    Kind(
        "size",
        _read_size,
        any_of(number_shape(1), text_shape(rf"{_ONE}\s*[bB]?|{_SOME}\s*[kKmMgG][iI]?[bB]")),
        spell=spell_size,
    ),
]
"""Bytes, > 0."""

_SECRET_SHAPE: Final[Shape] = {"anyOf": [text_shape(r"\s*[\t\x20-\x7e]*\s*"), VARIABLE, SECRET]}

Secret: TypeAlias = Annotated[str, Kind("text or file", _read_secret, _SECRET_SHAPE, takes_text=True)]
"""Text that no message repeats."""

LateSecret: TypeAlias = Annotated[
    str, Kind("text or file", partial(_read_secret, may_be_unread=True), _SECRET_SHAPE, takes_text=True)
]
"""A ``Secret`` without which the program can start: ``UnreadText`` while its store does not give it."""

Url: TypeAlias = Annotated[
    str,
    Kind(
        "URL",
        _read_url,
        any_of(
            text_shape(
                r"[hH][tT][tT][pP][sS]?://(?:\[[0-9A-Fa-f:.]+\]|[!-\"$-.0-9;<=>A-Z^-~]+)"
                rf"(?::(?:{_PORT})?)?(?:[/?][!-\"$-~]*)?"
            )
        ),
        takes_text=True,
    ),
]

HeaderName: TypeAlias = Annotated[
    str,
    Kind("name of a header", text_reader(HEADER, "the name of a header", str.lower), any_of(text_shape(HEADER))),
]
"""Lower case."""
