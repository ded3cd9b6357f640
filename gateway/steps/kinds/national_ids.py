"""National identification numbers: rows with their formats and checksums, for the kind ``pii``."""

import re
from collections.abc import Callable
from typing import Final

import attrs
from stdnum import verhoeff
from stdnum.br import cpf
from stdnum.iso7064 import mod_11_10
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel


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


def _is_us_ssn(text: str) -> bool:
    return text[:3] not in ("000", "666") and text[0] != "9" and text[3:5] != "00" and text[5:] != "0000"


def _is_uk_nino(text: str) -> bool:
    return text[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _is_de_tax_id(text: str) -> bool:
    """Check the last digit; of the first ten digits, one occurs twice or three times."""
    counts = sorted(text[:10].count(digit) for digit in set(text[:10]))
    return counts[-1] in (2, 3) and counts[-2] == 1 and mod_11_10.checksum(text) == 1


def _is_fr_nir(text: str) -> bool:
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def _is_es_dni(text: str) -> bool:
    digits = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:8]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(digits) % 23] == text[8]


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
