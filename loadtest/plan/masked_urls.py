"""URLs with their credentials masked."""

import re
from collections.abc import Iterator
from urllib.parse import unquote_plus


def mask_url(url: str) -> str:
    """Return the URL without its user name, password and query values. Works on invalid URLs, too."""
    address, mark, query = url.partition("?")
    address = re.sub(r"(?<=//)[^/]*@", "***@", address)
    return address + mark + re.sub(r"([^&=]+=)?[^&]+", r"\1***", query)


def url_secrets(url: str) -> Iterator[str]:
    """Yield the query values, raw and decoded."""
    for part in url.partition("?")[2].split("&"):
        value = part.partition("=")[2] or part
        yield from (value, unquote_plus(value))
