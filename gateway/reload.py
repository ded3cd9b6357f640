"""A new configuration for a running process: read and judged first, then taken over at once, or not at all.

A request belongs to the configuration that holds when it begins, to its end: every configuration has an app of its own,
and whatever outlives them is common to all (``gateway.open_service``). Websockets, which would go on for hours, are
closed once they have answered what they were asked, and their clients connect again.
"""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from gateway.app import app_of, whole_app
from gateway.config.changes import Change, changes, kept
from gateway.config.loading import Config, ConfigError, load
from gateway.exchange.service import Service
from gateway.open_service import next_service

log = logging.getLogger("trigate.reload")

UNCHANGED: Final = "the configuration is not reloaded, all stays as it was"


class Served:
    """The ASGI app that a server is given. Used from the trio thread only."""

    def __init__(self, config: Config, service: Service, *, alone: bool = True) -> None:
        """``alone``: there is no supervisor, which says for all its workers what is different."""
        self._config = config
        self._service = service
        self._alone = alone
        self._app: Any = whole_app(config, service)
        self._first = self._app

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        app = self._first if scope["type"] == "lifespan" else self._app
        await app(scope, receive, send)

    @property
    def current(self) -> tuple[Config, Service]:
        return self._config, self._service

    def change(self, config: Config) -> tuple[Change, ...]:
        """Answer from now on by ``config``, but for what only a restart changes; what is different now."""
        found = changes(self._config, config)
        config = kept(self._config, config)
        service = next_service(config, self._service)
        self._app = app_of(config, service)
        self._service.replaced.set()
        self._config, self._service = config, service
        return found

    def reload(self, read: Callable[[], Config]) -> bool:
        """``change`` to what ``read`` gives. It never raises: what is wrong is said in the log, and changes nothing."""
        try:
            config = read()
            found = self.change(config)
        except (ConfigError, OSError) as error:
            tell_refused(error)
            return False
        except Exception:  # the border: our own mistake must not end the streams of a process that works
            log.exception(UNCHANGED)
            return False
        if self._alone:
            tell(found, config)
        return True


def tell(found: tuple[Change, ...], config: Config) -> None:
    """One line on what is different now, and one for each warning."""
    words = "; ".join(str(change) for change in found) or "nothing is different"
    log.info("the configuration is reloaded: %s", words)
    for warning in config.warnings:
        log.warning("%s", warning)


def tell_refused(error: ConfigError | OSError) -> None:
    """A record of the log for each line, so that none is without its time and level."""
    found = f"{error.filename}: {(error.strerror or 'unreadable').lower()}" if isinstance(error, OSError) else error
    for part in f"{UNCHANGED}: {found}".splitlines():
        log.error("%s", part.strip())


# Workers


@attrs.frozen
class Copies:
    """Copies of the configuration that workers read in place of the real file, which may be broken, or different and
    not reloaded yet, when one of them has to be replaced: the content that the supervisor was started with, and the
    last one that was good."""

    folder: Path

    @classmethod
    @contextlib.contextmanager
    def of(cls, path: Path) -> Iterator["Copies"]:
        """In a directory that nobody else can read, for as long as the block."""
        with tempfile.TemporaryDirectory(prefix="trigate-config-") as folder:
            copies = cls(Path(folder))
            data = path.read_bytes()
            for file in (copies._first, copies._latest):
                file.write_bytes(data)
            yield copies

    @property
    def _first(self) -> Path:
        return self.folder / "first.yaml"

    @property
    def _latest(self) -> Path:
        return self.folder / "latest.yaml"

    def read(self, path: Path, env: Mapping[str, str]) -> Config:
        """The configuration of ``path`` that holds. Raises ``ConfigError``."""
        first, latest = (load(path, env, file.read_bytes()) for file in (self._first, self._latest))
        return kept(first, latest)

    def write(self, data: bytes) -> None:
        """At once or not at all. Raises ``OSError``."""
        new = self.folder / "new.yaml"
        new.write_bytes(data)
        new.replace(self._latest)


class Original:
    """The real file, which a supervisor judges before any worker hears of it. Its own log is to ``follow``."""

    def __init__(
        self, config: Config, path: Path, copies: Copies, env: Mapping[str, str], follow: Callable[[Config], object]
    ) -> None:
        self._config = config
        self._follow = follow
        self._path = path
        self._copies = copies
        self._env = env

    def reload(self) -> bool:
        """True if workers should read anew. Never raises: what is wrong is said in the log, and changes nothing."""
        try:
            data = self._path.read_bytes()
            config = load(self._path, self._env, data)
            self._copies.write(data)
        except (ConfigError, OSError) as error:
            tell_refused(error)
            return False
        self._follow(config)
        tell(changes(self._config, config), config)
        self._config = kept(self._config, config)
        return True
