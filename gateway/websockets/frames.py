"""Websockets on both sides of the gateway: close codes, large frames, and limits on frames that cost nothing."""

from typing import Final

import trio
from wsproto.events import CloseConnection, Event, Message
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from gateway.http.offload import offload
from gateway.http.turns import take_turn

# Close codes

BAD_GATEWAY: Final = 1014
"""A close code that was registered after RFC 6455, which the library treats as a protocol error
(https://www.iana.org/assignments/websocket/websocket.xhtml)."""

_CODE: Final = BAD_GATEWAY.to_bytes(2)
_KNOWN: Final = int(CloseReason.SERVICE_RESTART).to_bytes(2)


class RegisteredCodes(Extension):
    """Accepts closes with 1014 ("bad gateway") on one connection.

    The extension is never negotiated and changes no other frame: the library receives a code that it knows, and
    ``original_of`` returns the original close."""

    name = "trigate-registered-codes"

    def __init__(self) -> None:
        self._is_close = False
        self._is_bad_gateway = False

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._is_close = opcode is Opcode.CLOSE
        return RsvBits(False, False, False)

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        if not self._is_close or not data.startswith(_CODE):  # control frames are never split
            return data
        self._is_bad_gateway = True
        return _KNOWN + data[len(_CODE) :]

    def original_of(self, frame: CloseConnection) -> CloseConnection:
        """Return the original of ``frame``."""
        return CloseConnection(BAD_GATEWAY, frame.reason) if self._is_bad_gateway else frame


# Large frames: masking 16 MB takes 0.2 s, so a thread makes them


def size_of(message: str | bytes | bytearray) -> int:
    """Return the size of a message, or of a part of it, in bytes: text has up to four for each character."""
    return len(message.encode()) if isinstance(message, str) and not message.isascii() else len(message)


async def make_large_frame(message: str | bytes, *, masked: bool) -> bytes:
    """Return ``message`` as one frame, text or binary by its type. A client's frames are ``masked``.

    The connection may be closed meanwhile: check its state before you send the frame."""
    return await offload(len(message), lambda: bytes(FrameProtocol(masked, []).send_data(message)))


# Limits on the frames of websockets that cost the sender nearly nothing (RFC 6455, section 5.2).
# A read of 64 KiB may contain ten thousand frames of a client and thirty thousand of a provider, each a fragment of a
# message, a ping or a pong. Fragments without content never reach the limit of a message.

SMALL_FRAME: Final = 64
"""Bytes of content below which a frame counts, as do pings and pongs. Audio and events have more."""

MOST_SMALL_FRAMES: Final = 10_000
"""Small frames in ``FRAME_SECONDS``, twenty times as many as a stream of words or of audio has."""

FRAME_SECONDS: Final = 10.0

FRAMES_PER_TURN: Final = 16
"""Frames after which other tasks run: handling them takes a millisecond or two."""

TOO_MANY: Final = (
    f"more than {MOST_SMALL_FRAMES:,} frames of less than {SMALL_FRAME} bytes in {FRAME_SECONDS:.0f} seconds"
)
"""The reason of the close for a side that exceeds the limit."""


class FrameRate:
    """Counts the frames that one side of a websocket sends. Times are in seconds of any clock."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._small = 0
        self._frames = 0
        self._small_before = 0

    def count(self, frame: Event) -> bool:
        """Count a frame, and return whether other tasks should run now."""
        self._small += not isinstance(frame, Message) or len(frame.data) < SMALL_FRAME
        self._frames += 1
        return self._frames % FRAMES_PER_TURN == 0

    async def end_turn(self) -> None:
        """Let other tasks run. If most frames of the turn were small, other connections with small frames run first."""
        were_small, self._small_before = self._small - self._small_before > FRAMES_PER_TURN // 2, self._small
        if were_small:
            await take_turn()
        else:
            await trio.lowlevel.checkpoint()

    def is_exceeded(self, now: float) -> bool:
        """Return whether the side sends too many small frames. Call after each turn."""
        if self._small <= MOST_SMALL_FRAMES:
            return False
        exceeded = now < self._since + FRAME_SECONDS
        self._since, self._small, self._small_before = now, 0, 0
        return exceeded
