"""The seam of secrets in stores, such as Vault: a feature reads them, and supplies requests with providers' keys.

A configuration names secrets in stores (``Config.stored_secrets``), and is complete only with their texts. So this
seam comes before all others: at most one row of ``gateway.features.order`` has ``secrets``, which
``gateway.open_features.open_secrets`` imports and calls for the first such configuration. Without such a row, a
configuration with a secret in a store is rejected.

1. **Before serving**, the command calls ``read_first`` and loads the configuration again with ``files``. Secrets that
   cannot be read are logged and have no text: then only keys of providers may be missing.
2. **While serving**, ``follow`` runs in the nursery of the command until it is cancelled. It calls ``apply`` when a
   text has changed; the command then loads the same configuration with the new texts, as a reload does. Before a
   reload, the command calls ``read_new``.
3. **Keys of providers**: the same feature opens with ``Ports.secrets``, and its ``Hooks.credentials`` are the sources
   of keys by the names of their entries. Sign-ins of the kernel have no such pair. An attempt asks its source for the
   key, and once more after a provider's 401. The source may wait, and raises ``GatewayError`` without a key. Any
   feature may supply sources; one whose credentials belong to clients returns a source of its own in ``for_client``.

``follow`` and ``read_new`` may not raise: a store that does not answer changes nothing. No text of a secret may be in
a message or the log."""

import abc
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Protocol, TypeAlias

import attrs
import trio

from configfile.secret_files import SecretFiles
from configfile.stored_secrets import StoredSecret
from gateway.config.settings import Config

FilesOf: TypeAlias = Callable[[Mapping[str, str]], SecretFiles]
"""Returns the secrets for loading a configuration, given the texts of files by their paths."""


@attrs.frozen(repr=False)
class SecretSize:
    """The length of a secret in characters, and its creation time in Unix seconds, ``None`` if that is unknown."""

    length: int
    created: float | None


class SecretReader(trio.abc.AsyncResource):
    """The texts of secrets in stores that a process keeps. ``apply()`` applies new ones."""

    apply: Callable[[], Awaitable[object]]

    @abc.abstractmethod
    def files(self, given: Mapping[str, str] | None = None) -> SecretFiles:
        """Return the secrets for loading a configuration; ``given`` are the texts of files by their paths."""

    @abc.abstractmethod
    async def read_first(self, config: Config) -> None:
        """Read the secrets of ``config`` that have never been read, and wait for stores that do not answer."""

    @abc.abstractmethod
    async def read_new(self, load: Callable[[FilesOf], Config]) -> None:
        """Read the secrets of the next configuration, ``load(files)``, that have never been read."""

    @abc.abstractmethod
    async def follow(
        self, current: Callable[[], Config], report_stale: Callable[[float], object], *, at_once: bool = False
    ) -> None:
        """Read the secrets of the configuration that ``current()`` returns again and again, until cancelled.

        ``report_stale`` gets the longest time in seconds for which one could not be read. With ``at_once`` the first
        read does not wait."""

    @abc.abstractmethod
    async def measure(self, secrets: Collection[StoredSecret]) -> Mapping[StoredSecret, SecretSize | str]:
        """Read ``secrets`` without keeping them. Return their sizes, or the reasons why they cannot be read."""


class OpenSecrets(Protocol):
    """Opens the secrets of a configuration; ``texts`` are those that another process has read."""

    def __call__(self, config: Config, texts: Mapping[str, str]) -> SecretReader: ...
