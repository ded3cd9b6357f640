"""A whole answer, written."""

from providers.neutral.codec import Reply
from streams.fold import Answer


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """See ``Codec.write_answer``."""
    raise NotImplementedError
