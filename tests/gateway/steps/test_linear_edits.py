"""The texts of requests are found and edited in linear time (CWE-407), whatever a client repeats in them."""

from collections.abc import Callable

import msgspec
import pytest

from gateway.steps.json_texts import KeyMasked
from gateway.steps.masks import PassageEdit
from gateway.steps.request_texts import RequestTexts
from tests.support.growing_requests import REQUESTS
from tests.support.growth import assert_steps_grow_linearly

ROWS = [(api, shape) for api, shapes in REQUESTS.items() for shape in shapes]


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


@pytest.mark.sample(97, by="turns")
@pytest.mark.parametrize(("api", "shape"), ROWS, ids=[f"{api}: {shape}" for api, shape in ROWS])
def test_texts_are_edited_in_linear_time(api, shape):
    assert_steps_grow_linearly(lambda n: edit_texts(api, shape, n))
