"""The table of wire APIs. A new API is a module that implements ``Codec`` and a row here."""

from collections.abc import Mapping

from providers.chat import CHAT
from providers.messages import MESSAGES
from providers.neutral.codec import Codec
from providers.responses import RESPONSES
from streams.events import Api

CODECS: Mapping[Api, Codec] = {"chat": CHAT, "messages": MESSAGES, "responses": RESPONSES}
