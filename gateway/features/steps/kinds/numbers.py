"""The formats of numbers for the kind ``pii``: cards, bank accounts, phones and national identification numbers.

One pattern finds the positions at which a number may begin, with its shape, and only the formats of that shape are
tried there. So text that looks like numbers takes linear time."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, TypeAlias

import attrs
from stdnum import numdb, verhoeff
from stdnum.br import cpf
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.iso7064 import mod_11_10
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel

from gateway.features.steps.kinds.scanning import RankedSpan

CONTEXT: Final = 64
"""Characters before a number that may have its name."""


@attrs.frozen(eq=False, repr=False)
class NumberFormat:
    """The format of a number.

    ``is_valid`` gets the number without separators. ``before`` must match the text before it. ``shapes`` are the groups
    of ``_NUMBER`` that it may have, 0 for any other shape, and ``starts`` are its first characters, or its
    first two letters."""

    label: str
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    shapes: Collection[int]
    starts: Collection[str]
    before: re.Pattern[str] | None = None
    source: str = ""


Formats: TypeAlias = Mapping[tuple[str, int], Sequence[tuple[int, NumberFormat]]]
"""The formats with the ranks of their labels, by the beginning of a number and its shape."""

_SSN, _CPF, _NORTH_AMERICA, _QUADS, _AMEX, _LONG, _PLAIN = range(1, 8)
_ANY: Final = range(8)
_DIGITS: Final = "0123456789"

_NUMBER: Final = re.compile(
    r"[0-9A-Z(+](?<![0-9A-Za-z].)(?<=(?="
    r"\d\d(?:\d(?:([- ]\d\d[- ]\d{4})|(\.\d{3}\.\d{3}-\d\d)|([ .-]\d{3}[ .-]\d{4})"
    r"|\d(?:([ -]\d{4}[ -]\d{4})|([ -]\d{6}[ -]\d{4})|(\d{9,15}(?![0-9A-Za-z]))"
    r"|(\.?\d\d\.?\d{3}(?!\d{4})|\d{4}[ -]?[A-Z])))| ?\d{3} ?\d{3} ?\d{3})"
    r"|[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}"
    r"|1[ .-](?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])\d{3}[ .-]\d{4}"
    r"|00[1-9]\d(?:[ .\-/]?\d){7}|0[1-9]\d{0,4}\)?[ /-]?\d(?:[ -]?\d){5}"
    r"|[A-Z]{2} ?\d\d[ -]?[0-9A-Z]|[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPRST][0-9L-NP-V]{2}[A-Z]|[XYZ]-?\d{7}"
    r"|\+[1-9]\d{0,2}[ .\-/]?(?:\(\d{1,5}\)[ .\-/]?)?\d(?:[ .\-/]?\d){5}"
    r"|\((?:[2-9]\d\d\) ?\d{3}[ .-]\d{4}|0[1-9]\d{0,4}\)?[ /-]?\d(?:[ -]?\d){5})"
    r").)",
    re.ASCII,
)
"""The first character of what may be a number. Its groups are shapes of numbers that begin with three digits."""

_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
_NO_SEPARATORS: Final = dict.fromkeys(map(ord, " -./()+"))
_ISSUERS: Final = re.compile(
    r"4|5[0-8]|6(?:011|2|3|4[4-9]|5|7|9)|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3(?:0[0-5]|[4-9])|9792|8[1-7]|1800|2131"
)
"""The first digits of card numbers: https://en.wikipedia.org/wiki/Payment_card_number."""


def _is_card(digits: str) -> bool:
    """Check the issuer, and the last digit by Luhn's algorithm."""
    if _ISSUERS.match(digits) is None:
        return False
    data = digits.encode()
    total = sum(data[-1::-2]) + sum(data[-2::-2].translate(_DOUBLED)) - 48 * len(data)
    return total % 10 == 0 and len(set(digits)) > 1


_LENGTHS: Final[Mapping[str, int]] = {
    country: 4 + sum(map(int, re.findall(r"(\d+)!", properties["bban"])))
    for _, country, _, properties, _ in numdb.get("iban").prefixes
}
"""Characters by country: https://www.swift.com/standards/data-standards/iban."""

_LETTERS: Final = {ord(char): str(number) for number, char in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)}


def _is_iban(letters: str) -> bool:
    return int((letters[4:] + letters[:4]).translate(_LETTERS)) % 97 == 1


