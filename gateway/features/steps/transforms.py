"""The base of the transforms of responses by steps."""

import trio


class StepTransform:
    """A ``Transform`` with its verdict. ``is_clean`` is set when everything has passed unchanged."""

    may_cut: bool = False
    may_wait: bool = True
    is_over: bool = False
    has_changed: bool = False

    def __init__(self) -> None:
        self.is_clean = False
        self._has_ended = trio.Event()

    def close(self) -> None:
        self._has_ended.set()

    async def verdict(self) -> bool:
        await self._has_ended.wait()
        return self.is_clean
