"""Pages of invoices in JSON: whole files, lists of pages, and pages one after the other."""

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn

import attrs

from gateway.invoices.line import InvoiceLine, UnreadableInvoice, time_of

MOST_BYTES: Final = 64 * 2**20
"""The largest file in JSON. Providers return pages, and a page of a month has less than a megabyte."""


@attrs.frozen(eq=False, repr=False)
class Page:
    """A page of a report: its lines, the times of its first and after its last bucket, and whether others follow.

    ``report`` names the provider's report."""

    report: str
    lines: tuple[InvoiceLine, ...]
    since: datetime | None = None
    until: datetime | None = None
    has_more: bool = False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


_DECODER: Final = json.JSONDecoder(parse_float=Decimal, parse_constant=_refuse_constant)


def read_objects(file: BinaryIO, path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file, also of lists. Raises ``UnreadableInvoice``."""
    data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise UnreadableInvoice(f"{path}: JSON of more than {MOST_BYTES // 2**20} MiB; give one page a file")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
        place = _skip_space(text, 0)
        while place < len(text):
            value, place = _DECODER.raw_decode(text, place)
            yield from _objects(value, path)
            place = _skip_space(text, place)
    except (ValueError, RecursionError) as error:  # also of text that is not UTF-8
        raise UnreadableInvoice(f"{path}: not valid JSON: {str(error)[:100]}") from None


def _skip_space(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _objects(value: Any, path: Path) -> Iterator[dict[str, Any]]:
    for one in value if isinstance(value, list) else (value,):
        if not isinstance(one, dict):
            raise UnreadableInvoice(f"{path}: expected a page, an object with the member data")
        yield one


def items_of(page: dict[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    """Return the objects in the list ``name``. Raises ``UnreadableInvoice``."""
    found = page.get(name)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UnreadableInvoice(f"{where}: expected a list of objects in {name}")
    return found


def bucket_times(bucket: dict[str, Any], names: tuple[str, str], where: str) -> tuple[datetime, datetime | None]:
    """Return the start and the end of a bucket. Raises ``UnreadableInvoice``."""
    first, last = names
    since = time_of(bucket.get(first), f"{where}.{first}")
    end = bucket.get(last)
    return since, None if end is None else time_of(end, f"{where}.{last}")
