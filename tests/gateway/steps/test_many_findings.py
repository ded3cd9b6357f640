"""A text with very many findings is worked on in a thread, so that no stream of another client waits for it."""

import json
import threading
from typing import Any, Final

import pytest
import trio

from gateway.exchange.checking import ConversationTexts
from gateway.request.parse import read_incoming
from gateway.steps.loaded import AppliedSteps
from gateway.steps.loading import load_steps
from gateway.steps.masks import Placeholders, Span
from gateway.steps.session import StepSession
from gateway.steps.verdicts import RefusedByStep, StepRecords
from tests.support.step_files import step_config
from trigate.steps import Check

MANY: Final = 5_000
CODE: Final = """
from trigate.steps import Finding

def vowels(check):
    return [Finding("vowel", one, i, i + 1) for one in check.passages for i, char in enumerate(one.text) if char == "o"]
"""


class NotingPlaceholders(Placeholders):
    """Placeholders that note the threads in which they are made."""

    def __init__(self) -> None:
        super().__init__(b"k" * 32, "c")
        self.threads: set[int] = set()

    def text_for(self, span: Span, value: str) -> str:
        self.threads.add(threading.get_ident())
        return super().text_for(span, value)


class NotingRecords(StepRecords):
    """Records that note the threads in which findings are counted."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def of(self, *args: Any) -> Any:
        self.threads.append(threading.get_ident())
        return super().of(*args)


async def check(step: Any, content: str) -> tuple[NotingPlaceholders, NotingRecords, list[int], ConversationTexts]:
    """Return what a request with ``content`` noted, with the threads of the report that something was masked."""
    placeholders, records, reports = NotingPlaceholders(), NotingRecords(), list[int]()
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": content}]}).encode()
    async with trio.open_nursery() as nursery:
        session = StepSession(
            AppliedSteps.of([step]), Check("request", ()), placeholders, records, nursery.start_soon,
            lambda: reports.append(threading.get_ident()),
        )  # fmt: skip
        texts = await ConversationTexts.of(read_incoming("chat", body), session.parts)
        masked = await session.check_texts(session.applied.at_request, texts)
    return placeholders, records, reports, masked


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("step", "value", "word"),
    [
        ("{use: pii, restore: true}", "ann@example.com ", "[EMAIL_"),
        ("{use: ./steps.py:vowels, action: mask}", "o", "[VOWEL_"),
    ],
)
async def test_very_many_findings_are_masked_in_a_thread(tmp_path, step, value, word):
    (loaded,) = load_steps(step_config(tmp_path, f"  - {step}\n", CODE)).steps
    own = threading.get_ident()

    few, records, reports, masked = await check(loaded, value * 2)
    assert few.threads == {own}
    assert masked.passages[0].text.count(word) == 2

    many, records, reports, masked = await check(loaded, value * MANY)
    assert masked.passages[0].text.count(word) == MANY
    assert many.threads.isdisjoint({own})
    assert set(records.threads) - {own}  # the findings were counted there
    assert reports == [own]  # once, by the loop
    assert [one.fields()["labels"] for one in records] == [{word[1:-1].lower(): MANY}]


async def test_a_refusal_among_many_findings_is_the_client_s_answer(tmp_path):
    (loaded,) = load_steps(step_config(tmp_path, "  - {use: ./steps.py:vowels, action: refuse}\n", CODE)).steps
    with pytest.RaisesGroup(RefusedByStep):
        await check(loaded, "o" * MANY)
