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


def answer_endings(api: Api) -> tuple[str, ...]:
    """Return the ends of the paths of answers in ``api``, without the model."""
    wire = CODECS[api].wire
    ends = wire.operations["answer"]
    path = wire.path.rpartition("{model}")[2]
    return tuple(path + end.partition("?")[0] for end in (ends.whole, ends.streamed or ends.whole))


def api_of_path(path: str) -> Api | None:
    """Return the API whose answers have this path, ``None`` for other paths. A query in it does not matter."""
    plain = path.partition("?")[0].rstrip("/")
    return next((api for api in CODECS if plain.endswith(answer_endings(api))), None)
