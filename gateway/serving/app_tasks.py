"""The tasks of a connection, and the queue from a request to the app that answers it."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup, _handle
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, HTTPScope, Scope, WebsocketScope

from gateway.serving.asgi_extensions import TAKE_NOW


class AppTasks(TaskGroup):
    """Hypercorn's group of tasks, whose apps can take what has come without waiting for it (``TakeNow``)."""

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start ``app``, and return what puts a message into its queue. Unlike Hypercorn's, it gives other tasks a turn
        only where the queue is full: each turn costs as much as all else about a message."""
        to_app, from_server = trio.open_memory_channel[ASGIReceiveEvent](config.max_app_queue_size)

        def take_now() -> ASGIReceiveEvent | None:
            try:
                return from_server.receive_nowait()
            except trio.WouldBlock:
                return None

        async def put(message: ASGIReceiveEvent) -> None:
            try:
                to_app.send_nowait(message)
            except trio.WouldBlock:
                await to_app.send(message)

        extensions: Any = cast("HTTPScope | WebsocketScope", scope)["extensions"]
        extensions[TAKE_NOW] = take_now
        threads = trio.to_thread.run_sync, trio.from_thread.run
        assert self._nursery is not None, "it is open"
        self._nursery.start_soon(_handle, app, config, scope, from_server.receive, send, *threads)
        return put
