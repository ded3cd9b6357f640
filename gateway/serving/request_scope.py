"""How a request's scope is found from within its route, and its id made."""

import re
import uuid
from collections.abc import Iterable
from typing import Final

import quart

from gateway.http.request_scope import RequestScope

KEY: Final = "trigate"
"""Where a route finds its ``RequestScope``: ``quart.request.scope[KEY]``, ``quart.websocket.scope[KEY]``."""

_OWN_ID = re.compile(rb"[!-~]{1,128}")


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's own id for its request, if it is a good one, or a new id."""
    given = next((value for name, value in headers if name.lower() == b"x-request-id"), b"")
    return given.decode("ascii") if _OWN_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def current_scope() -> RequestScope:
    """The scope of the request that Quart is handling."""
    return quart.request.scope[KEY]  # type: ignore[typeddict-item, no-any-return]


def websocket_scope() -> RequestScope:
    """The scope of the websocket connection that Quart is handling."""
    return quart.websocket.scope[KEY]  # type: ignore[typeddict-item, no-any-return]
