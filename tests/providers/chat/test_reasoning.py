"""Reasoning of earlier turns in Chat: seals, native items, replay. Pure values."""

import itertools

import attrs

from providers.apis import CODECS
from providers.chat import CHAT
from providers.neutral.codec import Reply
from providers.neutral.request import ReasoningPart, Request, TextPart, ToolCallPart, ToolResultPart
from providers.neutral.seal import Issuer, Seal, seal
from streams.events import AnswerEnd
from tests.support.block_events import thought_events
from tests.support.cases import case
from tests.support.chat_wire import (
    OTHER,
    OWN,
    USER,
    assistant,
    chat_request,
    deltas,
    encode_request,
    messages,
    sealed_item,
    user,
    whole,
    write,
)
from tests.support.each_row import each_row
from tests.support.next_requests import returning_request


def test_returned_reasoning_is_sealed_or_native():
    thinking = [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "redacted_thinking", "data": "r"}]
    sealed = {"type": "reasoning.encrypted", "data": seal(OTHER, "messages", thinking)}
    call = chat_request(
        {"role": "assistant", "content": "a", "reasoning_content": "hm", "reasoning_details": [sealed]},
        {"role": "assistant", "content": "b", "reasoning_content": "hm"},
        {"role": "assistant", "content": "c", "reasoning": "hm", "reasoning_details": [{"type": "reasoning.text"}]},
        {"role": "assistant", "content": "d", "reasoning_details": [{"data": "tg1.broken!"}]},
    )
    thoughts = [[part for part in message.parts if isinstance(part, ReasoningPart)] for message in call.messages]
    place = "messages[0].reasoning_details[0]"
    assert thoughts == [
        [
            ReasoningPart("hm", Seal(OTHER, "messages", thinking[0]), at=place),
            ReasoningPart("", Seal(OTHER, "messages", thinking[1]), at=place),
        ],
        [ReasoningPart("hm", native={"reasoning_content": "hm"}, at="messages[1].reasoning_content")],
        [
            ReasoningPart(
                "hm",
                native={"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text"}]},
                at="messages[2].reasoning",
                beside=("messages[2].reasoning_details",),
            )
        ],
        [],
    ]
    assert call.dropped == ("messages[].reasoning_details[]",)


def test_a_text_that_repeats_the_members_of_its_answer_returns_the_reasoning():
    """The Chat model of OpenAI's Agents SDK for JavaScript 0.20 (openai/openai-agents-js#1064)."""
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    sealed = [{"type": "reasoning.encrypted", "data": seal(OTHER, "messages", [thinking])}]
    tools = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    repeated = {"role": "assistant", "refusal": None, "annotations": [], "tool_calls": tools}
    reasoning = {"reasoning_content": "hm", "reasoning_details": sealed}
    text = {"type": "text", "text": "a", **repeated, **reasoning}
    call = chat_request(
        {"role": "assistant", "content": [text], "tool_calls": tools},
        {"role": "tool", "tool_call_id": "c", "content": "x"},
        {"role": "assistant", "content": [text], **reasoning},
        {"role": "user", "content": [{"type": "text", "text": "b", "reasoning_content": "hm"}]},
    )
    thought = ReasoningPart("hm", Seal(OTHER, "messages", thinking))
    said = [[attrs.evolve(part, at="") for part in message.parts] for message in call.messages]
    assert said[0] == [thought, TextPart("a"), ToolCallPart("c", "f", "{}")]
    assert said[2] == [thought, TextPart("a")]
    assert call.dropped == ("messages[].content[].reasoning_content",)


def test_all_reasoning_of_a_turn_returns_in_order():
    turn = (
        ReasoningPart("a", Seal(OWN, "chat", {"field": "reasoning"})),
        ReasoningPart("", Seal(OWN, "chat", {"reasoning_details": [{"data": "1"}, {"data": "2"}]})),
        ReasoningPart("b", Seal(OWN, "chat", {"field": "reasoning"})),
        ReasoningPart("", Seal(OWN, "chat", {"reasoning_details": [{"data": "3"}]})),
    )
    (message,) = messages(assistant(*turn, TextPart("c")))
    details = [{"data": "1"}, {"data": "2"}, {"data": "3"}]
    assert message == {"role": "assistant", "content": "c", "reasoning": "ab", "reasoning_details": details}


