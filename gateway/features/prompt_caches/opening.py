"""Opens the explanations of misses of prompt caches. The code that reads prompts is imported with the first prompt
that matters."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeVar

import trio

from configfile.keys import part_of
from gateway.balancing.balancer import NOTHING_READABLE, Readable
from gateway.config.settings import Config
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.features.prompt_caches.attempts import (
    LEAST_BODY,
    PromptCaching,
    is_diagnosed,
    note_attempt,
    noted_exchange,
)
from gateway.features.prompt_caches.feature import PromptCacheKeys
from gateway.http.late_imports import load_module
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running

T = TypeVar("T")

_BEFORE_SENDING: Final = "gateway.features.prompt_caches.sent_prompts"
_NOTHING_READ: Final[tuple[Readable, Sequence[Any]]] = (NOTHING_READABLE, ())


class OpenPromptCaches(Running):
    """The explanations under one configuration. Others with the same settings continue them."""

    def __init__(self, caching: PromptCaching, *, requests_diagnoses: bool) -> None:
        self.caching = caching
        self.has_tasks = caching.texts is not None
        self.hooks = Hooks(
            edit_sent=(partial(_request_diagnosis, caching),) if requests_diagnoses else (),
            observe_attempts=(partial(note_attempt, caching),),
            find_readable=(partial(_find_readable, caching),),
        )

    @property
    def lasting(self) -> PromptCaching:
        return self.caching

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Delete the texts of prompts when another configuration has other settings."""
        task_status.started()
        await ending.wait()
        self.caching.close()


def open_prompt_caches(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the explanations for ``config``, those of ``before`` if it has the same settings."""
    settings = part_of(config, PromptCacheKeys).prompt_cache
    assert settings is not False, "they are switched on"
    caching = before.caching if isinstance(before, OpenPromptCaches) else None
    if caching is None or caching.settings != settings:
        caching = PromptCaching(settings, None if ports.shared is None else ports.shared.memory, caching)
    return OpenPromptCaches(caching, requests_diagnoses=any(map(is_diagnosed, config.entries)))


async def _find_readable(caching: PromptCaching, context: ExchangeContext, incoming: Incoming, plan: Plan) -> Readable:
    """Return what the caches of the targets of ``plan`` hold of a prompt that is long enough to matter."""
    if incoming.size < LEAST_BODY:
        return NOTHING_READABLE
    found, read = await _choose(caching, "find_readable", _NOTHING_READ, context, incoming, plan)
    if read:
        noted_exchange(caching, context.record).read = read
    return found


async def _request_diagnosis(
    caching: PromptCaching, prepared: Prepared, target: Target, context: ExchangeContext, request: PlannedRequest
) -> Prepared:
    """Return ``prepared`` with a request for a diagnosis, if the target's entry wants it."""
    if not is_diagnosed(target.entry):
        return prepared
    return await _choose(caching, "request_diagnosis", prepared, prepared, target, context, request)


async def _choose(caching: PromptCaching, name: str, otherwise: T, *given: Any) -> T:
    """Return the result of the function ``name`` of ``sent_prompts``, ``otherwise`` after an error in it."""
    code = await load_module(_BEFORE_SENDING)
    try:
        found: T = await getattr(code, name)(await caching.prompts.tracker(), *given)
    except Exception:  # the boundary: an error here must not fail the request
        caching.note_error()
        return otherwise
    return found
