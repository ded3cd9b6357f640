"""The subprotocols of a realtime handshake: browsers, which can set no headers, put the key there.

``realtime, openai-insecure-api-key.KEY, openai-beta.realtime-v1`` is what OpenAI's own client for browsers offers. The
key is ours, goes no further, and the choice is ``realtime`` alone (BerriAI/litellm#36151, api7/aisix#721).
"""

from collections.abc import Iterable
from typing import Final

import attrs

from gateway.http.headers import Headers

HEADER: Final = "sec-websocket-protocol"
CHOSEN: Final = "realtime"
BETA: Final = "openai-beta.realtime-v1"
"""What asked for the API before it was released; providers that have it no longer refuse it
(langwatch/langwatch#7066)."""

_KEY: Final = "openai-insecure-api-key."
_OTHERS: Final = ("openai-organization.", "openai-project.")
"""Whose account is asked at OpenAI: that is the entry's to say."""


@attrs.frozen
class Offered:
    """The subprotocols that a client offers: ``names`` without what is a credential, and the ``keys``."""

    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = attrs.field(default=(), repr=False)

    @classmethod
    def in_headers(cls, headers: Headers) -> "Offered":
        values = (value for name, value in headers if name == HEADER)
        words = [word.strip() for value in values for word in value.split(",")]
        keys = tuple(word.removeprefix(_KEY) for word in words if word.startswith(_KEY))
        names = tuple(word for word in words if word and not word.startswith((_KEY, *_OTHERS)))
        return cls(names, keys)

    @property
    def chosen(self) -> str | None:
        """The one that the answer to the handshake names; ``None`` where nothing was offered, or nothing that is
        known."""
        return CHOSEN if CHOSEN in self.names else None


def with_key(headers: Headers, offered: Offered) -> Headers:
    """``headers`` as a client would have sent them that can set any: the keys where they belong, and no trace of them
    in the protocols."""
    rest = tuple(pair for pair in headers if pair[0] != HEADER)
    names = ((HEADER, ", ".join(offered.names)),) if offered.names else ()
    return (*rest, *names, *(("authorization", f"Bearer {key}") for key in offered.keys))


def upstream_protocols(offered: Offered, *, beta: bool) -> tuple[str, ...]:
    """What is offered to the provider; the mark of the API before its release only where it is still heeded."""
    return tuple(_kept(offered.names, beta))


def _kept(names: Iterable[str], beta: bool) -> Iterable[str]:
    for name in names:
        if name == CHOSEN or (name == BETA and beta):
            yield name
