"""National identification numbers: rows with their formats and checksums, for the kind ``pii``."""

import re
from collections.abc import Callable
from datetime import date
from typing import Final

import attrs


@attrs.frozen(eq=False)
class NationalIdRow:
    """The format of a number. ``is_valid`` gets its letters and digits. ``before`` must match the text before a number
    whose format is too common without its name."""

    label: str
    pattern: re.Pattern[str]
    is_valid: Callable[[str], bool]
    source: str
    before: re.Pattern[str] | None = None


_START: Final = r"(?<![A-Za-z0-9])"
_END: Final = r"(?![A-Za-z0-9]|[.-][0-9])"


def _number(pattern: str) -> re.Pattern[str]:
    return re.compile(_START + pattern + _END)


def _weighted_sum(digits: str, weights: tuple[int, ...]) -> int:
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False))


def _is_us_ssn(text: str) -> bool:
    return text[:3] not in ("000", "666") and text[0] != "9" and text[3:5] != "00" and text[5:] != "0000"


def _is_uk_nino(text: str) -> bool:
    return text[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _is_de_tax_id(text: str) -> bool:
    """Check the digit by ISO 7064 (mod 11, 10); of the first ten digits, one occurs twice or three times."""
    counts = sorted(text[:10].count(digit) for digit in set(text[:10]))
    if counts[-1] not in (2, 3) or counts[-2] > 1:
        return False
    product = 10
    for digit in text[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(text[10])


def _is_fr_nir(text: str) -> bool:
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def _is_es_dni(text: str) -> bool:
    digits = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:8]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == text[8]


_ODD_DIGITS: Final = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21)
_ODD_LETTERS: Final = (*_ODD_DIGITS, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_ODD: Final = dict(zip("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", (*_ODD_DIGITS, *_ODD_LETTERS), strict=True))


def _is_it_codice_fiscale(text: str) -> bool:
    even = sum(int(one) if one.isdigit() else ord(one) - ord("A") for one in text[1:15:2])
    return chr(ord("A") + (sum(_ODD[one] for one in text[0:15:2]) + even) % 26) == text[15]


def _is_nl_bsn(text: str) -> bool:
    return text != "000000000" and _weighted_sum(text, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _is_pl_pesel(text: str) -> bool:
    century = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}[int(text[2]) // 2]
    try:
        date(century + int(text[:2]), int(text[2:4]) % 20, int(text[4:6]))
    except ValueError:
        return False
    return _weighted_sum(text, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def _is_br_cpf(text: str) -> bool:
    if len(set(text)) == 1:
        return False
    for size in (9, 10):
        check = sum(int(digit) * (size + 1 - i) for i, digit in enumerate(text[:size])) * 10 % 11 % 10
        if check != int(text[size]):
            return False
    return True


_VERHOEFF: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def _is_in_aadhaar(text: str) -> bool:
    """Check the digit by Verhoeff's algorithm."""
    check = 0
    for i, digit in enumerate(reversed(text)):
        check = int(_VERHOEFF[check][int(_PERMUTED[i % 8][int(digit)])])
    return check == 0


_WIKIPEDIA: Final = "https://en.wikipedia.org/wiki/"

ROWS: Final[tuple[NationalIdRow, ...]] = (
    NationalIdRow("us_ssn", _number(r"\d{3}([- ])\d{2}\1\d{4}"), _is_us_ssn,
                  "https://www.ssa.gov/employer/randomization.html"),
    NationalIdRow("uk_nino", _number(r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]"), _is_uk_nino,
                  "https://www.gov.uk/hmrc-internal-manuals/national-insurance-manual/nim39110"),
    NationalIdRow("de_tax_id", _number(r"[1-9]\d(?: ?\d{3}){3}"), _is_de_tax_id,
                  _WIKIPEDIA + "German_tax_identification_number"),
    NationalIdRow("fr_nir", _number(r"[12] ?\d{2} ?\d{2} ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}"), _is_fr_nir,
                  _WIKIPEDIA + "INSEE_code"),
    NationalIdRow("es_dni", _number(r"(?:\d{8}|[XYZ]-?\d{7})[ -]?[A-HJ-NP-TV-Z]"), _is_es_dni,
                  "https://www.interior.gob.es/opencms/es/servicios-al-ciudadano/tramites-y-gestiones/dni/"
                  "calculo-del-digito-de-control-del-nif-nie/"),
    NationalIdRow("it_codice_fiscale",
                  _number(r"[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPRST][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]"),
                  _is_it_codice_fiscale, _WIKIPEDIA + "Italian_fiscal_code"),
    NationalIdRow("nl_bsn", _number(r"\d{4}\.?\d{2}\.?\d{3}"), _is_nl_bsn,
                  _WIKIPEDIA + "National_identification_number",
                  re.compile(r"(?i)\b(?:bsn|burgerservicenummer|sofinummer|citizen service number)\b[^\d]{0,24}\Z")),
    NationalIdRow("pl_pesel", _number(r"\d{11}"), _is_pl_pesel, _WIKIPEDIA + "PESEL"),
    NationalIdRow("br_cpf", _number(r"\d{3}\.\d{3}\.\d{3}-\d{2}"), _is_br_cpf, _WIKIPEDIA + "CPF_number"),
    NationalIdRow("br_cpf", _number(r"\d{11}"), _is_br_cpf, _WIKIPEDIA + "CPF_number",
                  re.compile(r"(?i)\bcpf\b[^\d]{0,24}\Z")),
    NationalIdRow("in_aadhaar", _number(r"[2-9]\d{3}([ -])\d{4}\1\d{4}"), _is_in_aadhaar, _WIKIPEDIA + "Aadhaar"),
    NationalIdRow("in_aadhaar", _number(r"[2-9]\d{11}"), _is_in_aadhaar, _WIKIPEDIA + "Aadhaar",
                  re.compile(r"(?i)\b(?:aadhaar|aadhar|uid)\b[^\d]{0,24}\Z")),
)  # fmt: skip
"""The numbers by country."""
