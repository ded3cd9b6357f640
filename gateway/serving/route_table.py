"""The table of routes of an app: the only matcher of paths."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Final, TypeAlias

import attrs

from gateway.http.listener_rules import Use
from gateway.http.response import Response

Handler: TypeAlias = Callable[..., Awaitable[Response]]
"""Called with a ``PiecesRequest``, and with the variables of the path by name. Must not raise."""

READING: Final = ("GET", "HEAD")
WEBSOCKET: Final = "WEBSOCKET"
"""The method of websockets."""
METHODS: Final = (*READING, "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_VARIABLE: Final = re.compile(r"\{(\w+)\}")
_LONG: Final = frozenset(("model", "rest", "deployment"))
"""The variables that match one or more steps; others match one."""


@lru_cache(maxsize=1024)
def pattern_of(path: str) -> re.Pattern[str]:
    """Return the pattern of a route's ``path``, with its variables as groups."""
    parts = _VARIABLE.split(path)  # odd positions are variables
    return re.compile(
        "".join(
            f"(?P<{part}>{'.+' if part in _LONG else '[^/]+'})" if at % 2 else re.escape(part)
            for at, part in enumerate(parts)
        ),
        re.DOTALL,  # a pass-through path may have an escaped line break, which its module refuses with the reason
    )


@attrs.frozen(eq=False, repr=False)
class _NamedRoute:
    """A route whose path has variables between ``prefix`` and ``suffix``."""

    path: str
    prefix: str
    suffix: str
    handler: Handler

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return the variables of a matching ``path`` by name, otherwise ``None``."""
        if not (path.startswith(self.prefix) and path.endswith(self.suffix)):
            return None
        found = pattern_of(self.path).fullmatch(path)
        return None if found is None else found.groupdict()


class RouteTable:
    """The routes of an app by method.

    A path without variables precedes all others. Among equal paths, and among those with variables, the first one that
    matches is used."""

    def __init__(self) -> None:
        self._by_path: dict[str, dict[str, Handler]] = {}
        self._named: dict[str, list[_NamedRoute]] = {}
        self._uses: dict[str, tuple[Use, ...]] = {}
        self.listed: list[str] = []
        """The paths that the error for an unknown path may suggest."""

    def add(
        self,
        path: str,
        handler: Handler,
        methods: Sequence[str],
        *,
        is_listed: bool = False,
        uses: tuple[Use, ...] = (),
    ) -> None:
        """Handle ``methods`` on ``path`` with ``handler``; variables of ``path`` are in braces.

        ``uses`` are those of the path with any method; the first route of a path sets them."""
        self._uses.setdefault(path, uses)
        if is_listed and path not in self.listed:
            self.listed.append(path)
        prefix, variable, rest = path.partition("{")
        for method in methods:
            if variable:
                route = _NamedRoute(path, prefix, rest.rpartition("}")[2], handler)
                self._named.setdefault(method, []).append(route)
            else:
                self._by_path.setdefault(method, {}).setdefault(path, handler)

    def exact(self, method: str, path: str) -> Handler | None:
        """Return the handler of a path without variables."""
        by_path = self._by_path.get(method)
        return None if by_path is None else by_path.get(path)

    def find(self, method: str, path: str) -> Handler | None:
        """Return the handler for ``path``."""
        if (handler := self.exact(method, path)) is not None:
            return handler
        for route in self._named.get(method, ()):
            if (names := route.match(path)) is not None:
                return partial(route.handler, **names)
        return None

    def find_shortened(self, method: str, path: str) -> Handler | None:
        """Return the handler for ``path`` without its last slash, if it has one."""
        return self.find(method, path[:-1]) if path.endswith("/") and len(path) > 1 else None

    def uses(self, path: str) -> tuple[Use, ...]:
        """Return what ``path`` is for, with or without its last slash; nothing if it is unknown, or for health
        checks."""
        for name in (path, path.removesuffix("/")):
            if name in self._uses:
                return self._uses[name]
            named = (uses for one, uses in self._uses.items() if "{" in one and pattern_of(one).fullmatch(name))
            if (found := next(named, None)) is not None:
                return found
        return ()

    def methods(self, path: str) -> tuple[str, ...]:
        """Return the methods of requests for ``path`` in alphabetical order, none for an unknown path."""
        found = (one for one in {*self._by_path, *self._named} - {WEBSOCKET} if self.find(one, path) is not None)
        return tuple(sorted(found))

    def serves(self, path: str) -> bool:
        """Return whether ``path`` has a route, for websockets too, with or without its last slash."""
        methods = {*self._by_path, *self._named}
        return any(self.find(one, path) is not None or self.find_shortened(one, path) is not None for one in methods)