def test_messages_without_reasoning_get_an_empty_one_if_required():
    """anomalyco/opencode#24722, #25000, RooCodeInc/Roo-Code#12195, SaladDay/cc-switch-cli#170."""
    turns = (
        assistant(TextPart("a")),
        USER,
        assistant(ReasoningPart("hm", Seal(OWN, "chat", {"field": "reasoning_content"})), TextPart("b")),
        USER,
        assistant(ToolCallPart("x", "f", "{}")),
        user(ToolResultPart("x", (TextPart("X"),))),
        assistant(ReasoningPart("so", Seal(OWN, "chat", {"field": "reasoning"})), TextPart("c")),
    )
    body, _ = encode_request(Request("messages", "m", turns), reasoning_replay="every_message")
    said = [one for one in body["messages"] if one["role"] == "assistant"]
    found = [(one.get("reasoning_content"), one.get("reasoning")) for one in said]
    assert found == [(None, None), ("hm", None), ("", None), (None, "so")]
    body, _ = encode_request(
        Request("messages", "m", turns), reasoning_replay="every_message", reasoning_field="reasoning"
    )
    assert body["messages"][4]["reasoning"] == ""
    body, _ = encode_request(Request("messages", "m", turns))
    assert "reasoning_content" not in body["messages"][4]


def test_no_empty_reasoning_is_added_before_the_first_one():
    turns = (assistant(TextPart("a")), USER, assistant(TextPart("b")))
    assert all("reasoning_content" not in one for one in messages(*turns, reasoning_replay="every_message"))


def test_reasoning_that_a_chat_client_returns_gets_the_providers_name():
    for field, members, expected in [
        ("reasoning_content", {"reasoning_content": "hm"}, {"reasoning_content": "hm"}),
        ("reasoning", {"reasoning_content": "hm"}, {"reasoning": "hm"}),
        ("reasoning_content", {"reasoning": "hm"}, {"reasoning": "hm"}),
        ("reasoning", {"reasoning_content": "hm", "reasoning": "hm"}, {"reasoning_content": "hm", "reasoning": "hm"}),
    ]:
        with case((field, members, expected)):
            call = chat_request({"role": "assistant", "content": "a", **members})
            (message,) = encode_request(call, reasoning_field=field)[0]["messages"]
            assert message == {"role": "assistant", "content": "a", **expected}


PROVIDERS = {
    "reasoning_content": ({"reasoning_content": "hm", "content": "a"}, {"reasoning_content": "hm", "content": "a"}),
    "reasoning": ({"reasoning": "hm", "content": "a"}, {"reasoning": "hm", "content": "a"}),
    "details": (
        {"content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}]},
        {"content": "a", "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "s", "index": 0}]},
    ),
    "encrypted details": (
        {"content": "a", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
        {"content": "a", "reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
    ),
    "Mistral": (
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}], "closed": True},
                     {"type": "text", "text": "a"}]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                     {"type": "text", "text": "a"}]},
    ),
}  # fmt: skip


def replay_answer(api: str, answer: bytes, issuer: Issuer) -> Request:
    """Return the next request of a client of ``api`` with ``answer`` unchanged in its history."""
    reply = Reply(Request(api, "m", ()), issuer, 1)
    return CODECS[api].read_request(returning_request(api, CHAT.read_answer(answer), reply, streamed=False))


@each_row("api, provider", itertools.product(["chat", "messages", "responses"], PROVIDERS))
def test_reasoning_returns_to_its_provider_from_clients_of_every_api(api, provider):
    """In the member in which it came, word for word (alphaXiv/agents#61, anomalyco/opencode#24722)."""
    message, expected = PROVIDERS[provider]
    body, dropped = encode_request(replay_answer(api, whole(message), OWN))
    assert body["messages"][1] == {"role": "assistant", **expected}
    assert dropped == ()


def test_the_byte_lane_puts_typed_reasoning_back_before_the_content():
    body = {
        "messages": [
            {
                "role": "assistant",
                "content": content,
                "reasoning_content": "hm",
                "reasoning_details": [sealed_item(OWN, "chat", [{"field": "content"}])],
            }
            for content in ("a", [{"type": "text", "text": "a"}], None)
        ]
    }
    changed, dropped = CHAT.restore(body, OWN)
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    text = {"type": "text", "text": "a"}
    assert [one["content"] for one in changed["messages"]] == [[thinking, text], [thinking, text], [thinking]]
    assert all(one.keys() == {"role", "content"} for one in changed["messages"])
    assert dropped == ()


def test_native_details_are_sent_unchanged():
    details = [{"type": "reasoning.text", "text": "t", "signature": "s", "index": 0}]
    events = [*thought_events(0, "t", api="chat", item={"reasoning_details": details}), AnswerEnd("stop")]
    assert deltas(write(events))[-2] == {"reasoning_details": details}
