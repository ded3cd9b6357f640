"""The subprotocols of a realtime handshake, in which browsers send the key because they cannot set headers.

OpenAI's browser client offers ``realtime, openai-insecure-api-key.KEY, openai-beta.realtime-v1``. The key is the
gateway's and is not passed on, and the chosen protocol is ``realtime`` (BerriAI/litellm#36151, api7/aisix#721)."""

from collections.abc import Iterable
from typing import Final

import attrs

from gateway.http.headers import Headers

HEADER: Final = "sec-websocket-protocol"
CHOSEN: Final = "realtime"
BETA: Final = "openai-beta.realtime-v1"
"""The subprotocol of the beta API, which other providers reject (langwatch/langwatch#7066)."""

_KEY_PREFIX: Final = "openai-insecure-api-key."
_ACCOUNT_PREFIXES: Final = ("openai-organization.", "openai-project.")
"""Prefixes of subprotocols with the OpenAI account, which the entry determines instead."""


@attrs.frozen
class OfferedProtocols:
    """The subprotocols that a client offers: ``names`` without credentials, and the ``keys``."""

    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def in_headers(cls, headers: Headers) -> "OfferedProtocols":
        values = (value for name, value in headers if name == HEADER)
        words = [word.strip() for value in values for word in value.split(",")]
        keys = tuple(word.removeprefix(_KEY_PREFIX) for word in words if word.startswith(_KEY_PREFIX))
        names = tuple(word for word in words if word and not word.startswith((_KEY_PREFIX, *_ACCOUNT_PREFIXES)))
        return cls(names, keys)

    @property
    def chosen_protocol(self) -> str | None:
        """The subprotocol to accept, ``None`` if the client offers no known one."""
        return CHOSEN if CHOSEN in self.names else None


def with_offered_keys(headers: Headers, offered: OfferedProtocols) -> Headers:
    """Return ``headers`` with the offered keys as ``authorization`` instead of as subprotocols."""
    rest = tuple(pair for pair in headers if pair[0] != HEADER)
    names = ((HEADER, ", ".join(offered.names)),) if offered.names else ()
    return (*rest, *names, *(("authorization", f"Bearer {key}") for key in offered.keys))


def upstream_protocols(offered: OfferedProtocols, *, beta: bool) -> tuple[str, ...]:
    """Return the subprotocols to offer to the provider, the beta API's only if ``beta`` is true."""
    return tuple(_provider_protocols(offered.names, beta))


def _provider_protocols(names: Iterable[str], beta: bool) -> Iterable[str]:
    for name in names:
        if name == CHOSEN or (name == BETA and beta):
            yield name
