"""Opens the features of a configuration and its secrets in stores, and runs the features as long as the process."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, cast

import attrs
import trio

from configfile.document import ConfigError, Mistake
from configfile.secret_files import SecretFiles
from gateway.config.settings import Config
from gateway.features.known import features, features_of
from gateway.named_imports import import_named
from gateway.seams.feature import Feature
from gateway.seams.identify import ClientSource, OpenClientSource, OpenRows, OpenUnlisted, StateDatabase
from gateway.seams.running import SECONDS_TO_END, OpenFeature, Ports, Running
from gateway.seams.secrets import OpenSecrets, SecretReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gateway.config.unlisted import UnlistedClients
    from gateway.seams.supervised import OpenSupervised, Supervised

NOTHING_OPEN: Final[Mapping[str, Running]] = {}
NO_TEXTS: Final[Mapping[str, str]] = {}


def open_features(config: Config, ports: Ports, before: Mapping[str, Running] = NOTHING_OPEN) -> Mapping[str, Running]:
    """Return the features of ``config`` by name, in their order. Changes nothing. Raises ``ConfigError``."""
    opened: dict[str, Running] = {}
    for feature in wanted_features(config):
        if feature.option and feature.option not in ports.options:
            continue
        if feature.opening:
            ports = attrs.evolve(ports, opened=dict(opened))  # a feature that keeps them must not be in a cycle
            try:
                open_feature = cast("OpenFeature", import_named(feature.opening))
                made = open_feature(config, ports, before.get(feature.name))
                if not isinstance(made, Running):
                    raise TypeError("it returned no Running")
            except Exception as error:
                if feature.contract is None or isinstance(error, ConfigError):
                    raise
                raise _not_opened(
                    feature, config, ports.ledger.mask(str(error)), error
                ) from error  # the boundary to code of others
            opened[feature.name] = made
    return opened


def _not_opened(feature: Feature, config: Config, reason: str, error: Exception) -> ConfigError:
    found = f"the feature {feature.name} could not be opened: {type(error).__name__}: {reason}"
    return ConfigError((Mistake(str(config.path or ""), "features", found, "correct its package, or remove it"),))


def wanted_features(config: Config) -> Iterator[Feature]:
    """Yield the features of ``config`` in their order, without those that need one which is missing."""
    names: set[str] = set()
    for feature in features_of(config):
        if names >= {*feature.needs} and feature.is_wanted(config):
            names.add(feature.name)
            yield feature


def check_option(name: str, value: object) -> None:
    """Check the ``value`` of an option of ``trigate serve``. Raises ``OSError``, and ``LookupError`` if no feature has
    the option."""
    feature = next((one for one in features() if one.option == name), None)
    if feature is None:
        raise LookupError(f"no feature of this gateway has the option {name}")
    cast("Callable[[object], object]", import_named(feature.check_option))(value)


def open_supervised(config: Config, directory: "Path | None") -> "tuple[Supervised, ...]":
    """Return what the workers of ``config`` share of features. Raises ``OSError``."""
    opened = (cast("OpenSupervised", import_named(one.supervised)) for one in wanted_features(config) if one.supervised)
    return tuple([open_one(config, directory) for open_one in opened])


def open_secrets(config: Config, texts: Mapping[str, str] = NO_TEXTS) -> SecretReader:
    """Return the secrets of ``config`` in stores; ``texts`` are those that another process has read.

    Raises ``ConfigError`` as ``check_secrets`` does."""
    check_secrets(config)
    return cast("OpenSecrets", import_named(next(one.secrets for one in features() if one.secrets)))(config, texts)


def check_secrets(config: Config) -> None:
    """Raise ``ConfigError`` if ``config`` has secrets in stores, and no feature reads them."""
    if config.stored_secrets and not can_read_secrets():
        found = f"no feature of this gateway reads the secret {config.stored_secrets[0]}"
        raise ConfigError((Mistake(str(config.path or ""), "", found, "use files or variables"),))


def can_read_secrets() -> bool:
    """Return whether a feature reads secrets in stores."""
    return any(feature.secrets for feature in features())


async def read_secrets(config: Config) -> SecretFiles:
    """Return the secrets of ``config`` in stores, for loading it again. Waits for stores that do not respond."""
    async with open_secrets(config) as secrets:
        await secrets.read_first(config)
        return secrets.files()


def open_client_source(config: Config, database: "StateDatabase | None") -> ClientSource:
    """Return the clients that are stored in the ``database`` of the state storage. Raises ``ConfigError``."""
    if database is None:
        return ClientSource()
    source = next((one for one in features() if one.client_source and one.stores_clients(config)), None)
    if source is None:
        return ClientSource()
    rows = next((cast("OpenRows", import_named(one.client_rows)) for one in features() if one.client_rows), None)
    return cast("OpenClientSource", import_named(source.client_source))(config, database, rows)


def with_unlisted(config: Config, source: ClientSource, before: "UnlistedClients | None" = None) -> Config:
    """Return ``config`` with its unlisted clients, which keep their state of ``before``."""
    for feature in wanted_features(config):
        if feature.unlisted:
            unlisted = cast("OpenUnlisted", import_named(feature.unlisted))(config, source, before)
            return attrs.evolve(config, unlisted=unlisted)
    return config


class RunningFeatures:
    """The features of a process that have tasks. Each runs from its first use until another replaces it."""

    def __init__(self) -> None:
        self._tasks: dict[object, _FeatureTask] = {}  # by ``Running.lasting``
        self._replaced: list[_FeatureTask] = []  # those that may still wait for requests
        self._used: deque[Mapping[str, Running]] = deque()  # those to start
        self._latest: Mapping[str, Running] = NOTHING_OPEN
        self._starting = trio.Lock()

    def use(self, features: Mapping[str, Running]) -> None:
        """Let ``features`` take over; ``start`` follows. Each ``Running`` runs, even if another replaces it first."""
        self._used.append(features)

    async def start(self, nursery: trio.Nursery) -> None:
        """Run the new features in ``nursery``, and end those that are gone, for one configuration after the other."""
        async with self._starting:
            while self._used:
                self._latest = self._used.popleft()
                await self._change(nursery, self._latest)

    async def _change(self, nursery: trio.Nursery, features: Mapping[str, Running]) -> None:
        kept = {running.lasting for running in features.values()}
        self._replaced = [task for task in self._replaced if not task.ended.is_set()]
        for running in [one for one in self._tasks if one not in kept]:
            self._replaced.append(task := self._tasks.pop(running))
            task.ending.set()
        for running in features.values():
            if running.has_tasks and running.lasting not in self._tasks:
                self._tasks[running.lasting] = task = _FeatureTask()
                await nursery.start(task.run, running)

    async def finish(self) -> None:
        """End all of them in the reverse order of the features, then wait for those that were replaced."""
        places = {running.lasting: place for place, running in enumerate(self._latest.values())}
        self._used.clear()
        for running in sorted(self._tasks, key=lambda one: places.get(one, len(places)), reverse=True):
            await self._tasks.pop(running).finish()
        for task in self._replaced:
            await task.finish()


class _FeatureTask:
    """The task of one feature."""

    def __init__(self) -> None:
        self.ending = trio.Event()
        self.ended = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self, running: Running, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 -- the feature calls it
        try:
            with self._scope:
                await running.run(self.ending, task_status=task_status)
        finally:
            self.ended.set()

    async def finish(self) -> None:
        """Let the task end, and cancel it if it takes too long."""
        self.ending.set()
        with trio.move_on_after(SECONDS_TO_END):
            await self.ended.wait()
        self._scope.cancel()
        await self.ended.wait()
