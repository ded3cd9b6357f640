"""The registry of wire APIs. A new API is a package that implements ``Codec`` and a row here."""

import contextlib
from collections.abc import Iterator, Mapping

from providers.chat import CHAT
from providers.converse import CONVERSE
from providers.gemini import GEMINI
from providers.interactions import INTERACTIONS
from providers.messages import MESSAGES
from providers.neutral.codec import Codec
from providers.responses import RESPONSES
from streams.events import Api

_ALL = (CHAT, MESSAGES, RESPONSES, GEMINI, CONVERSE, INTERACTIONS)
_REGISTRY: dict[Api, Codec] = {codec.api: codec for codec in _ALL}

CODECS: Mapping[Api, Codec] = _REGISTRY
"""The codec of each API; the first is the default for unknown clients."""

DEFAULT = CHAT.api


@contextlib.contextmanager
def registered_codec(codec: Codec) -> Iterator[None]:
    """Register ``codec`` for apps that are created within the block."""
    assert codec.api not in _REGISTRY, f"{codec.api} is there already"
    _REGISTRY[codec.api] = codec
    try:
        yield
    finally:
        del _REGISTRY[codec.api]
