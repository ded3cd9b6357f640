"""The voices of speech models by model name, for clients that list them.

A row is a shell pattern, as in ``model_types``; the voices of other models are unknown. Sources:
https://developers.openai.com/api/docs/guides/text-to-speech (Voice options),
https://console.groq.com/docs/text-to-speech/orpheus; November 2026.
"""

import fnmatch
from typing import Final

_MAX_NAME: Final = 200  # characters of a model's id

_OLDER: Final = ("alloy", "ash", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer")

ROWS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("tts-*", _OLDER),
    ("gpt-*-tts*", (*_OLDER, "ballad", "cedar", "marin", "verse")),
    ("orpheus-v1-english", ("autumn", "diana", "hannah", "austin", "daniel", "troy")),
    ("orpheus-arabic-saudi", ("abdullah", "aisha", "fahad", "lulwa", "noura", "sultan")),
)


def voices_of(model: str) -> tuple[str, ...]:
    """Return the known voices of ``model``, a provider's id."""
    name = model[:_MAX_NAME].lower().rpartition("/")[2]
    return next((voices for pattern, voices in ROWS if fnmatch.fnmatchcase(name, pattern)), ())
