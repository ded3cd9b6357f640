"""The seam of the supervisor, which starts several workers and has no features of its own.

Before it starts them, the supervisor calls each ``OpenSupervised`` of the configuration, with the workers' directory,
``None`` without one. It may raise ``OSError``."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from gateway.config.settings import Config


class Supervised:
    """The part of a feature that workers share. This base shares nothing."""

    @property
    def env(self) -> Mapping[str, str]:
        """The variables for the environment of each worker."""
        return {}

    def note_reload(self, good: bool) -> None:
        """Note that the workers use a new configuration if it is ``good``."""

    def note_dead_worker(self, pid: int) -> None:
        """Note the end of a worker."""


OpenSupervised: TypeAlias = Callable[[Config, Path | None], Supervised]