def _iban_of_country(country: str, size: int) -> re.Pattern[str]:
    """Return the pattern of the account numbers of ``country`` with ``size`` characters."""
    return re.compile(rf"(?<![0-9A-Za-z]){country}[0-9]{{2}}(?:[ -]?[0-9A-Z]){{{size - 4}}}(?![0-9A-Za-z])")


def _is_phone(digits: str) -> bool:
    return 9 <= len(digits) <= 17


def _card(pattern: str, shape: int, starts: str = "123456789") -> NumberFormat:
    bounded = rf"(?<![0-9A-Za-z])(?<![0-9]\.)(?:{pattern})(?![0-9A-Za-z])"
    return NumberFormat("card", re.compile(bounded, re.ASCII), _is_card, (shape,), starts)


def _phone(pattern: str, shapes: Collection[int], starts: str) -> NumberFormat:
    return NumberFormat("phone", re.compile(pattern, re.ASCII), _is_phone, shapes, starts)


_LETTER: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _national(
    label: str,
    pattern: str,
    is_valid: Callable[[str], bool],
    shapes: Collection[int],
    starts: str,
    source: str,
    before: str | None = None,
) -> NumberFormat:
    """Return the format of a national identification number. ``before`` is its name, a pattern."""
    bounded = rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9]|[.-][0-9])"
    named = None if before is None else re.compile(rf"(?i)\b(?:{before})\b[^\d]{{0,24}}\Z")
    return NumberFormat(label, re.compile(bounded), is_valid, shapes, starts, named, source)


def _is_us_ssn(text: str) -> bool:
    return text[:3] not in ("000", "666") and text[0] != "9" and text[3:5] != "00" and text[5:] != "0000"


def _is_uk_nino(text: str) -> bool:
    return text[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _is_de_tax_id(text: str) -> bool:
    """Check the last digit; of the first ten digits, one occurs twice or three times."""
    counts = sorted(text[:10].count(digit) for digit in set(text[:10]))
    return counts[-1] in (2, 3) and counts[-2] == 1 and mod_11_10.checksum(text) == 1


def _is_fr_nir(text: str) -> bool:
    return nir.calc_check_digits(text) == text[13:]


def _is_es_dni(text: str) -> bool:
    letter: str = (dni if text[0].isdigit() else nie).calc_check_digit(text[:8])
    return letter == text[8]


def _is_it_codice_fiscale(text: str) -> bool:
    return codicefiscale.calc_check_digit(text[:15]) == text[15]


def _is_nl_bsn(text: str) -> bool:
    return text != "000000000" and bsn.checksum(text) == 0


def _is_pl_pesel(text: str) -> bool:
    return pesel.calc_check_digit(text[:10]) == text[10] and pesel.is_valid(text)  # the first test takes less time


def _is_br_cpf(text: str) -> bool:
    return len(set(text)) > 1 and cpf.is_valid(text)


def _is_in_aadhaar(text: str) -> bool:
    return verhoeff.checksum(text) == 0


_WIKIPEDIA: Final = "https://en.wikipedia.org/wiki/"

NATIONAL: Final = (
    _national("us_ssn", r"\d{3}([- ])\d{2}\1\d{4}", _is_us_ssn, (_SSN,), _DIGITS,
              "https://www.ssa.gov/employer/randomization.html"),
    _national("uk_nino", r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]", _is_uk_nino, (0,), _LETTER,
              "https://www.gov.uk/hmrc-internal-manuals/national-insurance-manual/nim39110"),
    _national("de_tax_id", r"[1-9]\d(?: ?\d{3}){3}", _is_de_tax_id, (0, _PLAIN), _DIGITS,
              _WIKIPEDIA + "German_tax_identification_number"),
    _national("fr_nir", r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}", _is_fr_nir, _ANY, "12",
              _WIKIPEDIA + "INSEE_code"),
    _national("es_dni", r"(?:\d{8}|[XYZ]-?\d{7})[ -]?[A-HJ-NP-TV-Z]", _is_es_dni, (0, _PLAIN), _DIGITS + "XYZ",
              "https://www.interior.gob.es/opencms/es/servicios-al-ciudadano/tramites-y-gestiones/dni/"
              "calculo-del-digito-de-control-del-nif-nie/"),
    _national("it_codice_fiscale", r"[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPRST][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]",
              _is_it_codice_fiscale, (0,), _LETTER, _WIKIPEDIA + "Italian_fiscal_code"),
    _national("nl_bsn", r"\d{4}\.?\d{2}\.?\d{3}", _is_nl_bsn, (_PLAIN,), _DIGITS,
              _WIKIPEDIA + "National_identification_number",
              "bsn|burgerservicenummer|sofinummer|citizen service number"),
    _national("pl_pesel", r"\d{11}", _is_pl_pesel, (_PLAIN,), _DIGITS, _WIKIPEDIA + "PESEL"),
    _national("br_cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", _is_br_cpf, (_CPF, _PLAIN), _DIGITS, _WIKIPEDIA + "CPF_number"),
    _national("br_cpf", r"\d{11}", _is_br_cpf, (_CPF, _PLAIN), _DIGITS, _WIKIPEDIA + "CPF_number", "cpf"),
    _national("in_aadhaar", r"[2-9]\d{3}([ -])\d{4}\1\d{4}", _is_in_aadhaar, (_QUADS, _PLAIN), _DIGITS,
              _WIKIPEDIA + "Aadhaar"),
    _national("in_aadhaar", r"[2-9]\d{11}", _is_in_aadhaar, (_QUADS, _PLAIN), _DIGITS, _WIKIPEDIA + "Aadhaar",
              "aadhaar|aadhar|uid"),
)  # fmt: skip
"""The national identification numbers by country."""

