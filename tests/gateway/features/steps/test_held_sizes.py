"""All content that a step keeps back counts in ``limits.answer``, not only its text."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from gateway.features.steps.loading import load_steps
from streams.errors import GatewayError
from tests.support.growing_streams import STREAMS, wire
from tests.support.released_streams import release
from tests.support.step_files import step_config

LIMIT: Final = 64 * 1024
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
