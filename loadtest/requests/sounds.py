"""Requests with a recording of a voice, made here: a second of silence, and a little noise of its own in each."""

import io
import random
import wave
from typing import Final

from loadtest.plan.load_request import LoadRequest
from loadtest.requests.sources import LoadSession, PreparedRequest, SingleRequest

RATE: Final = 16_000
"""Samples a second, of two bytes each: what models of speech are made for."""

_BOUNDARY: Final = "trigate-load-7d1e"
_PART: Final = '--{}\r\ncontent-disposition: form-data; name="{}"{}\r\n\r\n'


class SoundRequests:
    """Forms with a model and a WAV file, as transcripts are asked for. ``extra`` are more of their fields."""

    def __init__(self, request: LoadRequest) -> None:
        self._request = request
        fields = {"model": request.model, **{name: str(value) for name, value in request.extra.items()}}
        head = "".join(_PART.format(_BOUNDARY, name, "") + value + "\r\n" for name, value in fields.items())
        named = '; filename="load.wav"\r\ncontent-type: audio/wav'
        self._before = (head + _PART.format(_BOUNDARY, "file", named)).encode()
        self._after = f"\r\n--{_BOUNDARY}--\r\n".encode()

    def session(self, number: int, chance: random.Random) -> LoadSession:
        body = b"".join((self._before, silence(chance.getrandbits(32)), self._after))
        headers = (("content-type", f"multipart/form-data; boundary={_BOUNDARY}"),)
        return SingleRequest(PreparedRequest(self._request, body, headers=headers, asked_input=0))


def silence(seed: int) -> bytes:
    """A WAV file of one second, which no other seed has."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(random.Random(seed).randbytes(64) + bytes(2 * RATE - 64))
    return out.getvalue()
