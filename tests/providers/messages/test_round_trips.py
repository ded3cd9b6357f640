"""Any written values are read unchanged."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.messages import MESSAGES
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import NativeBlock, ReasoningBlock, TextBlock, ToolCallBlock, fold
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.messages_strategies import calls
from tests.support.messages_streams import FIXTURES, OURS, check_grammar, read, read_events, reply, write
from tests.support.provider_streams import without_places


@each_row("name", FIXTURES)
def test_a_written_request_reads_back_the_same(name):
    once = fold(read_events(*FIXTURES[name]))
    again = fold(read(write(read_events(*FIXTURES[name]))))
    assert again.blocks == once.blocks
    assert again.usage == once.usage
    assert again.end == once.end


WORDS = st.text(min_size=1, max_size=8)
SEARCH = {"type": "server_tool_use", "input": {}}
OPENINGS = {
    "text": lambda number, words: [TextDelta(number, words)],
    "thought": lambda number, words: [ReasoningDelta(number, words)],
    "refusal": lambda number, words: [RefusalDelta(number, words)],
    "sealed": lambda number, words: [ReasoningState(number, "responses", {"id": "rs"})],
    "native": lambda number, words: [
        NativeItem(number, "messages", "server_tool_use", {**SEARCH, "id": f"srvtoolu_{number}", "name": words})
    ],
    "foreign": lambda number, words: [NativeItem(number, "responses", "x", {"type": "x"})],
    "call": lambda number, words: [ToolCallStart(number, f"id_{number}", words)],
    "custom call": lambda number, words: [ToolCallStart(number, f"id_{number}", words, "custom")],
}


def next_event(draw, event):
    """Generate a possible next event of the block that ``event`` opened."""
    if isinstance(event, ToolCallStart):
        return [ToolCallDelta(event.block, draw(WORDS))]
    return [] if isinstance(event, ReasoningState) else [event]


def block_end(draw, event):
    """Generate the end of the block that ``event`` opened, with or without a seal."""
    seals = [ReasoningState(event.block, "chat", {"field": "reasoning"})] if isinstance(event, ReasoningDelta) else []
    return [*(seals if draw(st.booleans()) else []), BlockEnd(event.block)]


@st.composite
def event_sequences(draw):
    """Generate a valid sequence of events with interleaved calls."""
    events = [AnswerStart()]
    open_blocks = {}
    for number in range(draw(st.integers(0, 8))):
        (event,) = OPENINGS[draw(st.sampled_from(list(OPENINGS)))](number, draw(WORDS))
        if not isinstance(event, ToolCallStart):  # only one block of words is open at a time
            for other in [other for other in open_blocks.values() if not isinstance(other, ToolCallStart)]:
                events += block_end(draw, open_blocks.pop(other.block))
        events.append(event)
        if not isinstance(event, NativeItem):
            open_blocks[number] = event
        for _ in range(draw(st.integers(0, 4)) if open_blocks else 0):
            events += next_event(draw, draw(st.sampled_from(list(open_blocks.values()))))
        if open_blocks and draw(st.booleans()):
            events += block_end(draw, open_blocks.pop(draw(st.sampled_from(list(open_blocks)))))
    events += [end for event in open_blocks.values() for end in block_end(draw, event)]
    return [*events, Usage(3, output=4), AnswerEnd(draw(st.sampled_from(["stop", "length", "tool_calls"])))]


def streamable_blocks(blocks):
    """Return the blocks that a stream can contain, without foreign ones and stop sequences."""
    said = [block for block in blocks if not (isinstance(block, NativeBlock) and block.api != "messages")]
    if not all(isinstance(block, ReasoningBlock) for block in said):
        while isinstance(said[-1], ReasoningBlock) and not said[-1].text and said[-1].state.api != "messages":
            said.pop()
    return said


@given(event_sequences())
@settings(max_examples=examples(150), deadline=None)
def test_every_legal_sequence_of_events_gives_a_grammatical_stream(events):
    out = write(events)
    blocks = check_grammar(out)
    told_blocks = streamable_blocks(fold(events).blocks)
    assert len(blocks) == len(told_blocks)
    again = fold(read(out)).blocks
    for kind in (TextBlock, ReasoningBlock):
        texts = [block.text for block in again if isinstance(block, kind)]
        assert texts == [
            block.text for block in told_blocks
            if isinstance(block, kind) or (kind is TextBlock and type(block).__name__ == "RefusalBlock")
        ]  # fmt: skip
    whole = json.loads(MESSAGES.write_answer(fold(events), reply()))["content"]
    items = [item for item in whole if item["type"] == "tool_use"]
    told_calls, read_calls = ([b for b in all if isinstance(b, ToolCallBlock)] for all in (fold(events).blocks, again))
    for call, block, item in zip(told_calls, read_calls, items, strict=True):
        assert (block.id, block.name) == (call.id, call.name)
        if call.kind == "function" and call.input.lstrip().startswith("{"):
            assert block.input == call.input.lstrip()
        else:
            assert json.loads(block.input or "{}") == item["input"]


# Requests


@given(calls())
@settings(max_examples=examples(150), deadline=None)
def test_a_request_that_the_api_can_express_is_read_back_with_the_same_meaning(call):
    outgoing = MESSAGES.write_request(call, Recipient("claude", OURS, Quirks(adaptive_thinking=True)))
    assert outgoing.dropped == ()
    again = MESSAGES.read_request(msgspec.json.decode(outgoing.body))
    assert again.dropped == ()
    assert without_places(again) == without_places(call)
