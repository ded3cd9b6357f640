"""Signatures of calls that Gemini 3 requires in Chat requests."""

from typing import Any

from providers.errors.call_signatures import replace_signatures
from providers.errors.other_shapes import OTHER_SHAPES, find_paths, find_sole_paths
from tests.support.each_row import each_row

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SIGNED = {**CALL, "extra_content": {"google": {"thought_signature": "CiQB"}}}
PLACED = {**CALL, "extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
OTHERS: list[Any] = [
    {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": []}, "x", None]},
    {"messages": [{"role": "assistant", "tool_calls": "x"}, {"role": "assistant", "tool_calls": [7]}]},
    {"messages": "hi"}, {},
]  # fmt: skip


def calls(*items: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [*items]}]}


def test_the_words_of_gemini_are_known():
    """NousResearch/hermes-agent#14488."""
    message = (
        "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
        "correctly, and missing thought_signature may lead to degraded model performance. Additional data, function "
        "call `default_api:skill_view` , position 5. Please refer to https://ai.google.dev/gemini-api/docs/"
        "thought-signatures for more details."
    )
    assert tuple(find_paths(message)) == find_sole_paths(message) == ((":calls", "signatures"),)


def test_the_first_of_unsigned_calls_gets_the_placeholder():
    assert OTHER_SHAPES[(":calls", "signatures")].change(calls(CALL, CALL)) == calls(PLACED, CALL)
    assert OTHER_SHAPES[(":calls", "signatures")].change(calls({**CALL, "extra_content": {"x": 1}})) == calls(
        {**PLACED, "extra_content": {"x": 1, **PLACED["extra_content"]}}
    )
    for unchanged in (calls(SIGNED, CALL), calls(CALL, SIGNED), *OTHERS):
        assert OTHER_SHAPES[(":calls", "signatures")].change(unchanged) == {}


def test_signatures_are_replaced_by_placeholders():
    assert replace_signatures(calls(SIGNED, CALL)) == calls(PLACED, CALL)
    for unchanged in (calls(CALL), calls({**CALL, "extra_content": {"google": 3}}), *OTHERS):
        assert replace_signatures(unchanged) == {}


@each_row("body", [{"messages": [{"role": "assistant", "tool_calls": [{"extra_content": "x"}]}]}])
def test_other_members_of_that_name_do_no_harm(body):
    assert replace_signatures(body) == {}
    assert OTHER_SHAPES[(":calls", "signatures")].change(body)
