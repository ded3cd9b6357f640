"""Events folded into one answer."""

import pytest

from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    ErrorInfo,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import Fold, TextBlock, ToolCallBlock, fold
from tests.support.block_events import text_events


def test_pieces_of_a_block_are_joined_in_order():
    answer = fold([AnswerStart("id", "m", 7), *text_events(0, "a", "b"), AnswerEnd("stop", "end_turn")])
    assert answer.start == AnswerStart("id", "m", 7)
    assert answer.blocks == (TextBlock("ab"),)
    assert answer.end == AnswerEnd("stop", "end_turn")
    assert answer.usage is None
    assert not answer.calls_tools


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
