"""A source of a stream that follows a script, on trio's clock."""

from typing import TypeAlias

import trio

from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.handoff import Handoff
from streams.pipe import Chunk, Watch, pump

Step: TypeAlias = bytes | float | GatewayError
"""The next action of an upstream: send bytes, pause for some seconds, or break off."""


class Upstream:
    """A source that follows its steps. ``given`` counts the bytes sent."""

    def __init__(self, *steps: Step, head_after: float = 0.0) -> None:
        self.steps = iter(steps)
        self.head_after = head_after
        self.given = 0
        self.closed = False
        self.opened: list[Upstream] = []

    async def connect(self) -> "Upstream":
        await trio.sleep(self.head_after)
        return self

    def chunks(self) -> "Upstream":
        return self

    def __aiter__(self) -> "Upstream":
        return self

    async def __anext__(self) -> bytes:
        for step in self.steps:
            if isinstance(step, GatewayError):
                raise step
            if isinstance(step, bytes):
                await trio.lowlevel.checkpoint()
                self.given += len(step)
                return step
            await trio.sleep(step)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


async def pump_from(upstream: Upstream, into: Handoff[Chunk], watch: Watch) -> ErrorInfo | None:
    """Connect under ``watch``, and pump the data, as for a streamed answer. Return the failure, or ``None``."""
    failed: ErrorInfo | None = None
    with watch.scope:
        try:
            upstream.opened.append(await upstream.connect())
            watch.restart_idle_limit()
        except GatewayError as error:
            failed = error.info
    if failed is not None or watch.scope.cancelled_caught:
        return failed or watch.failure()
    watch.renew_scope()
    return await pump(upstream, into, watch)


MIB = 2**20


def content(size: int) -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"content":"' + b"x" * size + b'"}}]}\n\n'


BROKEN = GatewayError("upstream", "it broke")
