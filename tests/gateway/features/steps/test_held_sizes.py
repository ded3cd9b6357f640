"""A step that holds the whole response keeps back all content until its verdict, and all of it counts in
``limits.answer``, not only text."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from gateway.features.steps.loading import load_steps
from gateway.streaming.released import ReleasedReader
from streams.errors import GatewayError
from streams.events import AnswerStart, Usage
from tests.support.growing_streams import STREAMS, wire
from tests.support.released_streams import events_of, release
from tests.support.step_files import step_config

LIMIT: Final = 16 * 1024
WHOLE: Final[dict[str, Any]] = {
    "use": "regex", "with": {"patterns": {"word": "falcon-[0-9]+"}}, "at": ["response"], "action": "refuse",
    "hold": "whole",
}  # fmt: skip
HELD: Final = {
    "chat": ("log probabilities",),
    "messages": ("citations of a text",),
    "responses": ("log probabilities",),
    "gemini": ("signatures alone", "parts of an unknown kind"),
}
UNKNOWN: Final = ("messages", "responses", "converse", "interactions")
"""The APIs whose unknown events the client gets if nothing is translated."""


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    return lambda **more: load_steps(step_config(folder, f"  - {json.dumps({**WHOLE, **more})}\n")).steps


def events_of_size(api: str, shape: str, size: int) -> list[bytes]:
    """Return the events of a stream of ``size`` bytes or more."""
    n = 16
    while sum(map(len, reads := [wire(api, [one]) for one in STREAMS[api][shape](n)])) < size:
        n *= 2
    return reads


@pytest.mark.parametrize(
    ("api", "shape", "translates"),
    [
        *((api, shape, translates) for api, shapes in HELD.items() for shape in shapes for translates in (False, True)),
        *((api, "events of an unknown type", False) for api in UNKNOWN),
    ],
)
def test_content_without_text_that_is_held_beyond_the_limit_is_unchecked(load, api, shape, translates):
    reads, read = events_of_size(api, shape, 4 * LIMIT), 0

    def count() -> Iterator[bytes]:
        nonlocal read
        for one in reads:
            read += len(one)
            yield one

    with pytest.RaisesGroup(GatewayError) as failed:
        release(load(), api, count(), translates=translates, answer_limit=LIMIT)
    (error,) = failed.value.exceptions
    assert error.info.code == "step_unavailable"
    assert read < 3 * LIMIT
    found = release(load(unchecked="pass"), api, reads, translates=translates, answer_limit=LIMIT)
    assert translates or b"".join(found.releases) == b"".join(reads)
    small = release(load(), api, events_of_size(api, shape, LIMIT // 4), translates=translates, answer_limit=LIMIT * 2)
    assert small.releases


ENDED_EARLY: Final = ("converse", "usage in each event")
"""The stream whose answer ends before most of its events."""


def early_releases(load: Any, api: str, reads: list[bytes], translates: bool) -> list[bytes]:
    """Return the releases before the last two of ``reads``."""
    at, early = 0, []

    def count() -> Iterator[bytes]:
        nonlocal at
        for one in reads:
            yield one
            at += 1

    def note(data: bytes) -> None:
        if data and at < len(reads) - 2:
            early.append(data)

    with contextlib.suppress(BaseExceptionGroup):  # some streams end with a failure
        release(load(), api, count(), translates=translates, on_release=note)
    return early


@pytest.mark.parametrize("translates", [False, True])
@pytest.mark.parametrize("api", STREAMS)
def test_no_content_passes_before_the_verdict_on_the_whole_response(load, api, translates):
    """Content without text waits, too: images, calls without arguments, and items of a provider's own tool."""
    for shape, events in STREAMS[api].items():
        if (api, shape) == ENDED_EARLY:
            continue
        early = early_releases(load, api, [wire(api, [one]) for one in events(6)], translates)
        if not translates:
            assert not early, shape
            continue
        reader = ReleasedReader()
        opening = [event for data in early for event in events_of(data, reader)]
        assert all(isinstance(event, AnswerStart | Usage) for event in opening), shape
