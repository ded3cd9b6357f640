"""The steps of one response, which read its events one after the other."""

from collections.abc import Callable, Sequence

import trio

from gateway.features.steps.holding import EVENTS_OF_TURN, EventStage, HoldingStage
from gateway.features.steps.plain_text import PlainScan, PlainText
from gateway.features.steps.stages import StepStage
from gateway.features.steps.watching import WatchingStage
from streams.events import Event


class Chain:
    """The stages of one response in the order of their steps. ``scan`` finds text that they need not see immediately,
    if there may be any."""

    def __init__(self, stages: Sequence[EventStage], scan: PlainScan | None = None) -> None:
        self._stages = stages
        self._scan = scan

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return the released events. Raises ``GatewayError`` for a refusal."""
        released = list(events)
        for stage in self._stages:
            released = await (
                stage.feed(released) if len(released) <= EVENTS_OF_TURN else _feed_in_turns(stage, released)
            )
        return released

    def take_back(self, block: int) -> PlainText | None:
        """Take the held text from the stages, and return it as plain text of ``block``, which needs ``pass_on`` later.

        Returns ``None`` if the stages must see the next event."""
        if self._scan is None:
            return None
        held = ""
        stages = [stage for stage in self._stages if isinstance(stage, HoldingStage)]
        for stage in stages:  # later stages hold earlier text
            if (text := stage.held_text(block)) is None:
                return None
            held = text + held
        if self._scan.tail(held) != 0:
            return None
        for stage in stages:
            stage.take_back(block)
        return PlainText(self._scan, block, held)

    def pass_on(self, plain: PlainText) -> None:
        """Show the stages the plain text that the client has."""
        if plain.passed:
            text = "".join(plain.passed)
            plain.passed.clear()
            plain.passed_length = 0
            for stage in self._stages:
                if isinstance(stage, HoldingStage):
                    stage.pass_on(plain.block, text)

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


async def _feed_in_turns(stage: EventStage, events: Sequence[Event]) -> list[Event]:
    """Return what ``stage.feed(events)`` would, in many turns of the event loop. Raises the same."""
    released: list[Event] = []
    for at in range(0, len(events), EVENTS_OF_TURN):
        released += await stage.feed(events[at : at + EVENTS_OF_TURN])
        await trio.lowlevel.checkpoint()
    return released
