"""Opens joined answers for a configuration."""

from functools import partial

import trio

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.answer_cache.interface import AnswerCache, AnswerCacheSettings, cache_in
from gateway.features.joined.feature import RepeatsKeys
from gateway.features.joined.kept_answers import KeptAnswers
from gateway.features.joined.repeats import joined_origin
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running


class OpenJoined(Running):
    """The kept answers of a process, with the time for which a configuration keeps them."""

    has_tasks = True

    def __init__(self, kept: KeptAnswers, cache: AnswerCache, seconds: float, most: int, ports: Ports) -> None:
        self.kept, self.cache = kept, cache
        self.hooks = Hooks(wrap_origin=(partial(joined_origin, cache),))
        self._seconds, self._most = seconds, most
        self._stopping = ports.lifecycle.stopping
        self._answer_cache = cache_in(ports.opened)

    @property
    def lasting(self) -> KeptAnswers:
        return self.kept

    def use(self) -> None:
        self.kept.seconds, self.kept.most = self._seconds, self._most
        if self._answer_cache is not None:
            self._answer_cache.keeper = self.kept

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 -- it passes it on
        await self.kept.run(self._stopping, ending, task_status=task_status)


def open_joined(config: Config, ports: Ports, before: Running | None) -> OpenJoined:
    """Return the answers that ``before`` keeps, with the settings of ``config``."""
    repeats = part_of(config, RepeatsKeys).repeats
    assert repeats is not None, "the feature is wanted"
    limits = config.limits
    if isinstance(before, OpenJoined):
        return OpenJoined(before.kept, before.cache, repeats.join, limits.in_flight, ports)
    kept = KeptAnswers(repeats.join, limits.in_flight)
    cache = AnswerCache(AnswerCacheSettings(max_request=limits.request_body, max_answer=limits.answer), None)
    cache.keeper = kept
    return OpenJoined(kept, cache, repeats.join, limits.in_flight, ports)
