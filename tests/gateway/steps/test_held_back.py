"""A service that holds text back releases the same text however the provider's stream is split (S33, S35)."""

import re
from collections.abc import Sequence
from typing import Final

import attrs
import pytest

from gateway.steps.loading import load_steps
from gateway.steps.stages import WindowStage
from gateway.steps.trial import TrialSession
from streams.events import AnswerEnd, BlockEnd, Event, TextDelta
from tests.support.step_files import step_config
from trigate.steps import Check, Finding, Passage

TEXT: Final = "some words before falcon with a name longer than the window! and words after it"
VALUE: Final = re.compile(r"falcon[^!]*!")


@attrs.define
class Guard:
    """A service that masks a value, and holds back its beginning."""

    sees_text_so_far: bool = True
    lengths: list[int] = attrs.field(factory=list)

    def held_back(self, passage: Passage) -> int:
        at = passage.text.find("falcon")
        return 0 if at < 0 or VALUE.search(passage.text) else len(passage.text) - at

    async def __call__(self, check: Check) -> list[Finding]:
        (passage,) = check.passages
        assert TEXT.startswith(passage.text)
        self.lengths.append(len(passage.text))
        return [Finding("masked", passage, *found.span(), "<BIRD>", "mask") for found in VALUE.finditer(passage.text)]


def text_in(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.sample(3, by="turns")
@pytest.mark.parametrize("size", [4, 8, 16])
async def test_every_split_releases_the_same_text(tmp_path, size):
    (loaded,) = load_steps(step_config(tmp_path, "  - {use: http, at: [response], with: {url: 'http://a'}}\n")).steps
    guard = Guard()
    step = attrs.evolve(loaded, hold=size, state=attrs.evolve(loaded.state, resource=None), function=guard)
    session = TrialSession(Check("response", ()))
    for first in range(len(TEXT)):
        for second in (first, (first + len(TEXT)) // 2, len(TEXT)):
            guard.lengths.clear()
            stage = WindowStage(step, session)
            released = []
            for piece in (TEXT[:first], TEXT[first:second], TEXT[second:]):
                released += await stage.feed([TextDelta(0, piece)] if piece else [])
                assert "falcon" not in text_in(released)
            released += await stage.feed([BlockEnd(0), AnswerEnd("stop")])
            assert text_in(released) == "some words before <BIRD> and words after it"
            assert guard.lengths == [*range(size, len(TEXT) + 1, size), *([len(TEXT)] if len(TEXT) % size else [])]
