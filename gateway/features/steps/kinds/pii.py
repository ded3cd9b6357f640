"""The kind ``pii``: e-mail addresses, phone, card and bank account numbers, IP addresses, and national ids."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Final, Literal, TypeAlias

import attrs

from configfile.keys import setting
from configfile.wording import Wrong
from gateway.features.steps.kinds import numbers
from gateway.features.steps.kinds.normal import SHORTEST
from gateway.features.steps.kinds.scanning import LONGEST_SEGMENT, Match, ScanningStep, without_overlaps
from gateway.features.steps.runner import list_limited

PiiLabel: TypeAlias = Literal[
    "email", "phone", "card", "iban", "ip", "us_ssn", "uk_nino", "de_tax_id", "fr_nir", "es_dni", "it_codice_fiscale",
    "nl_bsn", "pl_pesel", "br_cpf", "in_aadhaar",
]  # fmt: skip

ALL: Final[tuple[PiiLabel, ...]] = (
    "email", "card", "iban", "us_ssn", "uk_nino", "de_tax_id", "fr_nir", "es_dni", "it_codice_fiscale", "nl_bsn",
    "pl_pesel", "br_cpf", "in_aadhaar", "phone", "ip",
)  # fmt: skip
"""The labels. Text that fits several of them has the first one."""


@attrs.frozen(repr=False)
class PiiSettings:
    """The settings of ``pii``."""

    labels: tuple[PiiLabel, ...] = setting(
        "The kinds of values that it finds.", ALL, shown="all", shape={"minItems": 1}
    )


_LETTER: Final = "[A-Za-z0-9_%+@.:/()~'\u00c0-\u024f-]"
_JOINED: Final = (
    r"(?: (?:(?<=[0-9)] )(?=[0-9A-Z(+%])|(?<=[A-Z] )(?=[0-9(+%])|(?<=[0-9A-Z]{4} )(?=[0-9A-Z%])"
    r"|(?<=%[0-9A-Fa-f]{2} )(?=[0-9A-Z(+%])))"
)
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_%+@.:/()~'-"
_ENDS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789)"
_CHARACTERS: Final = re.compile("[0-9@:]")
_LONG_WORD: Final = re.compile(f"[A-Za-z0-9+/_-]{{{SHORTEST}}}")
_LATIN: Final = "".join(map(chr, range(0xC0, 0x250)))
_OPEN: Final = re.compile(r"(?:[0-9A-Z)]|%[0-9A-Fa-f]{2}) \Z")


class PiiStep(ScanningStep):
    """A step that finds personal data with one of the labels in its settings."""

    sizes = (LONGEST_SEGMENT,)
    segment = re.compile(rf"{_LETTER}++(?:{_JOINED}{_LETTER}++)*+")
    candidate = rf"[0-9@:%]|[A-Z)] (?:\Z|[A-Z(+])|{_LONG_WORD.pattern}"
    characters = _LETTERS + _LATIN

    def __init__(self, settings: PiiSettings) -> None:
        if not settings.labels:
            raise Wrong("`labels` is empty", "list at least one label, or remove it to find all")
        self.labels = tuple(label for label in ALL if label in settings.labels)
        self._ranks = {label: rank for rank, label in enumerate(self.labels)}
        self._finders = [(label, FINDERS[label]) for label in self.labels if label in FINDERS]
        self._formats = numbers.formats_by_start(self.labels)

    def is_open(self, text: str, end: int) -> bool:
        return end == len(text) or (end == len(text) - 1 and _OPEN.search(text, max(0, end - 3)) is not None)

    def may_match(self, text: str, start: int) -> bool:
        is_likely = _CHARACTERS.search(text, start) is not None
        return is_likely or (len(text) - start >= SHORTEST and _LONG_WORD.search(text, start) is not None)

    def short_tail(self, text: str, start: int) -> int | None:
        tail = max(start, len(text.rstrip(_LETTERS)))
        is_joined = start < tail > 1 and text[tail - 1] == " " and (text[tail - 2] in _ENDS or text[tail - 4] == "%")
        if is_joined or len(text) - tail > LONGEST_SEGMENT:
            return None
        return tail

    def search_plain(self, text: str, start: int, end: int) -> Iterable[Match]:
        """Return the values, of several that overlap the one whose label is first in ``ALL``."""
        finders = self._finders
        found = [
            (self._ranks[label], *span) for label, find in finders for span in list_limited(find(text, start, end))
        ]
        if self._formats:
            found += list_limited(numbers.find(self._formats, text, start, end))
        if len(found) > 1:
            found = without_overlaps(found)
        return [(self.labels[rank], first, last) for rank, first, last in found]


Finder: TypeAlias = Callable[[str, int, int], Iterable[tuple[int, int]]]
"""Returns the spans of the values between two positions."""

_LOCAL: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-'~" + "".join(
    chr(code) for code in range(0xC0, 0x250) if chr(code).isalpha()
)
_LABEL: Final = "[A-Za-z0-9\u00c0-\u024f]"
_AT_DOMAIN: Final = re.compile(
    rf"@(?<![^A-Za-z0-9._%+'~\u00c0-\u024f-]@)(?:{_LABEL}(?:{_LABEL}|-){{0,62}}+(?<!-)\.){{1,8}}"
    r"(?:xn--[a-z0-9-]{2,40}|[A-Za-z]{2,24})(?![A-Za-z0-9])"
)


def _emails(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if text.find("@", start, end) < 0:
        return
    for found in _AT_DOMAIN.finditer(text, start, end):
        at = found.start()
        local = text[max(start, at - 64) : at]
        name = local[len(local.rstrip(_LOCAL)) :].lstrip("._%+-'~")
        if name and not (name == "git" and text.startswith(":", found.end())):
            yield at - len(name), found.end()


_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(
    rf"[0-9](?<![0-9A-Za-z.][0-9])(?<=(?!127\.|0\.0\.0\.0(?![0-9])).)"
    rf"(?<=(?={_OCTET}(?:\.{_OCTET}){{3}}(?![0-9A-Za-z]|\.[0-9])).)[0-9]{{0,2}}+(?:\.[0-9]{{1,3}}+){{3}}"
)
_IPV6: Final = re.compile(r"[0-9A-Fa-f:](?<![0-9A-Za-z:.].)(?<=(?=(?:[0-9a-fA-F]{0,4}:){2,7}).)[0-9a-fA-F:.]*+")
_IPV6_FORM: Final = re.compile(
    r"(?:[0-9a-fA-F]{0,4}:){2,7}(?:[0-9a-fA-F]{1,4}|(?:[0-9]{1,3}\.){3}[0-9]{1,3})?(?![0-9A-Za-z:])"
)


def _addresses(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    if text.find(".", start, end) >= 0:
        for found in _IPV4.finditer(text, start, end):
            yield found.span()
    if text.find(":", start, end) < 0:
        return
    known: dict[str, bool] = {}
    for found in _IPV6.finditer(text, start, end):
        form = _IPV6_FORM.match(text, found.start(), end)
        if form is not None:
            if (is_address := known.get(form[0])) is None:
                is_address = known[form[0]] = _is_ipv6(form[0])
            if is_address:
                yield form.span()


def _is_ipv6(text: str) -> bool:
    if "::" in text and len(text.partition(":")[0]) < 3:  # as in code: a::b
        return False
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


FINDERS: Final[Mapping[str, Finder]] = {"email": _emails, "ip": _addresses}
"""The finders of values that are no numbers with a format."""
