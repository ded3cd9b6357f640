"""The door that every request and every websocket comes in by, before any route is asked."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from gateway.http.request_scope import RequestScope
from gateway.http.response import Response

DOOR: Final = "trigate.door"
"""The member of an app's ``extensions`` that is its ``Door``."""


class Door(Protocol):
    """Knows who asks, and whom nobody answers. Both are asked for every request: they must be cheap, and never
    raise."""

    def address_of(self, asgi: Mapping[str, Any]) -> str | None:
        """The address of the client of an ASGI scope."""
        ...

    def refuse(self, asgi: Mapping[str, Any], named: Mapping[bytes, bytes], scope: RequestScope) -> Response | None:
        """The refusal of the request with the headers ``named``, its body at hand; ``None`` for one that may go on."""
        ...


class OpenDoor:
    """A ``Door`` that everybody may come in by."""

    def address_of(self, asgi: Mapping[str, Any]) -> None:
        return

    def refuse(self, asgi: Mapping[str, Any], named: Mapping[bytes, bytes], scope: RequestScope) -> None:
        return


OPEN_DOOR: Final = OpenDoor()
