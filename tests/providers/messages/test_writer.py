"""Writers of Messages streams and whole answers."""

import json

import attrs

from providers.messages import MESSAGES
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ReasoningDelta,
    TextDelta,
    Usage,
)
from streams.fold import fold
from tests.support.block_events import call_events, text_events, thought_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.messages_streams import check_grammar, frames, reply, sdk_message, write


def test_an_id_of_the_same_api_is_kept():
    assert frames(write([AnswerStart("msg_9"), AnswerEnd("stop")]))[0][1]["message"]["id"] == "msg_9"


def test_invalid_arguments_are_the_same_streamed_and_whole():
    """Ollama and GLM send `null` to parameterless tools (use-agent-os/agent-os#2042, vllm-project/vllm#43851). The
    SDK parses the block so far after every delta: a value other than an object became `None` or an error."""
    for arguments, input in [
        ("null", {}),
        (" null\n", {}),
        (" \n ", {}),
        ("not json", {"_raw": "not json"}),
        (" [1]", {"_raw": "[1]"}),
        ('"[1]"', {"_raw": '"[1]"'}),
        ('"{}"', {}),
        (json.dumps(' {"city": "x"}'), {"city": "x"}),  # quarkiverse/quarkus-langchain4j#2642
        (' {"a": "null"} ', {"a": "null"}),
    ]:
        with case((arguments, input)):
            for pieces in ([arguments], [*arguments], ["", arguments[:1], arguments[1:]]):
                events = [AnswerStart(), *call_events(0, *pieces, id="a"), AnswerEnd("stop")]
                out = write(events)
                check_grammar(out)
                assert sdk_message(out).content[0].input == input
                assert json.loads(MESSAGES.write_answer(fold(events), reply()))["content"][0]["input"] == input


@each_row(
    "item",
    [
        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
        {"type": "thinking", "thinking": "", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
    ],
)
def test_reasoning_of_this_api_passes_unchanged(item):
    """Else the next turn is refused: "Invalid `signature` in `thinking` block" (8monkey-ai/hebo-gateway#132)."""
    thoughts = [ReasoningDelta(0, item["thinking"])] if item.get("thinking") else []
    events = [AnswerStart(), *thoughts, *thought_events(0, api="messages", item=item), AnswerEnd("stop")]
    out = write(events)
    check_grammar(out)
    assert sdk_message(out).content[0].to_dict() == item
    assert json.loads(MESSAGES.write_answer(fold(events), reply()))["content"] == [item]


def test_usage_has_all_known_counts():
    """OpenAI includes the cached part in its figure, Anthropic does not (icebear0828/codex-proxy#587)."""
    usage = Usage(992, 11008, 5, 2, 3, 50, 20)
    known = {
        "input_tokens": 992, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 11008, "output_tokens": 50,
        "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
        "output_tokens_details": {"thinking_tokens": 20},
    }  # fmt: skip
    events = [AnswerStart(), *text_events(0, "a"), usage, AnswerEnd("stop")]
    assert frames(write(events))[-2][1]["usage"] == known
    whole = json.loads(MESSAGES.write_answer(fold(events), reply()))["usage"]
    assert whole == known | dict.fromkeys(("server_tool_use", "service_tier", "inference_geo", "speed"))


def test_the_start_has_the_true_input_count_if_it_is_known():
    """Status bars read it there (router-for-me/CLIProxyAPI#1700, raine/claude-code-proxy#154)."""
    counted = Usage(15, 3, 4, 1, 3, output=1)
    out = write(
        [AnswerStart("msg_1"), counted, *text_events(0, "a"), attrs.evolve(counted, output=9), AnswerEnd("stop")]
    )
    start, last = frames(out)[0][1]["message"]["usage"], frames(out)[-2][1]["usage"]
    for usage in (start, last):
        assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"]) == (
            15,
            3,
            4,
        )
        assert usage["cache_creation"] == {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 3}
    assert (start["output_tokens"], last["output_tokens"]) == (1, 9)


def test_a_second_start_starts_no_second_message():
    """It empties what the SDK has collected (BerriAI/litellm#32357)."""
    out = write(
        [AnswerStart("msg_1"), TextDelta(0, "a"), AnswerStart("msg_1"), *text_events(0, "b"), AnswerEnd("stop")]
    )
    check_grammar(out)
    assert sdk_message(out).content[0].text == "ab"


@each_row("cited", [
    Citation(0, "chat", {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}),
    Citation(0, "responses", {"type": "url_citation", "url": "https://a.example", "start_index": 0, "end_index": 1}),
])  # fmt: skip
def test_citations_of_other_apis_are_omitted(cited):
    """A web citation needs Anthropic's `encrypted_index`, which only Anthropic has (types of the anthropic SDK)."""
    events = [AnswerStart(), TextDelta(0, "a"), cited, BlockEnd(0), AnswerEnd("stop")]
    assert sdk_message(write(events)).content[0].citations == []
    whole = json.loads(MESSAGES.write_answer(fold(events), reply()))
    assert whole["content"] == [{"type": "text", "text": "a", "citations": []}]  # the AI SDK rejects null


# Reasoning without text, for providers of other APIs


def test_textless_reasoning_precedes_its_content_and_never_ends_an_answer():
    """musistudio/claude-code-router#1275: Claude Code showed nothing of an answer that ended with a block of it. A
    stream cannot put it elsewhere any more, a whole answer can."""

    def state(number):
        return thought_events(number, api="gemini", item={"part": "text", "signature": f"s{number}"})

    text = text_events(1, "hi")
    call = call_events(3, "{}", id="c")
    sealed = "redacted_thinking"
    for events, streamed, whole in (
        ([*state(0), *text], [sealed, "text"], [sealed, "text"]),
        ([*state(0), *text, *state(2)], [sealed, "text"], [sealed, sealed, "text"]),
        ([*text, *state(2), *call], ["text", sealed, "tool_use"], ["text", sealed, "tool_use"]),
        ([*text, *call, *state(4)], ["text", "tool_use"], ["text", sealed, "tool_use"]),
        (state(0), [sealed], [sealed]),
    ):
        told = [AnswerStart(), *events, Usage(input=1, output=1), AnswerEnd("stop")]
        said = sdk_message(write(told)).content
        assert [block.type for block in said] == streamed, events
        answer = json.loads(MESSAGES.write_answer(fold(told), reply()))
        assert [block["type"] for block in answer["content"]] == whole, events
