"""A service that holds text back releases the same text however the provider's stream is split (S33, S35)."""

import re
from collections.abc import Sequence
from typing import Any, Final

import attrs
import pytest

from gateway.steps.loading import load_steps
from gateway.steps.masks import Placeholders, Span
from gateway.steps.stages import WindowStage
from streams.events import AnswerEnd, BlockEnd, Event, TextDelta
from tests.support.step_files import step_config
from trigate.steps import Passage

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

    async def __call__(self, check: Any) -> Any:
        raise NotImplementedError

    async def judge(
        self, step: Any, passages: Sequence[Passage], *, is_last: bool, counted: int = 0
    ) -> list[list[Span]]:
        (passage,) = passages
        assert TEXT.startswith(passage.text)
        self.lengths.append(len(passage.text))
        return [[Span(*found.span(), "masked", "<BIRD>") for found in VALUE.finditer(passage.text)]]


def text_in(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.sample(3, by="turns")
@pytest.mark.parametrize("size", [4, 8, 16])
async def test_every_split_releases_the_same_text(tmp_path, size):
    (loaded,) = load_steps(step_config(tmp_path, "  - {use: http, at: [response], with: {url: 'http://a'}}\n")).steps
    step = attrs.evolve(loaded, state=attrs.evolve(loaded.state, resource=None), function=Guard())
    for first in range(len(TEXT)):
        for second in (first, (first + len(TEXT)) // 2, len(TEXT)):
            guard = step.function
            guard.lengths.clear()
            stage = WindowStage(step, guard.judge, Placeholders(b"k", "c"), size)
            released = []
            for piece in (TEXT[:first], TEXT[first:second], TEXT[second:]):
                released += await stage.feed([TextDelta(0, piece)] if piece else [])
                assert "falcon" not in text_in(released)
            released += await stage.feed([BlockEnd(0), AnswerEnd("stop")])
            assert text_in(released) == "some words before <BIRD> and words after it"
            assert guard.lengths == [*range(size, len(TEXT) + 1, size), *([len(TEXT)] if len(TEXT) % size else [])]
