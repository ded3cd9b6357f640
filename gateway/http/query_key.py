"""Keys that stand in the query of a request, as Google's clients may send them: ``?key=…``.

What is in an address gets into logs, traces and recordings. The key is taken out of the query before anybody else has
seen that, and goes on as the header in which it should have come.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

_MEMBER: Final = b"key="
HEADER: Final = b"x-goog-api-key"


def may_hold_key(path: str, query: bytes) -> bool:
    """Whether the request is of an API whose clients send keys so, and has one."""
    return _MEMBER in query and (path.startswith("/v1beta/") or ":" in path)


def moved(query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """``query`` without its keys, and ``headers`` with them."""
    members = query.split(b"&")
    keys = [(HEADER, unquote_to_bytes(one.removeprefix(_MEMBER))) for one in members if one.startswith(_MEMBER)]
    rest = b"&".join(one for one in members if not one.startswith(_MEMBER))
    return rest, [*headers, *((name, key) for name, key in keys if key)]
