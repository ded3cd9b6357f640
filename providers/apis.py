"""The registry of wire APIs. A new API is a package that implements ``Codec`` and a row here."""

from collections.abc import Mapping

from providers.chat import CHAT
from providers.converse import CONVERSE
from providers.gemini import GEMINI
from providers.interactions import INTERACTIONS
from providers.messages import MESSAGES
from providers.neutral.codec import Codec
from providers.responses import RESPONSES
from streams.events import Api

_ALL = (CHAT, MESSAGES, RESPONSES, GEMINI, CONVERSE, INTERACTIONS)

CODECS: Mapping[Api, Codec] = {codec.api: codec for codec in _ALL}
"""The codec of each API; the first is the default for unknown clients."""
