"""A whole answer, read."""

from collections.abc import Sequence

from streams.events import Event


def read_answer(body: bytes, checked: bool = True) -> Sequence[Event]:
    """See ``Codec.read_answer``."""
    raise NotImplementedError
