"""Lookups of the names of servers, in threads of their own.

While a name server does not respond, a lookup keeps its thread for up to half a minute, also after its request has
ended. trio's own lookups share 40 threads with all other work of the process. Here each name has its own threads, and
each client for the names that clients choose, so that they delay no others."""

import contextlib
import socket
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

import trio

from gateway.http.offload import CLIENT
from gateway.http.threads import call_in_thread

OF_NAME: Final = 40
"""Threads for each name: as many as trio has for everything."""
OF_CLIENT: Final = 4
"""Threads for all names that a client chooses."""

_ARE_FOREIGN: Final = ContextVar("_ARE_FOREIGN", default=False)


@contextlib.contextmanager
def foreign_names() -> Iterator[None]:
    """Count lookups in the block as those of names that the current task's client chooses."""
    token = _ARE_FOREIGN.set(True)
    try:
        yield
    finally:
        _ARE_FOREIGN.reset(token)


class NameLookups(trio.abc.HostnameResolver):
    """The lookups of a process."""

    def __init__(self) -> None:
        self._places: WeakValueDictionary[tuple[str, object], trio.CapacityLimiter] = WeakValueDictionary()

    async def getaddrinfo(
        self, host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        group, most = (("client", CLIENT.get()), OF_CLIENT) if _ARE_FOREIGN.get() else (("name", host), OF_NAME)
        limiter = self._places.setdefault(group, trio.CapacityLimiter(most))
        look_up = partial(socket.getaddrinfo, host, port, family, type, proto, flags)
        return await call_in_thread(look_up, limiter=limiter, abandon_on_cancel=True)

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        return await call_in_thread(partial(socket.getnameinfo, sockaddr, flags), abandon_on_cancel=True)
