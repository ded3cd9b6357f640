"""The voices of models that speak, by the model's name: what a client that lists them gets to choose from.

A row is a shell pattern, as in ``model_types``; a model that none matches has voices of which nothing is known here.
Sources: https://developers.openai.com/api/docs/guides/text-to-speech (Voice options),
https://console.groq.com/docs/text-to-speech/orpheus; November 2026.
"""

import fnmatch
from typing import Final

_LONGEST: Final = 200  # characters of a model's id

_OLDER: Final = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")

ROWS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("tts-*", _OLDER),
    ("gpt-*-tts*", (*_OLDER, "ballad", "cedar", "marin", "verse")),
    ("orpheus-v1-english", ("autumn", "diana", "hannah", "austin", "daniel", "troy")),
    ("orpheus-arabic-saudi", ("abdullah", "aisha", "fahad", "lulwa", "noura", "sultan")),
)


def voices_of(model: str) -> tuple[str, ...]:
    """Return the voices of ``model``, a provider's id, as far as they are known."""
    name = model[:_LONGEST].lower().rpartition("/")[2]
    return next((voices for pattern, voices in ROWS if fnmatch.fnmatchcase(name, pattern)), ())
