"""Blocks in order: nothing is lost, and what waited is written in few events."""

from hypothesis import given
from hypothesis import strategies as st

from providers.neutral.block_order import JOINED, BlockOrder, join_texts
from streams.events import BlockEnd, ReasoningDelta, TextDelta, ToolCallDelta, ToolCallStart

TEXTS = st.text("ab", min_size=1, max_size=3)
EVENTS = st.lists(
    st.builds(TextDelta, st.integers(0, 2), TEXTS, st.none() | st.just([{"token": "a"}]), st.none() | st.just("phase"))
    | st.builds(ReasoningDelta, st.integers(0, 2), TEXTS)
    | st.builds(ToolCallDelta, st.integers(0, 2), TEXTS),
    max_size=12,
)


def characters_of(events):
    """Return each character with everything else that its event has."""
    return [
        (type(one), one.block, getattr(one, "logprobs", None), getattr(one, "phase", None), letter)
        for one in events
        for letter in one.text
    ]


@given(EVENTS)
def test_joined_texts_have_the_same_characters_in_the_same_order(events):
    joined = join_texts(events)
    assert characters_of(joined) == characters_of(events)
    assert len(joined) <= len(events)


def test_texts_are_joined_up_to_a_size():
    pieces = [TextDelta(0, "x" * 10)] * 3_000
    joined = join_texts(pieces)
    assert sum(len(one.text) for one in joined) == 30_000
    assert len(joined) == 2
    assert max(len(one.text) for one in joined) < JOINED + 10


def test_deltas_that_waited_for_a_block_are_few_events():
    order = BlockOrder()
    assert order.add(TextDelta(0, "first")) == [TextDelta(0, "first")]
    for event in (ToolCallStart(1, "c", "f"), *[ToolCallDelta(1, "1")] * 1_000, BlockEnd(1)):
        assert order.add(event) == []
    assert order.add(BlockEnd(0)) == [
        BlockEnd(0), ToolCallStart(1, "c", "f"), ToolCallDelta(1, "1" * 1_000), BlockEnd(1),
    ]  # fmt: skip
