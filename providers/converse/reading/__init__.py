"""A provider's answer, read: its content blocks as they come in (``content``, a class for each kind in ``blocks``), and
a whole one as the stream that it might have been (``answer``)."""

from providers.converse.reading.answer import read_answer

__all__ = ["read_answer"]
