"""The text of a complete response that has nothing else is found without sorting its events into runs."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.steps.runs import Run, RunBuilder, only_text
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallStart,
    Usage,
)

TEXT: tuple[Event, ...] = (AnswerStart("a", "m"), TextDelta(0, "ann@corp.example"), BlockEnd(0), Usage(1))
events = st.lists(
    st.sampled_from(
        (
            *TEXT,
            TextDelta(1, ""),
            AnswerEnd("stop"),
            AnswerEnd("stop", stop_sequence="word"),
            AnswerEnd("stop", details={"explanation": "why"}),
            ReasoningDelta(0, "hm"),
            RefusalDelta(0, "no"),
            ToolCallStart(0, "c", "f"),
        )
    ),
    max_size=6,
)


def shown_text(run: Run) -> tuple[str, ...]:
    """Return what a step sees of ``run``."""
    passage = run.passage(0)
    return passage.part, passage.path, passage.text


@given(events)
def test_the_only_text_is_the_run_of_the_events(answer):
    found = only_text(answer)
    runs = RunBuilder(joins=True).complete_runs(answer)
    assert found is None or list(map(shown_text, runs)) == [shown_text(found)]


def test_a_response_with_one_text_is_recognised():
    assert only_text((*TEXT, AnswerEnd("stop"))).text == "ann@corp.example"
