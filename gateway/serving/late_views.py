"""Handlers whose code is imported with the first request."""

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from gateway.http.late_imports import import_all


@attrs.define(eq=False, repr=False)
class LateViews:
    """Handlers whose ``modules`` are imported with the first request for one of them.

    The ``maker`` of the last module makes all of them from ``parts``: a function that returns them by name, or a class
    with them as methods."""

    modules: Sequence[str]
    maker: str
    parts: tuple[Any, ...]
    _made: Any = None

    def view(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._answer, name)

    async def _answer(self, view: str, /, *given: Any, **names: str) -> Any:
        if self._made is None:
            await import_all(self.modules)
            self._made = getattr(sys.modules[self.modules[-1]], self.maker)(*self.parts)
        made = self._made[view] if isinstance(self._made, Mapping) else getattr(self._made, view)
        return await made(*given, **names)
