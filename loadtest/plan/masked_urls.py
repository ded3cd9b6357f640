"""URLs without the credentials in them."""

import re
from collections.abc import Iterator
from urllib.parse import unquote_plus


def shown(url: str) -> str:
    """The URL as it may be shown, whether or not it is a good one: without its user, and without the values of its
    query."""
    address, mark, query = url.partition("?")
    address = re.sub(r"(?<=//)[^/]*@", "***@", address)
    return address + mark + re.sub(r"([^&=]+=)?[^&]+", r"\1***", query)


def secrets(url: str) -> Iterator[str]:
    """The values of its query, each as it is sent and as a server may read it."""
    for part in url.partition("?")[2].split("&"):
        value = part.partition("=")[2] or part
        yield from (value, unquote_plus(value))