_ROWS: Final = (
    _card(r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}\1\d{3}", _QUADS), _card(r"\d{4}([ -])\d{4}\1\d{4}\1\d{4}", _QUADS),
    _card(r"3\d{3}([ -])\d{6}\1\d{4,5}", _AMEX, "3"), _card(r"\d{13,19}", _LONG),
    *(NumberFormat("iban", _iban_of_country(country, size), _is_iban, (0,), (country,))
      for country, size in _LENGTHS.items()),
    _phone(r"(?<![0-9A-Za-z+])\+[1-9]\d{0,2}[ .\-/]?(?:\(\d{1,5}\)[ .\-/]?)?\d(?:[ .\-/]?\d){5,12}+(?![0-9A-Za-z])",
           (0,), "+"),
    _phone(r"(?<![0-9A-Za-z.+-])(?<!\d[ ./])00[1-9]\d(?:[ .\-/]?\d){7,12}+(?![0-9A-Za-z])", _ANY, "0"),
    _phone(r"(?<![0-9A-Za-z.+-])(?:1[ .-])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[ .-])\d{3}[ .-]\d{4}(?![0-9A-Za-z]|[.-]\d)",
           (0, _NORTH_AMERICA), "(123456789"),
    _phone(r"(?<![0-9A-Za-z.+/-])(?<!\d )(?!\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d{2})"
           r"\(?0[1-9]\d{0,4}\)?[ /-]?\d(?:[ -]?\d){5,8}+(?![0-9A-Za-z]|[.-]\d)", _ANY, "(0"),
    *NATIONAL,
)  # fmt: skip
"""The formats. Phones have a country code, are of North America, or have a trunk prefix:
https://www.itu.int/rec/T-REC-E.164."""


@cache
def formats_by_start(labels: tuple[str, ...]) -> Formats:
    """Return the formats of numbers with one of ``labels``, which are in the order of their ranks."""
    found: dict[tuple[str, int], list[tuple[int, NumberFormat]]] = {}
    for row in _ROWS:
        if row.label in labels:
            for start in row.starts:
                for shape in row.shapes:
                    found.setdefault((start, shape), []).append((labels.index(row.label), row))
    return found


def find(formats: Formats, text: str, start: int, end: int) -> Iterator[RankedSpan]:
    """Yield the valid numbers between two positions, which may overlap."""
    tried: set[str] = set()  # text that is no number
    for at in _NUMBER.finditer(text, start, end):
        first, shape = at.start(), at.lastindex or 0
        if shape == _QUADS:  # its formats depend on few characters
            if (around := text[max(0, first - 3) : first + 32]) in tried:
                continue
            has_number = False
            for one in _find_at(formats, text, first, end, shape):
                has_number = True
                yield one
            if not has_number and len(tried) < 10_000:
                tried.add(around)
        else:
            yield from _find_at(formats, text, first, end, shape)


def _find_at(formats: Formats, text: str, first: int, end: int, shape: int) -> Iterator[RankedSpan]:
    rows = formats.get((text[first], shape), ())
    if text[first].isalpha():
        rows = (*formats.get((text[first : first + 2], shape), ()), *rows)
    for rank, row in rows:
        found = row.pattern.match(text, first, end)
        if found is None or (row.before and not row.before.search(text[max(0, first - CONTEXT) : first])):
            continue
        if row.is_valid(found[0].translate(_NO_SEPARATORS)):
            yield rank, first, found.end()
