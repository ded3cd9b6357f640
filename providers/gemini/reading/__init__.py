"""A provider's Gemini answer, read part by part.

``unfinished`` is what all parts share while an answer comes in, ``parts`` reads one of any kind, ``calls`` those that
call a function, ``partial_arguments`` their arguments in pieces, ``citations`` what grounds a text, ``logprobs`` its
tokens. ``chunks`` reads a stream's chunk, and ``answer`` a whole answer as a stream of one.
"""

from providers.gemini.reading.answer import read_answer

__all__ = ["read_answer"]
