"""Close codes of websockets that the library does not know."""

from typing import Final

from wsproto.events import CloseConnection
from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

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
