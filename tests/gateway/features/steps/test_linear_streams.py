"""The work of steps on a stream is linear in its events (CWE-407), whatever a provider repeats in them, and that on the
texts of a request in their number."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import pytest
import trio

from gateway.features.steps import response_texts, runner
from gateway.features.steps.answer_texts import StreamAnswer
from gateway.features.steps.json_texts import KeyMasked, edit_document
from gateway.features.steps.loaded import LoadedStep
from gateway.features.steps.loading import load_steps
from gateway.features.steps.masks import PassageEdit
from gateway.features.steps.request_texts import RequestTexts
from gateway.http import offload
from tests.support.each_row import each_row
from tests.support.growing_requests import REQUESTS, SCHEMAS
from tests.support.growing_streams import STREAMS, wire
from tests.support.growth import assert_steps_grow_linearly, assert_time_grows_linearly
from tests.support.released_streams import release
from tests.support.step_files import step_config

PATTERN: Final = {"patterns": {"word": "falcon-[0-9]+"}}
KINDS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"use": "pii", "action": "mask"},
    "refuse": {"use": "secrets", "action": "refuse"},
    "report": {"use": "pii", "action": "report"},
    "window": {"use": "regex", "action": "mask", "hold": 40, "with": PATTERN},
    "whole": {"use": "regex", "action": "refuse", "hold": "whole", "with": PATTERN},
}
LIMITED: Final = "choices in one event"
"""A provider may send a few of them."""
ROWS: Final = [(api, shape) for api, shapes in STREAMS.items() for shape in shapes if shape != LIMITED]

EVENTS: Final = 48
RATIO: Final = 1.25
"""More than 1, because kinds search up to 4 KiB again while they may become a value."""


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    return {
        kind: load_steps(step_config(folder, f"  - {json.dumps({**one, 'at': ['response']})}\n")).steps
        for kind, one in KINDS.items()
    }


def check_stream(chosen: tuple[LoadedStep, ...], api: str, shape: str, n: int) -> Callable[[], None]:
    reads = [wire(api, [event]) for event in STREAMS[api][shape](n)]

    def work() -> None:
        found = release(chosen, api, reads)
        assert found.releases or found.refused is not None

    return work


def rows() -> Iterator[Any]:
    """Yield every 64th row with one kind, by turns, and for the soak all rows with all kinds."""
    for number, (api, shape) in enumerate(ROWS):
        for at, kind in enumerate(KINDS):
            marks = () if number % 64 == 0 and at == number // 64 % len(KINDS) else pytest.mark.soak
            yield pytest.param(api, shape, kind, id=f"{api}: {shape}-{kind}", marks=marks)


@pytest.fixture(autouse=True)
def large_stream(monkeypatch):
    """Let a short stream take the ways of a long one: its searches are spent, and no kind has another way for it."""
    monkeypatch.setattr(response_texts, "MOST_SEARCHED", 0)
    monkeypatch.setattr(response_texts, "MOST_CUT", 16)
    monkeypatch.setattr(runner, "SMALL_TEXTS", 2**30)
    monkeypatch.setattr(offload, "LARGE", 2**30)  # steps in other threads are not counted


@pytest.mark.parametrize(("api", "shape", "kind"), [*rows()])
def test_streams_are_checked_in_linear_time(steps, api, shape, kind):
    assert_steps_grow_linearly(lambda n: check_stream(steps[kind], api, shape, n), EVENTS, RATIO)


# Streams of other endpoints


def stream_of_completions(n: int) -> bytes:
    return b"".join(b'data: {"choices":[{"index":0,"text":"falcon-1 "}]}\n\n' for _ in range(n))


def completion_of_choices(n: int) -> bytes:
    choices = [{"index": at, "text": "falcon-1 "} for at in range(n)]
    return b"data: " + json.dumps({"choices": choices}).encode() + b"\n\n"


def edit_stream(body: bytes) -> Callable[[], None]:
    def work() -> None:
        texts = StreamAnswer("completions", body)
        found = [(one, one.text.index("f", at), at + 8) for one in texts.passages for at in range(0, len(one.text), 9)]
        edited = trio.run(texts.with_edits, [(*one, "[M]") for one in found])
        assert edited.body.count(b"[M]") == body.count(b"falcon")

    return work


def test_streams_of_other_endpoints_are_edited_in_linear_time():
    assert_steps_grow_linearly(lambda n: edit_stream(stream_of_completions(n)), EVENTS, RATIO)


def test_events_with_many_choices_are_edited_in_linear_time():
    assert_time_grows_linearly(lambda n: edit_stream(completion_of_choices(n)), few=256)


# Requests


def test_masks_of_backslashes_take_linear_time():
    def mask_all(n: int) -> Callable[[], None]:
        document = json.dumps({"path": "\\" * n}).encode()
        first = document.index(b"\\")

        def work() -> None:
            edited = edit_document(document, [(first + 2 * at, first + 2 * at + 2, "-") for at in range(n)])
            assert json.loads(edited) == {"path": "-" * n}

        return work

    assert_steps_grow_linearly(mask_all)


def edited_shapes() -> Iterator[tuple[str, str]]:
    """Yield each shape of each API, but those of schemas, which one table reads, with one API each, by turns."""
    places: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for api, shapes in REQUESTS.items():
        for shape in shapes:
            if (schema := shape.partition(" in ")[0]) in SCHEMAS:
                places[schema].append((api, shape))
            else:
                yield api, shape
    for turn, rows in enumerate(places.values()):
        yield rows[turn % len(rows)]


def edits_of(texts: RequestTexts) -> list[PassageEdit]:
    """Return edits that remove the definitions of tools, and mask the beginning of every other text."""
    return [(one, 0, len(one.text), "") if one.part == "tools" else (one, 0, 1, "[X]") for one in texts.passages]


def edit_texts(api: str, shape: str, n: int) -> Callable[[], None]:
    body = msgspec.json.encode(REQUESTS[api][shape](n))

    def work() -> None:
        texts = RequestTexts.of(api, body)
        edits = edits_of(texts)
        for chosen in (edits, [one for one in edits if one[0].path.rpartition(".")[2] != "name"]):
            try:
                assert texts.replace(chosen)
            except KeyMasked:
                continue

    return work


@each_row(("api", "shape"), list(edited_shapes()), every=4)
def test_texts_are_edited_in_linear_time(api, shape):
    assert_steps_grow_linearly(lambda n: edit_texts(api, shape, n))
