"""The subprotocols of a realtime handshake, where browsers, which cannot set headers, put the key.

OpenAI's browser client offers ``realtime, openai-insecure-api-key.KEY, openai-beta.realtime-v1``. The key is the
gateway's and is not passed on, and the chosen protocol is ``realtime`` (BerriAI/litellm#36151, api7/aisix#721)."""

from collections.abc import Iterable
from typing import Final

import attrs

from gateway.http.headers import Headers

HEADER: Final = "sec-websocket-protocol"
CHOSEN: Final = "realtime"
BETA: Final = "openai-beta.realtime-v1"
"""The mark of the beta API, which providers without it reject (langwatch/langwatch#7066)."""

_KEY: Final = "openai-insecure-api-key."
_OTHERS: Final = ("openai-organization.", "openai-project.")
"""The OpenAI account, which the entry decides instead."""


@attrs.frozen
class OfferedProtocols:
    """A client's subprotocols: ``names`` without credentials, and the ``keys``."""

    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def in_headers(cls, headers: Headers) -> "OfferedProtocols":
        values = (value for name, value in headers if name == HEADER)
        words = [word.strip() for value in values for word in value.split(",")]
        keys = tuple(word.removeprefix(_KEY) for word in words if word.startswith(_KEY))
        names = tuple(word for word in words if word and not word.startswith((_KEY, *_OTHERS)))
        return cls(names, keys)

    @property
    def chosen(self) -> str | None:
        """The subprotocol for the handshake's response, ``None`` if no known one was offered."""
        return CHOSEN if CHOSEN in self.names else None


def with_key(headers: Headers, offered: OfferedProtocols) -> Headers:
    """Return ``headers`` with the keys as regular headers, and without them in the subprotocols."""
    rest = tuple(pair for pair in headers if pair[0] != HEADER)
    names = ((HEADER, ", ".join(offered.names)),) if offered.names else ()
    return (*rest, *names, *(("authorization", f"Bearer {key}") for key in offered.keys))


def upstream_protocols(offered: OfferedProtocols, *, beta: bool) -> tuple[str, ...]:
    """Return the subprotocols for the provider, with the beta mark only if it is honoured."""
    return tuple(_passed_on(offered.names, beta))


def _passed_on(names: Iterable[str], beta: bool) -> Iterable[str]:
    for name in names:
        if name == CHOSEN or (name == BETA and beta):
            yield name
