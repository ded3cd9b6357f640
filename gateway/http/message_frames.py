"""The frames of large websocket messages (RFC 6455, section 5), made in a thread: to mask 16 MB takes 0.2 s."""

from wsproto.frame_protocol import FrameProtocol

from gateway.http.offload import offload


async def make_large_frame(message: str | bytes, *, masked: bool) -> bytes:
    """Return ``message`` as one frame, text or binary by its type. A client's frames are ``masked``.

    The connection may be closed meanwhile: check its state before you send the frame."""
    return await offload(len(message), lambda: bytes(FrameProtocol(masked, []).send_data(message)))
