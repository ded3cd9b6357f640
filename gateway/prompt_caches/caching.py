"""The explanations of one process, which are opened with the first prompt that matters."""

import logging
from typing import TYPE_CHECKING

from gateway.http.imports import imported

if TYPE_CHECKING:
    from gateway.config.prompt_caches import PromptCacheSettings
    from gateway.prompt_caches.tracker import PromptTracker
    from gateway.shared.memory import SharedMemory

log = logging.getLogger("trigate.prompt_cache")


class PromptCaching:
    """The explanations of misses of prompt caches in one process.

    ``memory`` is that of the workers, ``None`` in a single process."""

    def __init__(self, settings: "PromptCacheSettings", memory: "SharedMemory | None" = None) -> None:
        self.settings = settings
        self.memory = memory
        self._tracker: PromptTracker | None = None
        self._has_failed = False

    def next(self, settings: "PromptCacheSettings") -> "PromptCaching":
        """Return this object, or one that remembers nothing yet for other settings."""
        return self if settings == self.settings else PromptCaching(settings, self.memory)

    async def tracker(self) -> "PromptTracker":
        """Return the tracker, whose code is imported when it is first needed."""
        if self._tracker is None:
            await imported("gateway.prompt_caches.tracker")
            from gateway.prompt_caches.tracker import open_tracker

            self._tracker = self._tracker or open_tracker(self.settings.memory, self.memory)
        return self._tracker

    def note_error(self) -> None:
        """Log an error of this code, with its traceback, the first time."""
        if not self._has_failed:
            self._has_failed = True
            log.exception("the explanation of a prompt cache failed; the request is not affected")
