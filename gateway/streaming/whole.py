"""A provider's whole answer, measured before it is decoded."""

from collections.abc import Sequence

from providers.neutral.codec import Codec
from streams.errors import GatewayError
from streams.events import Event
from streams.structure import ELEMENTS, UNFOLDS, holds_more


def read_whole(codec: Codec, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """``Codec.read_answer`` of a body that does not unfold to more than a stream's event may. Raises as it does."""
    if holds_more(body, ELEMENTS):
        raise GatewayError("upstream", f"the provider sent an answer {UNFOLDS}", reason=None)
    return codec.read_answer(body, texts, checked)
