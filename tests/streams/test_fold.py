"""Events folded into one answer."""

import pytest

from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import Fold, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock, fold
from tests.support.block_events import call_events, refusal_events, text_events


def test_pieces_of_a_block_are_joined_in_order():
    answer = fold([AnswerStart("id", "m", 7), *text_events(0, "a", "b"), AnswerEnd("stop", "end_turn")])
    assert answer.start == AnswerStart("id", "m", 7)
    assert answer.blocks == (TextBlock("ab"),)
    assert answer.end == AnswerEnd("stop", "end_turn")
    assert answer.usage is None
    assert not answer.calls_tools


def test_interleaved_tool_calls_keep_their_own_arguments():
    answer = fold(
        [
            AnswerStart(),
            ToolCallStart(0, "c0", "f"),
            ToolCallStart(1, "c1", "g", "custom"),
            ToolCallDelta(0, '{"a"'),
            ToolCallDelta(1, "free "),
            ToolCallDelta(0, ":1}"),
            ToolCallDelta(1, "text"),
            BlockEnd(0),
            BlockEnd(1),
            AnswerEnd("tool_calls"),
        ]
    )
    assert answer.blocks == (ToolCallBlock("c0", "f", '{"a":1}'), ToolCallBlock("c1", "g", "free text", "custom"))
    assert answer.calls_tools


def test_a_call_without_arguments_has_empty_input():
    assert fold([*call_events(0, id="c"), AnswerEnd("tool_calls")]).blocks == (ToolCallBlock("c", "f", ""),)


def test_reasoning_carries_its_seal():
    sealed = ReasoningState(0, "messages", {"type": "thinking", "signature": "s"})
    answer = fold([ReasoningDelta(0, "hm"), sealed, BlockEnd(0), *text_events(1, "x"), AnswerEnd("stop")])
    assert answer.blocks == (ReasoningBlock("hm", sealed), TextBlock("x"))


def test_a_seal_without_readable_reasoning_is_a_block_of_its_own():
    sealed = ReasoningState(0, "messages", {"type": "redacted_thinking", "data": "d"})
    assert fold([sealed, BlockEnd(0), AnswerEnd("stop")]).blocks == (ReasoningBlock("", sealed),)


def test_citations_stay_with_their_text():
    first, second = Citation(0, "messages", {"n": 1}), Citation(0, "messages", {"n": 2})
    assert fold([TextDelta(0, "a"), first, TextDelta(0, "b"), second, AnswerEnd("stop")]).blocks == (
        TextBlock("ab", (first, second)),
    )


def test_refusals_and_native_items_keep_their_place():
    native = NativeItem(1, "messages", "server_tool_use", {"id": "srv"})
    answer = fold([*refusal_events(0, "no", "!"), native, AnswerEnd("refusal")])
    assert answer.blocks == (RefusalBlock("no!"), NativeBlock("messages", "server_tool_use", {"id": "srv"}))


def test_blocks_are_in_the_order_in_which_they_start():
    answer = fold([ToolCallStart(0, "a", "f"), *call_events(1, id="b", name="g"), BlockEnd(0), AnswerEnd("tool_calls")])
    assert [block.id for block in answer.blocks if isinstance(block, ToolCallBlock)] == ["a", "b"]


def test_the_last_usage_applies():
    assert fold([Usage(input=5), Usage(input=5, output=9), AnswerEnd("stop")]).usage == Usage(input=5, output=9)


def test_the_prompt_counts_every_kind_of_input_once():
    assert Usage(input=3, cache_read=12, cache_write=5, cache_write_5m=5).prompt == 20


def test_a_failed_answer_raises_its_error():
    failed = ErrorInfo("overloaded", "busy", status=529, headers=(("retry-after", "3"),))
    with pytest.raises(GatewayError) as raised:
        fold([AnswerStart(), TextDelta(0, "half"), failed])
    assert raised.value.info is failed


def test_an_answer_without_an_end_is_an_upstream_failure():
    with pytest.raises(GatewayError) as raised:
        fold([AnswerStart(), *text_events(0, "half")])
    assert raised.value.info.kind == "upstream"
    assert raised.value.info.status == 502


def test_a_failure_takes_precedence_over_an_end():
    with pytest.raises(GatewayError, match="broke"):
        fold([TextDelta(0, "x"), AnswerEnd("stop"), ErrorInfo("upstream", "broke")])


def test_unfinished_blocks_can_be_read():
    folded = Fold()
    for event in (
        TextDelta(0, "ha"),
        BlockEnd(0),
        ToolCallStart(1, "c", "f"),
        ToolCallDelta(1, '{"a'),
        Usage(output=4),
    ):
        folded.add(event)
    assert folded.blocks() == (TextBlock("ha"), ToolCallBlock("c", "f", '{"a'))
    assert folded.usage == Usage(output=4)
