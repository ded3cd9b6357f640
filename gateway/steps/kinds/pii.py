"""The kind ``pii``: e-mail addresses, phone, card and bank account numbers, IP addresses, and national ids."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias

import attrs

from configfile.keys import setting
from gateway.steps.kinds import national_ids
from gateway.steps.kinds.normal import decoded_texts, may_be_encoded
from gateway.steps.kinds.scanning import LONGEST_SEGMENT, Match, ScanningStep

PiiLabel: TypeAlias = Literal[
    "email", "phone", "card", "iban", "ip", "us_ssn", "uk_nino", "de_tax_id", "fr_nir", "es_dni", "it_codice_fiscale",
    "nl_bsn", "pl_pesel", "br_cpf", "in_aadhaar",
]  # fmt: skip

ALL: Final[tuple[PiiLabel, ...]] = (
    "email", "card", "iban", "us_ssn", "uk_nino", "de_tax_id", "fr_nir", "es_dni", "it_codice_fiscale", "nl_bsn",
    "pl_pesel", "br_cpf", "in_aadhaar", "phone", "ip",
)  # fmt: skip
"""The labels. Text that fits several of them has the first one."""

CONTEXT: Final = 64
"""Characters before a number that may have its name."""


@attrs.frozen(repr=False)
class PiiSettings:
    """The settings of ``pii``."""

    labels: tuple[PiiLabel, ...] = setting(
        "The kinds of values that it finds.", ALL, shown="all", shape={"minItems": 1}
    )


_LETTER: Final = "[A-Za-z0-9_%+@.:/()~'\u00c0-\u024f-]"
_JOINED: Final = r"(?: (?:(?<=[0-9)] )(?=[0-9A-Z(+])|(?<=[A-Z] )(?=[0-9(+])|(?<=[0-9A-Z]{4} )(?=[0-9A-Z])))"
_SEGMENT: Final = re.compile(rf"{_LETTER}++(?:{_JOINED}{_LETTER}++)*+")
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_%+@.:/()~'-"
_ENDS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789)"
_CHARACTERS: Final = re.compile("[0-9@:]")
SHORTEST: Final = 16
"""Characters of the shortest encoded value."""
_OPEN: Final = re.compile(r"[0-9A-Z)] \Z")
_NO_DIGITS: Final = dict.fromkeys(map(ord, "0123456789"))
FEWEST_DIGITS: Final = 6
"""Digits of the shortest number, except addresses."""


class PiiStep(ScanningStep):
    """A step that finds personal data with one of the labels in its settings."""

    def __init__(self, settings: PiiSettings) -> None:
        self.labels = tuple(label for label in ALL if label in settings.labels)
        self._finders = [(label, FINDERS[label]) for label in self.labels]
        self._without_digits = [(label, find) for label, find in self._finders if label in ("email", "ip")]

    def segments(self, text: str) -> re.Pattern[str]:
        return _SEGMENT

    def is_open(self, text: str, end: int) -> bool:
        return end == len(text) or (end == len(text) - 1 and _OPEN.search(text, max(0, end - 1)) is not None)

    def may_match(self, text: str, start: int) -> bool:
        is_likely = _CHARACTERS.search(text, start) is not None
        return is_likely or (len(text) - start >= SHORTEST and may_be_encoded(text, start, len(text)))

    def short_tail(self, text: str, start: int) -> int | None:
        tail = max(start, len(text.rstrip(_LETTERS)))
        is_joined = start < tail > 1 and text[tail - 1] == " " and text[tail - 2] in _ENDS
        if is_joined or len(text) - tail > LONGEST_SEGMENT:
            return None
        return tail

    def search(self, text: str, start: int, end: int) -> Iterator[Match]:
        yield from self._search_plain(text, start, end)
        if may_be_encoded(text, start, end):
            for decoded in decoded_texts(text, start, end):
                for label, first, last in self._search_plain(decoded.text, 0, len(decoded.text)):
                    yield label, *decoded.span(first, last)

    def _search_plain(self, text: str, start: int, end: int) -> Iterator[Match]:
        piece = text[start:end]
        has_number = len(piece) - len(piece.translate(_NO_DIGITS)) >= FEWEST_DIGITS
        if not has_number and "@" not in piece and piece.count(".") < 3 and piece.count(":") < 2:
            return
        known: list[tuple[int, int]] = []
        for label, find in self._finders if has_number else self._without_digits:
            for first, last in find(text, start, end):
                if all(last <= a or first >= b for a, b in known):
                    known.append((first, last))
                    yield label, first, last


Finder: TypeAlias = Callable[[str, int, int], Iterable[tuple[int, int]]]
"""Returns the spans of the values between two positions."""

_LOCAL: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-'~" + "".join(
    chr(code) for code in range(0xC0, 0x250) if chr(code).isalpha()
)
_DOMAIN: Final = re.compile(
    "@(?:[A-Za-z0-9\u00c0-\u024f](?:[A-Za-z0-9\u00c0-\u024f-]{0,61}[A-Za-z0-9\u00c0-\u024f])?\\.){1,8}"
    "(?:xn--[a-z0-9-]{2,40}|[A-Za-z]{2,24})(?![A-Za-z0-9])"
)


def _emails(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    at = text.find("@", start, end)
    while at >= 0:
        local = text[max(start, at - 64) : at]
        name = local[len(local.rstrip(_LOCAL)) :].lstrip("._%+-'~")
        domain = _DOMAIN.match(text, at, end) if name else None
        if domain is not None and not (name == "git" and text.startswith(":", domain.end())):
            yield at - len(name), domain.end()
        at = text.find("@", at + 1 if domain is None else domain.end(), end)


_CARDS: Final = tuple(
    re.compile(rf"(?<![0-9A-Za-z])(?<![0-9]\.)(?:{digits})(?![0-9A-Za-z])")
    for digits in (
        r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}\1\d{3}",
        r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}|3\d{3}([ -])\d{6}\2\d{4,5}|\d{13,19}",
    )
)
_ISSUERS: Final = re.compile(
    r"4|5[0-8]|6(?:011|2|3|4[4-9]|5|7|9)|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3(?:0[0-5]|[4-9])|9792|8[1-7]|1800|2131"
)
"""The first digits of card numbers: https://en.wikipedia.org/wiki/Payment_card_number."""


