"""The steps of one response, which read its events one after the other."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from gateway.features.steps.holding import EVENTS_OF_TURN, HoldingStage
from gateway.features.steps.kinds.normal import NormalText, is_plain
from gateway.features.steps.kinds.scanning import LONGEST_SEGMENT
from gateway.features.steps.runner import StepFailed, in_turns
from gateway.features.steps.stages import StepStage, WatchingStage
from streams.events import Event

LATER: Final = 1000
"""Characters of released text after which the stages see it."""

BRACKET: Final = r"\["
"""The first character of each placeholder, as a pattern."""


class PlainScan:
    """A search for text that a step must see. ``candidate`` is a pattern for such text, ``characters`` may continue as
    such text."""

    def __init__(self, candidate: str, characters: str, is_ascii_only: bool) -> None:
        self._search = re.compile(candidate).search if candidate else None
        self._characters = characters
        self._is_ascii_only = is_ascii_only

    def tail(self, text: str) -> int:
        """Return the position from which ``text`` must wait for more of it, ``-1`` if a step must see it."""
        if self._search is None:
            return len(text)
        if not is_plain(text):
            if self._is_ascii_only or not (normal := NormalText(text)).is_aligned:
                return -1
            text = normal.text
        if self._search(text) is not None:
            return -1
        tail = len(text.rstrip(self._characters))
        return -1 if len(text) - tail > LONGEST_SEGMENT else tail


def plain_scan(kinds: Sequence[Any], *, restores: bool = False) -> PlainScan | None:
    """Return the scan for several built-in ``kinds``, ``None`` if one of them must see every text."""
    candidates = [one for kind in kinds if (one := getattr(kind, "candidate", None))]
    if len(candidates) < len(kinds):
        return None
    characters = "".join(kind.characters for kind in kinds)
    is_ascii_only = any(kind.is_ascii_only for kind in kinds)
    return _scan("|".join([*candidates, *([BRACKET] if restores else ())]), characters, is_ascii_only)


_scan: Final = lru_cache(maxsize=256)(PlainScan)


class PlainText:
    """The text of one block of a stream. ``held`` was not released; ``passed`` was, and no stage has seen it."""

    __slots__ = ("_scan", "block", "held", "passed", "passed_length")

    def __init__(self, scan: PlainScan, block: int, held: str) -> None:
        self._scan = scan
        self.block = block
        self.held = held
        self.passed: list[str] = []
        self.passed_length = 0

    def release(self) -> str | None:
        """Return the text that the client gets now, ``None`` if the steps must see the held text."""
        text = self.held
        tail = self._scan.tail(text)
        if tail <= 0:
            return "" if tail == 0 else None
        released, self.held = text[:tail], text[tail:]
        self.passed.append(released)
        self.passed_length += tail
        return released


class Chain:
    """The stages of one response in the order of their steps. ``scan`` finds text that they need not see immediately,
    if there may be any."""

    def __init__(self, stages: Sequence[HoldingStage], scan: PlainScan | None = None) -> None:
        self._stages = list(stages)
        self._scan = scan

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return the released events. Raises ``GatewayError`` for a refusal."""
        released = list(events)
        for stage in self._stages:
            if len(released) <= EVENTS_OF_TURN:
                released = await stage.feed(released)
            else:
                released = [e async for part in in_turns(released, EVENTS_OF_TURN) for e in await stage.feed(part)]
        return released

    def take_back(self, block: int) -> PlainText | None:
        """Take the held text from the stages, and return it as plain text of ``block``, which needs ``pass_on`` later.

        Returns ``None`` if the stages must see the next event."""
        if self._scan is None:
            return None
        held = ""
        for stage in self._stages:  # later stages hold earlier text
            if (text := stage.held_text(block)) is None:
                return None
            held = text + held
        if self._scan.tail(held) != 0:
            return None
        for stage in self._stages:
            stage.take_back(block)
        return PlainText(self._scan, block, held)

    def pass_on(self, plain: PlainText) -> None:
        """Show the stages the plain text that the client has."""
        if plain.passed:
            text = "".join(plain.passed)
            plain.passed.clear()
            plain.passed_length = 0
            for stage in self._stages:
                stage.pass_on(plain.block, text)

    def drop_watchers(self) -> None:
        """Let the steps that only report see no more of a long answer, which they would hold."""
        for stage in [one for one in self._stages if isinstance(one, WatchingStage)]:
            stage.session.records.of(stage.step.name, "response").note_too_long()
            self._stages.remove(stage)

    def bypass(self) -> bool:
        """Let the stages that hold too much release everything unchecked with the next events, and return whether there
        are any. Raises ``GatewayError`` if a step refuses that."""
        holding = [one for one in self._stages if isinstance(one, StepStage) and one.holds and not one.is_bypassed]
        for stage in holding:
            stage.session.note_failure(StepFailed(stage.step, "too_long"))
            stage.is_bypassed = True
        return bool(holding)

    @property
    def held_size(self) -> int:
        """The size of everything that the stages hold, in bytes."""
        return sum(stage.held_size for stage in self._stages)

    @property
    def has_masked(self) -> bool:
        """Whether a step masked anything."""
        return any(isinstance(stage, StepStage) and stage.masked for stage in self._stages)
