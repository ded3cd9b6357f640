"""Large frames of websockets, which a thread makes: to mask 16 MB takes 0.2 s."""

from wsproto.frame_protocol import FrameProtocol

from gateway.http.offload import offload


def size_of(message: str | bytes | bytearray) -> int:
    """Return the size of a message, or of a part of it, in bytes: text has up to four for each character."""
    return len(message.encode()) if isinstance(message, str) and not message.isascii() else len(message)


async def make_large_frame(message: str | bytes, *, masked: bool) -> bytes:
    """Return ``message`` as one frame, text or binary by its type. A client's frames are ``masked``.

    The connection may be closed meanwhile: check its state before you send the frame."""
    return await offload(len(message), lambda: bytes(FrameProtocol(masked, []).send_data(message)))
