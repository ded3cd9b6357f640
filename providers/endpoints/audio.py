"""Reader of speech and transcripts (https://platform.openai.com/docs/api-reference/audio)."""

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from providers.endpoints.media_tokens import seconds_of, token_usage
from providers.errors.failures import EARLY, read_event_failure
from providers.neutral.values import Json, as_object, load
from streams.errors import GatewayError
from streams.events import Usage
from streams.structure import MAX_ELEMENTS, has_more_elements

SPEECH_TYPES: Final[Mapping[str, str]] = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
"""The content type of each ``response_format``, for providers that send none."""

FINISHED: Final = ("speech.audio.done", "transcript.text.done", "transcription.done")


def speech_type(response_format: object) -> str:
    """Return the content type of speech in that format, MP3 by default."""
    return SPEECH_TYPES.get(response_format, "audio/mpeg") if isinstance(response_format, str) else "audio/mpeg"


class AudioReader:
    """A reader of speech or a transcript that is forwarded. ``default_usage`` returns the usage if the
    answer has none."""

    def __init__(self, default_usage: Callable[[], Usage | None]) -> None:
        self._reported: Usage | None = None
        self._default_usage = default_usage
        self._is_done = False

    @property
    def usage(self) -> Usage | None:
        """The reported usage; if it lacks the input or the output, the other one with the default of this one."""
        found = self._reported
        if found is None or bool(found.prompt) == bool(found.output):
            return found or self._default_usage()
        default = self._default_usage()
        if default is None or not (default.output if found.prompt else default.prompt):
            return found
        return attrs.evolve(found, input=found.input or default.input, output=found.output or default.output,
                            units=found.units or default.units, estimated=True)  # fmt: skip

    @property
    def has_ended(self) -> bool:
        """True if the last event of a stream has been read."""
        return self._is_done

    def read_event(self, name: str, data: bytes) -> None:
        """Read an event of a stream. The end is one of ``FINISHED``; vLLM and others end like Chat."""
        if data == b"[DONE]":
            self._is_done = True
            return
        if has_more_elements(data, MAX_ELEMENTS) or not (value := as_object(load(data))):
            return
        kind = value.get("type") or name
        if kind == "error" or (value.get("error") and "type" not in value):
            raise GatewayError.of(read_event_failure(value))
        self._is_done = self._is_done or kind in FINISHED
        self._read_value(value)

    def read_whole(self, value: object) -> None:
        """Read a whole JSON answer; a transcript in plain text may be ``true`` or ``123``."""
        if isinstance(value, dict):
            if value.get("error") and "text" not in value:
                raise GatewayError.of(read_event_failure(value))
            self._read_value(value)

    def close(self, *, streamed: bool) -> None:
        """End the answer. Raises ``GatewayError`` if a stream is incomplete."""
        if streamed and not self._is_done:
            raise GatewayError.of(EARLY)

    def _read_value(self, value: Json) -> None:
        tokens, seconds = token_usage(value.get("usage")), seconds_of(value)
        if tokens is not None or seconds is not None:
            known = tokens or Usage()
            units = tuple(one for one in known.units if one[0] != "second")  # Mistral's tokens have them as well
            units = units if seconds is None else (*units, ("second", seconds))
            self._reported = attrs.evolve(known, units=units)
