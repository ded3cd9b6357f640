"""The start and the end of an ASGI app (the lifespan protocol)."""

import logging

import trio

from gateway.serving.asgi_extensions import AsgiApp, AsgiMessage

log = logging.getLogger("trigate.hypercorn")


class LifespanFailed(Exception):
    """An app did not start or end."""


class Lifespan:
    """The lifespan of one app. An app without the protocol is served nevertheless."""

    def __init__(self, app: AsgiApp) -> None:
        self._app = app
        self._started = trio.Event()
        self._ended = trio.Event()
        self._to_app, self._messages = trio.open_memory_channel[AsgiMessage](2)

    async def run(self) -> None:
        """Run the app until its lifespan ends. Raises ``LifespanFailed`` if the app reports a failure."""
        scope = {"type": "lifespan", "asgi": {"spec_version": "2.0", "version": "3.0"}, "state": {}}
        try:
            await self._app(scope, self._messages.receive, self._handle)
        except (LifespanFailed, trio.Cancelled):
            raise
        except (Exception, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and error.subgroup((LifespanFailed, trio.Cancelled)) is not None:
                raise
            if self._started.is_set():
                log.exception("the app's lifespan failed")
            else:
                log.warning("the app has no lifespan: it is served nevertheless")
        finally:
            self._started.set()
            self._ended.set()

    async def start(self, seconds: float) -> None:
        """Wait until the app has started. Raises ``LifespanFailed`` after ``seconds``."""
        await self._request("startup", self._started, seconds)

    async def end(self, seconds: float) -> None:
        """Wait until the app has ended. Raises ``LifespanFailed`` after ``seconds``."""
        await self._request("shutdown", self._ended, seconds)

    async def _request(self, stage: str, done: trio.Event, seconds: float) -> None:
        self._to_app.send_nowait({"type": f"lifespan.{stage}"})
        with trio.move_on_after(seconds) as limit:
            await done.wait()
        if limit.cancelled_caught:
            raise LifespanFailed(f"the app's {stage} took longer than {seconds:g} seconds")

    async def _handle(self, message: AsgiMessage) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._started.set()
            case "lifespan.shutdown.complete":
                self._ended.set()
            case "lifespan.startup.failed" | "lifespan.shutdown.failed" as kind:
                raise LifespanFailed(f"{kind}: {message.get('message', '')}")
