"""The life of an answer, as every reader and writer of a stream counts it."""

import enum


class AnswerStage(enum.Enum):
    """The stages of an answer. Each stage leads to those below it, and ``ENDED`` to none: nothing is read from or
    written to an answer that has ended."""

    WAITING = "waiting"  # nothing of it has been said
    ANSWERING = "answering"
    ENDED = "ended"  # whole or failed


WAITING, ANSWERING, ENDED = AnswerStage
