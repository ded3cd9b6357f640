"""Complete responses, checked for size before they are decoded."""

from collections.abc import Sequence

from providers.neutral.codec import Codec
from streams.errors import GatewayError
from streams.events import Event
from streams.structure import MAX_ELEMENTS, TOO_MANY_ELEMENTS, UNSCANNED_BYTES, has_more_elements


def read_whole(codec: Codec, body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return ``Codec.read_answer`` of a body that has no more elements than an event may have. Raises the same
    errors."""
    if len(body) > UNSCANNED_BYTES and has_more_elements(body, MAX_ELEMENTS):
        raise GatewayError("upstream", f"the provider sent an answer {TOO_MANY_ELEMENTS}", reason=None)
    return codec.read_answer(body, texts, checked)
