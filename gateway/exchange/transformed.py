"""The reading of a response through its transform, whose contract is in ``gateway.seams.open_response``."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

import trio

from gateway.exchange.attempt_answer import RestOfAnswer
from gateway.seams.open_response import Transform
from streams.pipe import Watch

T = TypeVar("T")

PIECE: Final = 64 * 1024
"""Bytes of the largest piece that is passed on, of text that was held."""


class ProviderWait:
    """The wait for a provider's next bytes, which a transform may cut."""

    def __init__(self) -> None:
        self._is_cut = False
        self._scope = trio.CancelScope()

    def cut(self) -> None:
        """End the wait, also the next one."""
        self._is_cut = True
        self._scope.cancel()

    async def read(self, read: Callable[[], Awaitable[T]]) -> T | bytes:
        """Return ``await read()``, no bytes if the wait is cut."""
        with trio.CancelScope() as self._scope:
            if self._is_cut:
                self._scope.cancel()
            return await read()
        return b""


async def transformed_pieces(
    transform: Transform,
    source: AsyncIterator[bytes],
    watch: Watch,
    wait: ProviderWait,
    *,
    is_stream: bool = True,
    finished_amount: Callable[[], int | None] | None = None,
    grace: float = 0,
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes that ``transform`` releases of ``source``. Raises ``GatewayError`` for a refusal, and the errors
    of ``source``.

    The limits of ``watch`` on silence do not count the time of the transform. The limit of the first content ends
    with the first bytes of a stream, because the transform may hold all of it.

    ``finished_amount`` returns the amount of a response that is complete if nothing follows, ``None`` before. It then
    also ends if ``source`` breaks off, or if the amount stays equal for ``grace`` seconds."""
    is_counting = True  # the limit on silence counts, first from the headers on
    has_settled = not is_stream  # no limit changes any more
    rest = RestOfAnswer()
    try:
        while True:
            if is_counting:
                is_counting = False
            else:
                watch.restart_idle_limit()
            if finished_amount is not None and (amount := finished_amount()) is not None:
                data = await rest.read(source, amount, grace)
            else:
                data = await (wait.read(lambda: anext(source, None)) if transform.may_cut else anext(source, None))
            if data is None:
                break
            if not has_settled:
                has_settled = _note_arrival(transform, watch, data)
            released = await transform.feed(data)
            for at in range(0, len(released), PIECE):
                if at:
                    await trio.lowlevel.checkpoint()  # the lane reads the pieces in turns
                yield released[at : at + PIECE]
                is_counting = True  # its reader has restarted the limit
            if transform.is_over:
                return
        watch.note_end()
        released = await transform.end()
        for at in range(0, len(released), PIECE):
            if at:
                await trio.lowlevel.checkpoint()
            yield released[at : at + PIECE]
        if rest.failure is not None and is_stream:
            raise rest.failure  # the lane knows what the client lacks of the end
    finally:
        transform.close()


def _note_arrival(transform: Transform, watch: Watch, data: bytes) -> bool:
    """Lift the limit of the first content, and stop counting the provider's silence while ``transform`` works. Return
    whether the following bytes change no limit."""
    if data:
        watch.lift_content_limit()
    if transform.may_wait:
        watch.pause()
    return bool(data) and not transform.may_wait
