"""Work on very many findings runs in a thread, so that no stream of another client waits for it, and the work on a
response with many masks grows linearly with the response."""

import json
import threading
from collections.abc import Coroutine
from typing import Any, Final

import pytest
import trio

from gateway.features.steps.conversations import ConversationTexts
from gateway.features.steps.loaded import AnswerSteps, AppliedSteps
from gateway.features.steps.loading import load_steps
from gateway.features.steps.masks import Placeholders, Span
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.runner import MOST_FINDINGS
from gateway.features.steps.session import StepSession, unreadable_path
from gateway.features.steps.verdicts import RefusedByStep, StepRecords
from gateway.request.parse import read_incoming
from gateway.seams.observe import ExchangeObserver
from gateway.seams.observers import Observers
from streams.events import AnswerEnd, BlockEnd, Event, TextDelta
from tests.support.growth import Work, steps
from tests.support.step_files import step_config
from trigate.steps import Check

CODE: Final = """
from trigate.steps import Finding

def vowels(check):
    return [Finding("vowel", one, i, i + 1) for one in check.passages for i, char in enumerate(one.text) if char == "o"]
"""
STEPS: Final = {
    "whole": "{use: regex, with: {patterns: {address: 'ann[0-9]*@example[.]com'}}, action: mask, hold: whole}",
    "tail": "{use: pii, action: mask, at: [response]}",
    "window": "{use: regex, with: {patterns: {address: 'ann[0-9]*@example[.]com'}}, action: mask, hold: 40}",
}
MANY: Final = 5_000


class NotedThreads(ExchangeObserver):
    """The threads of the reports that something was masked."""

    def __init__(self, threads: list[int]) -> None:
        self._threads = threads

    def note_hidden(self) -> None:
        self._threads.append(threading.get_ident())


class NotingPlaceholders(Placeholders):
    """Placeholders that note the threads in which they are made."""

    def __init__(self) -> None:
        super().__init__(b"k" * 32, "c")
        self.threads: set[int] = set()

    def text_for(self, span: Span, value: str) -> str:
        self.threads.add(threading.get_ident())
        return super().text_for(span, value)


def make_checks(step: Any, placeholders: Placeholders, *, restores: bool = False) -> ResponseSteps:
    steps = [] if restores else [step]
    session = StepSession(
        AppliedSteps(tuple(steps)), Check("response", ()), placeholders, StepRecords(), lambda work: None
    )
    session.start_concurrent_steps(None)
    return ResponseSteps(session, AnswerSteps(tuple(steps)), restores=restores)


def finish(work: Coroutine[Any, Any, list[Event]]) -> list[Event]:
    """Return the result of a coroutine that never waits."""
    try:
        work.send(None)
    except StopIteration as stop:
        found: list[Event] = stop.value
        return found
    raise AssertionError("it waits")


def events_of(texts: list[str]) -> list[Event]:
    return [*(TextDelta(0, text) for text in texts), BlockEnd(0), AnswerEnd("stop")]


@pytest.mark.parametrize("kind", [*STEPS, "restored"])
@pytest.mark.parametrize("together", [False, True])
def test_many_masks_take_linear_work(tmp_path, kind, together):
    rows = f"  - {STEPS.get(kind, STEPS['tail'])}\n"
    (step,) = load_steps(step_config(tmp_path, rows, CODE)).steps

    def make_work(count: int) -> Work:
        placeholders = Placeholders(b"k" * 32, "c")
        texts = [f"ann{number:06}@example.com is " for number in range(count)]
        if kind == "restored":
            texts = [placeholders.placeholder("email", text) for text in texts]
            for text in texts:
                placeholders.mark_restorable(text)

        def work() -> None:
            chain = make_checks(step, placeholders, restores=kind == "restored").chain(lambda: None)
            batches = [events_of(texts)] if together else [[event] for event in events_of(texts)]
            released = [event for batch in batches for event in finish(chain.feed(batch))]
            text = "".join(event.text for event in released if isinstance(event, TextDelta))
            assert ("@" in text) == (kind == "restored")
            assert "[EMAIL" not in text or kind != "restored"

        return work

    make_work(40)()
    one, two, three = (steps(make_work(40 * times)).total() for times in (1, 2, 3))
    assert three - two <= 1.1 * (two - one), (one, two, three)  # text is forgotten now and then


@pytest.mark.parametrize("kind", ["whole", "tail"])
@pytest.mark.parametrize("is_streamed", [False, True])
async def test_very_many_masks_of_a_response_are_written_in_a_thread(tmp_path, kind, is_streamed):
    (step,) = load_steps(step_config(tmp_path, f"  - {STEPS[kind]}\n", CODE)).steps
    placeholders = NotingPlaceholders()
    checks = make_checks(step, placeholders)
    events = events_of(["ann@example.com is here, " * MANY])
    if is_streamed:
        released = await checks.chain(lambda: None).feed(events)
    else:
        (released,) = await checks.check_whole([events], MANY * 25)
    assert sum(event.text.count("@") for event in released if isinstance(event, TextDelta)) == 0
    assert placeholders.threads
    assert placeholders.threads.isdisjoint({threading.get_ident()})
    await trio.lowlevel.checkpoint()


# Requests


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
            AppliedSteps((step,)), Check("request", ()), placeholders, records, nursery.start_soon,
            Observers([NotedThreads(reports)]),
        )  # fmt: skip
        texts = await ConversationTexts.of(read_incoming("chat", body), session.parts)
        masked = await session.check_texts(session.applied.at_request, texts)
    return placeholders, records, reports, masked


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


@pytest.mark.parametrize("action", ["mask", "refuse", "report"])
@pytest.mark.parametrize("use", ["pii", "./steps.py:vowels"])
async def test_too_many_findings_are_a_refusal(tmp_path, use, action):
    """Each finding takes CPU time that the client does not pay, and the values after them were not found."""
    row = f"  - {{use: {use}, action: {action}, unchecked: pass}}\n"
    (loaded,) = load_steps(step_config(tmp_path, row, CODE)).steps
    content = ("a@b.cd " if use == "pii" else "o") * (MOST_FINDINGS + 1)
    for _ in range(6):  # no text is remembered as clean, and no call counts as a failure
        if action == "report":
            *_, records, _, masked = await check(loaded, content)
            assert masked.passages[0].text == content
            assert [one.fields()["failure"] for one in records] == ["too_many"]
        else:
            with pytest.RaisesGroup(pytest.RaisesExc(RefusedByStep, match="more than 20,000 values")):
                await check(loaded, content)


async def test_too_many_texts_are_refused(tmp_path):
    (loaded,) = load_steps(step_config(tmp_path, "  - {use: pii}\n", CODE)).steps
    body = json.dumps({"messages": [], "stop": ["a"] * 5}).encode()
    texts = RequestTexts.of("chat", body, most=4)
    assert len(texts.passages) == 4
    assert not RequestTexts.of("chat", body, most=5).unreadable
    assert unreadable_path(loaded, texts.unreadable) == "more than 4 texts"


async def test_a_refusal_among_many_findings_reaches_the_client(tmp_path):
    (loaded,) = load_steps(step_config(tmp_path, "  - {use: ./steps.py:vowels, action: refuse}\n", CODE)).steps
    with pytest.RaisesGroup(RefusedByStep):
        await check(loaded, "o" * MANY)