def _cards(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for pattern in _CARDS:
        at = start
        while (found := pattern.search(text, at, end)) is not None:
            digits = found[0].replace(" ", "").replace("-", "")
            is_card = _ISSUERS.match(digits) is not None and _passes_luhn(digits)
            if is_card:
                yield found.span()
            at = found.end() if is_card else found.start() + 4


_DOUBLED: Final = str.maketrans("0123456789", "0246813579")


def _passes_luhn(digits: str) -> bool:
    doubled = digits[-2::-2].translate(_DOUBLED)
    return sum(map(int, digits[-1::-2])) % 10 == (-sum(map(int, doubled))) % 10 and len(set(digits)) > 1


_IBAN: Final = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}\d{2}(?=[ -]?[0-9A-Z])")
_LENGTHS: Final[Mapping[str, int]] = {
    country: size
    for size, countries in (
        (15, "NO"), (16, "BE"), (18, "DK FI FO GL NL FK SD"), (19, "MK SI"), (20, "AT BA EE KZ LT LU XK MN"),
        (21, "CH HR LI LV"), (22, "BG BH CR DE GB GE IE ME RS VA"), (23, "AE GI IL IQ TL OM SO"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"), (25, "LY PT ST"), (26, "IS TR"), (27, "FR GR IT MC MR SM BI DJ"),
        (28, "AL AZ BY CY DO GT HU LB NI PL SV"), (29, "BR EG PS QA UA"), (30, "JO KW MU YE"), (31, "MT SC"),
        (32, "LC"), (33, "RU"),
    )
    for country in countries.split()
}  # fmt: skip
"""Characters by country: https://www.swift.com/standards/data-standards/iban."""


def _ibans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for found in _IBAN.finditer(text, start, end):
        size, at, letters = _LENGTHS.get(found[0][:2], 0), found.start(), ""
        while at < end and len(letters) < size:
            if text[at].isascii() and (text[at].isdigit() or text[at].isupper()):
                letters += text[at]
            elif text[at] not in " -" or text[at - 1] in " -":
                break
            at += 1
        is_whole = at == end or not (text[at].isascii() and text[at].isalnum())
        if size and len(letters) == size and is_whole and _passes_mod_97(letters):
            yield found.start(), at


def _passes_mod_97(letters: str) -> bool:
    return int("".join(str(int(one, 36)) for one in letters[4:] + letters[:4])) % 97 == 1


_IPV4: Final = re.compile(r"(?<![0-9A-Za-z.])(?:\d{1,3}\.){3}\d{1,3}(?![0-9A-Za-z]|\.[0-9])")
_IPV6: Final = re.compile(r"(?<![0-9A-Za-z:.])(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9a-fA-F]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?"
                          r"(?![0-9A-Za-z:])")  # fmt: skip


def _addresses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text, start, end):
            try:
                address = ip_address(found[0])
            except ValueError:
                continue
            is_path = "::" in found[0] and len(found[0].partition(":")[0]) < 3  # as in code: a::b
            if not (address.is_loopback or address.is_unspecified or is_path):
                yield found.span()


_PHONES: Final = (
    re.compile(
        r"(?<![0-9A-Za-z+])\+[1-9]\d{0,2}[ .\-/]?(?:\(\d{1,5}\)[ .\-/]?)?\d(?:[ .\-/]?\d){5,12}+(?![0-9A-Za-z])"
    ),
    re.compile(r"(?<![0-9A-Za-z.+-])(?<!\d[ ./])00[1-9]\d(?:[ .\-/]?\d){7,12}+(?![0-9A-Za-z])"),
    re.compile(
        r"(?<![0-9A-Za-z.+-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}(?![0-9A-Za-z]|[.-]\d)"
    ),
    re.compile(
        r"(?<![0-9A-Za-z.+/-])(?<!\d )(?!\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d{2})"
        r"\(?0[1-9]\d{0,4}\)?[ /-]?\d(?:[ -]?\d){5,8}+(?![0-9A-Za-z]|[.-]\d)"
    ),
)
"""Numbers with a country code, of North America, and with a trunk prefix: https://www.itu.int/rec/T-REC-E.164."""


def _phones(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for pattern in _PHONES:
        for found in pattern.finditer(text, start, end):
            if 9 <= sum(one.isdigit() for one in found[0]) <= 17:
                yield found.span()


def _national_ids(label: str) -> Finder:
    rows = [row for row in national_ids.ROWS if row.label == label]

    def find(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
        for row in rows:
            for found in row.pattern.finditer(text, start, end):
                before = text[max(0, found.start() - CONTEXT) : found.start()]
                plain = "".join(one for one in found[0] if one.isalnum())
                if (row.before is None or row.before.search(before) is not None) and row.is_valid(plain):
                    yield found.span()

    return find


FINDERS: Final[Mapping[str, Finder]] = {
    "email": _emails, "card": _cards, "iban": _ibans, "phone": _phones, "ip": _addresses,
    **{row.label: _national_ids(row.label) for row in national_ids.ROWS},
}  # fmt: skip
