"""Any written values are read unchanged."""

import json

import msgspec
from hypothesis import given, settings

from providers.messages import MESSAGES
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from streams.fold import NativeBlock, ReasoningBlock, TextBlock, ToolCallBlock, fold
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.messages_strategies import calls
from tests.support.messages_streams import FIXTURES, OURS, check_grammar, read, read_events, reply, write
from tests.support.provider_streams import without_places
from tests.support.responses_strategies import legal_events


@each_row("name", FIXTURES)
def test_a_written_request_reads_back_the_same(name):
    once = fold(read_events(*FIXTURES[name]))
    again = fold(read(write(read_events(*FIXTURES[name]))))
    assert again.blocks == once.blocks
    assert again.usage == once.usage
    assert again.end == once.end


def streamable_blocks(blocks):
    """Return the blocks that a stream can contain, without foreign ones and stop sequences."""
    said = [block for block in blocks if not (isinstance(block, NativeBlock) and block.api != "messages")]
    if not all(isinstance(block, ReasoningBlock) for block in said):
        while isinstance(said[-1], ReasoningBlock) and not said[-1].text and said[-1].state.api != "messages":
            said.pop()
    return said


@given(legal_events("messages", whole=True))
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
