"""The explanation of prompt cache misses in one process. It starts with the first prompt that is large enough."""

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import trio

from gateway.config.model_entry import ModelEntry
from gateway.features.prompt_caches.settings import PromptCacheSettings
from gateway.http.late_imports import import_all
from gateway.routing.target import Target
from gateway.shared.memory import SharedMemory

if TYPE_CHECKING:
    from gateway.features.prompt_caches.texts import LatestTexts
    from gateway.features.prompt_caches.tracker import PromptTracker

Diagnoses: TypeAlias = Callable[[ModelEntry], bool]
"""Returns whether the provider of an entry is to diagnose misses."""

_CODE: Final = ("gateway.features.prompt_caches.tracker", "gateway.features.prompt_caches.sent_prompts")

log = logging.getLogger("trigate.prompt_cache")


class PromptCaching:
    """The explanations of misses of prompt caches in one process.

    ``memory`` is that of the workers, ``None`` in a single process. ``texts`` are those of conversations, ``None`` if
    the operator does not enable them."""

    def __init__(self, settings: PromptCacheSettings, memory: SharedMemory | None = None) -> None:
        self.settings = settings
        self.memory = memory
        self.diagnoses: Diagnoses | None = None
        self.texts = _open_texts(settings.texts) if settings.texts else None
        self._tracker: PromptTracker | None = None
        self._has_failed = False
        self._opening = trio.Lock()  # it serves tasks in the order of their arrival

    def is_diagnosed(self, target: Target) -> bool:
        """Return whether the provider of ``target`` is to diagnose misses."""
        return self.diagnoses is not None and self.diagnoses(target.entry)

    def continue_from(self, before: "PromptCaching") -> None:
        """Continue with the prompts of ``before`` if the memory has the same size."""
        if before is not self and before.settings.memory == self.settings.memory:
            self._tracker = before._tracker

    def close(self) -> None:
        """Delete the texts of prompts, because the configuration has changed."""
        if self.texts is not None:
            self.texts.close()

    @property
    def opened_tracker(self) -> "PromptTracker | None":
        """The tracker, ``None`` until it is open and no request waits for it."""
        return None if self._opening.locked() else self._tracker

    async def tracker(self) -> "PromptTracker":
        """Return the tracker. Its code is imported when it is first needed.

        Requests that wait for that continue in order: the first turn of a conversation precedes its second one."""
        if self._tracker is None or self._opening.locked():
            async with self._opening:
                await import_all(_CODE)
                module = sys.modules[_CODE[0]]
                self._tracker = self._tracker or module.open_tracker(self.settings.memory, self.memory)
        return self._tracker

    def note_error(self) -> None:
        """Log an error of this code, with its traceback, the first time."""
        if not self._has_failed:
            self._has_failed = True
            log.exception("the explanation of a prompt cache failed; the request is not affected")


def _open_texts(most: int) -> "LatestTexts":
    from gateway.features.prompt_caches.texts import LatestTexts  # only where the operator enables it

    return LatestTexts(most)
