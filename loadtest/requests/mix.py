"""The source of the requests of a load: a mix of kinds, each with a source of its own."""

import random
from collections.abc import Callable, Sequence

from loadtest.plan.load_request import LoadRequest
from loadtest.plan.recorded_load import is_recorded
from loadtest.requests.conversation import MadeConversations, TracedConversations
from loadtest.requests.file_source import FileRequests
from loadtest.requests.made_requests import MadeRequests
from loadtest.requests.recorded_source import RecordedRequests
from loadtest.requests.setting import SourceSetting
from loadtest.requests.sounds import SoundRequests
from loadtest.requests.sources import LoadSession, RequestSource


class Mix:
    """Requests of several kinds, by their weights, each made by the source of its kind."""

    def __init__(self, sources: Sequence[tuple[float, RequestSource]]) -> None:
        self._weights = [weight for weight, _ in sources]
        self._sources = [source for _, source in sources]

    def session(self, number: int, chance: random.Random) -> LoadSession:
        return chance.choices(self._sources, self._weights)[0].session(number, chance)


def _recorded(request: LoadRequest, setting: SourceSetting) -> RequestSource | None:
    return RecordedRequests(request) if is_recorded(request.requests) else None


def _of_file(request: LoadRequest, setting: SourceSetting) -> RequestSource | None:
    return FileRequests(request, setting) if request.requests else None


def _conversations(request: LoadRequest, setting: SourceSetting) -> RequestSource | None:
    if not request.turns.several:
        return None
    made = MadeRequests(request, setting)
    return MadeConversations(request, made, made.words)


def _traced(request: LoadRequest, setting: SourceSetting) -> RequestSource | None:
    trace = setting.trace
    if trace is None or not trace.behind:
        return None
    made = MadeRequests(request, setting)
    return TracedConversations(trace, setting.speed, made, made.words)


def _sounds(request: LoadRequest, setting: SourceSetting) -> RequestSource | None:
    return SoundRequests(request) if request.api == "transcriptions" else None


SOURCES: tuple[Callable[[LoadRequest, SourceSetting], RequestSource | None], ...] = (
    _recorded,
    _of_file,
    _sounds,
    _conversations,
    _traced,
    MadeRequests,
)
"""The makers of sources, the first that takes a kind of request makes its own."""


def source_of(requests: Sequence[LoadRequest], setting: SourceSetting) -> RequestSource:
    """The source of the mix of a scenario."""
    made = [(request.weight, next(filter(None, (make(request, setting) for make in SOURCES)))) for request in requests]
    return made[0][1] if len(made) == 1 else Mix(made)
