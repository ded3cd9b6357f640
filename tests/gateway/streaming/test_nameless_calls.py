"""Calls to which the model gave no name."""

import json

from providers.apis import CODECS
from streams.events import APIS
from streams.fold import ToolCallBlock, fold
from tests.support.each_row import each_row
from tests.support.lanes import events_of, hub_lane, reply_for
from tests.support.provider_streams import read_stream
from tests.support.upstreams import Script, ToolCall, render

PAIRS = [(source, APIS[at - 1]) for at, source in enumerate(APIS)]
"""Each API once as the provider's, and once as the client's."""
NAMELESS = Script(
    text="Hi", calls=(ToolCall("call_1", "", '{"a": 1}'), ToolCall("call_2", "g", "{}")), stop="tool_calls"
)


def whole_body(source: str, *, has_member: bool) -> bytes:
    """Return a whole answer with a nameless call; without ``has_member``, the name's member is missing."""
    body = b"".join(render(NAMELESS, source, {"model": "up"}).pieces)
    return body if has_member else body.replace(b'"name": "", ', b"").replace(b', "name": ""', b"")


@each_row("has_member", [True, False])
@each_row(("source", "client"), PAIRS)
def test_a_whole_answer_keeps_a_call_without_a_name(source: str, client: str, has_member: bool) -> None:
    """Answers of Chat and Responses providers lost the call, and those of Gemini were a 502."""
    body = whole_body(source, has_member=has_member)
    assert has_member or b'""' not in body
    written = CODECS[client].write_answer(fold(CODECS[source].read_answer(body)), reply_for(client))
    found = fold(CODECS[client].read_answer(written))
    calls = {call.name: json.loads(call.input or "{}") for call in found.blocks if isinstance(call, ToolCallBlock)}
    assert calls == {"": {"a": 1}, "g": {}}
    assert found.end.reason == "tool_calls"


@each_row(("source", "client"), PAIRS)
def test_a_stream_keeps_a_call_without_a_name(source: str, client: str) -> None:
    lane = hub_lane(source, client)
    out = b"".join([*map(lane.feed, events_of(source, NAMELESS)), lane.end()])
    assert lane.progress.error is None
    found = fold(read_stream(CODECS[client], out))
    calls = {call.name: json.loads(call.input or "{}") for call in found.blocks if isinstance(call, ToolCallBlock)}
    assert calls == {"": {"a": 1}, "g": {}}


@each_row("client", CODECS)
@each_row("fragments", [[{"id": "call_1"}], [{"index": 0, "id": "call_1", "function": {"name": ""}}]])
def test_a_chat_call_without_a_name_and_arguments_is_kept_if_the_answer_ends_with_a_call(
    fragments, client: str
) -> None:
    """The client got an answer without content, and did not see that the model called."""
    message = {"role": "assistant", "content": None, "tool_calls": fragments}
    for finish, names in (("tool_calls", [""]), ("stop", [])):
        body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish}]}).encode()
        written = CODECS[client].write_answer(fold(CODECS["chat"].read_answer(body)), reply_for(client))
        found = fold(CODECS[client].read_answer(written))
        assert [call.name for call in found.blocks if isinstance(call, ToolCallBlock)] == names


def test_an_empty_fragment_next_to_a_call_is_no_call() -> None:
    calls = [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}, {"index": 1, "id": "b"}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).encode()
    found = fold(CODECS["chat"].read_answer(body))
    assert [call.name for call in found.blocks if isinstance(call, ToolCallBlock)] == ["f"]
