"""Opens the explanations of misses of prompt caches. The code that reads prompts is imported with the first prompt
that matters."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeVar

import trio

from configfile.keys import part_of
from gateway.balancing.balancer import NOTHING_READABLE, Readable
from gateway.config.settings import Config
from gateway.features.prompt_caches.attempts import LEAST_BODY, Diagnoses, PromptCaching, note_attempt, noted_exchange
from gateway.features.prompt_caches.feature import PromptCacheKeys, PromptCacheSettings
from gateway.http.late_imports import load_module
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.seams.edit_sent import ExchangeFacts, PlannedFacts
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running
from gateway.shared.memory import SharedMemory

T = TypeVar("T")

_BEFORE_SENDING: Final = "gateway.features.prompt_caches.sent_prompts"
_NOTHING_READ: Final[tuple[Readable, Sequence[Any]]] = (NOTHING_READABLE, ())


class OpenPromptCaches(Running):
    """The explanations under one configuration. They continue those of ``before``, with other settings or entries."""

    def __init__(
        self,
        settings: PromptCacheSettings,
        memory: SharedMemory | None,
        diagnoses: Diagnoses | None,
        before: "OpenPromptCaches | None",
    ) -> None:
        self._before, self._is_continued, self.diagnoses = before, False, diagnoses
        earlier: PromptCaching | None = None if before is None else before.caching
        is_same = earlier is not None and earlier.settings == settings
        self.caching: PromptCaching = earlier if earlier is not None and is_same else PromptCaching(settings, memory)
        self.has_tasks = self.caching.texts is not None
        self.hooks = Hooks(
            edit_sent=() if diagnoses is None else (partial(_request_diagnosis, self.caching),),
            observe_attempts=(partial(note_attempt, self.caching),),
            find_readable=(partial(_find_readable, self.caching),),
        )

    def use(self) -> None:
        """Continue with what the earlier explanations have read until now."""
        self.caching.diagnoses = self.diagnoses
        if (before := self._before) is not None:
            self._before, before._is_continued = None, before.caching is self.caching
            self.caching.continue_from(before.caching)

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Delete the texts of prompts when another configuration has other settings."""
        task_status.started()
        await ending.wait()
        if not self._is_continued:
            self.caching.close()


def open_prompt_caches(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the explanations for ``config``, the same ones as ``before`` if nothing of them has changed."""
    settings, diagnoses = part_of(config, PromptCacheKeys).prompt_cache, _find_diagnoses(config, ports)
    assert settings is not False, "they are switched on"
    earlier = before if isinstance(before, OpenPromptCaches) else None
    if earlier is not None and earlier.caching.settings == settings and earlier.diagnoses is diagnoses:
        return earlier
    return OpenPromptCaches(settings, None if ports.shared is None else ports.shared.memory, diagnoses, earlier)


def _find_diagnoses(config: Config, ports: Ports) -> Diagnoses | None:
    """Return the function that finds entries whose providers are to diagnose misses, ``None`` without such an entry."""
    if "cache_acts" not in ports.opened:  # the feature with that key
        return None
    from gateway.features.cache_acts.feature import is_diagnosed

    return is_diagnosed if any(map(is_diagnosed, config.entries)) else None


async def _find_readable(caching: PromptCaching, context: ExchangeFacts, incoming: Incoming, plan: Plan) -> Readable:
    """Return what the caches of the targets of ``plan`` hold of a prompt that is long enough to matter."""
    if incoming.size < LEAST_BODY:
        return NOTHING_READABLE
    found, read = await _choose(caching, "find_readable", _NOTHING_READ, context, incoming, plan)
    if read:
        noted_exchange(caching, context.record).read = read
    return found


async def _request_diagnosis(
    caching: PromptCaching, prepared: Prepared, target: Target, context: ExchangeFacts, request: PlannedFacts
) -> Prepared:
    """Return ``prepared`` with a request for a diagnosis, if the target's entry wants it."""
    if not caching.is_diagnosed(target):
        return prepared
    return await _choose(caching, "request_diagnosis", prepared, prepared, target, context, request)


async def _choose(caching: PromptCaching, name: str, otherwise: T, *given: Any) -> T:
    """Return the result of the function ``name`` of ``sent_prompts``, ``otherwise`` after an error in it."""
    code = await load_module(_BEFORE_SENDING)
    try:
        found: T = await getattr(code, name)(await caching.tracker(), *given)
    except Exception:  # the boundary: an error here must not fail the request
        caching.note_error()
        return otherwise
    return found
