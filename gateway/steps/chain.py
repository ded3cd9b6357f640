"""The steps of one response, which read its events one after the other."""

from collections.abc import Callable, Sequence

from gateway.steps.stages import EventStage, HoldingStage, StepStage, WatchingStage
from streams.events import Event


class Chain:
    """The stages of one response in the order of their steps."""

    def __init__(self, stages: Sequence[EventStage]) -> None:
        self._stages = stages

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return the released events. Raises ``GatewayError`` for a refusal."""
        released = list(events)
        for stage in self._stages:
            released = await stage.feed(released)
        return released

    def drop_watchers(self) -> list[str]:
        """Remove the steps that only report, and return their names."""
        watchers = [one for one in self._stages if isinstance(one, WatchingStage) and one.step.only_reports]
        self._stages = [one for one in self._stages if one not in watchers]
        return [one.step.name for one in watchers]

    def holding_stages(self) -> list[StepStage]:
        """Return the stages that hold text."""
        return [stage for stage in self._stages if isinstance(stage, StepStage) and stage.held_characters]

    @property
    def held_characters(self) -> int:
        """The number of characters that the stages hold."""
        return sum(stage.held_characters for stage in self._stages if isinstance(stage, HoldingStage))

    @property
    def has_masked(self) -> bool:
        """Whether a step masked anything."""
        return any(isinstance(stage, StepStage) and stage.masked for stage in self._stages)


class KeepingStage:
    """A stage that releases all events, and calls ``keep`` with them."""

    def __init__(self, keep: Callable[[Sequence[Event]], object]) -> None:
        self._keep = keep

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        self._keep(events)
        return list(events)
