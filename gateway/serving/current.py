"""The id of a request, and access to the current request's scope from within its route."""

import re
import uuid
from collections.abc import Mapping
from typing import Final

import quart

from gateway.http.request_scope import RequestScope

KEY: Final = "trigate"
"""The member of the ASGI scope that is the ``RequestScope``, as in ``quart.request.scope[KEY]``."""

_OWN_ID = re.compile(rb"[!-~]{1,128}")


def request_id(named: Mapping[bytes, bytes]) -> str:
    """The client's own id for its request with these headers, if it is a good one, or a new id."""
    if b"x-request-id" in named and _OWN_ID.fullmatch(given := named[b"x-request-id"]):
        return given.decode("ascii")
    return f"req_{uuid.uuid4().hex}"


def current_scope() -> RequestScope:
    """The scope of the request that Quart is handling."""
    return quart.request.scope[KEY]  # type: ignore[typeddict-item, no-any-return]


def websocket_scope() -> RequestScope:
    """The scope of the websocket connection that Quart is handling."""
    return quart.websocket.scope[KEY]  # type: ignore[typeddict-item, no-any-return]
