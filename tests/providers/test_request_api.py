"""The API of a request body without its path, which several commands have to know."""

from hypothesis import given
from hypothesis import strategies as st

from providers.request_api import possible_apis
from tests.support.each_row import each_row

HELLO = {"messages": [{"role": "user", "content": "Hello"}]}
TOOL = {"name": "f", "parameters": {}}


def with_part(**part):
    return {"messages": [{"role": "user", "content": [part]}]}


@each_row(
    ("body", "apis"),
    [
        ({**HELLO, "max_tokens": 9}, "messages chat"),  # some commands took it for Chat, others for Messages
        ({**HELLO, "max_tokens": 9, "model": "claude-sonnet-4-5"}, "messages chat"),
        ({**HELLO, "max_tokens": 9, "model": "gpt-4o"}, "chat messages"),
        ({**HELLO, "max_tokens": 9, "n": 1}, "chat"),
        ({**HELLO, "max_tokens": 9, "tools": [{"type": "function", "function": TOOL}]}, "chat"),
        ({"messages": [{"role": "system", "content": "a"}, *HELLO["messages"]], "max_tokens": 9}, "chat"),
        (HELLO, "chat"),
        ({**HELLO, "system": "a"}, "messages"),
        ({**HELLO, "tools": [{"name": "f", "input_schema": {}}]}, "messages"),
        (with_part(type="tool_result", tool_use_id="1"), "messages"),
        (with_part(type="image_url", image_url={"url": "data:"}), "chat"),
        (with_part(text="Hello"), "converse"),
        ({**HELLO, "inferenceConfig": {}}, "converse"),
        ({"contents": []}, "gemini"),
        ({"input": "Hello"}, "responses interactions"),
        ({"input": [{"role": "user", "content": "Hello"}]}, "responses interactions"),
        ({"input": [{"type": "user_input", "content": []}]}, "interactions"),
        ({"input": "Hello", "system_instruction": "a"}, "interactions"),
        ({"input": "Hello", "output": []}, ""),
        ({"prompt": "Hello"}, ""),
    ],
)
def test_a_body_has_one_likely_api(body, apis):
    assert possible_apis(body) == tuple(apis.split())


VALUES = st.none() | st.integers() | st.text(max_size=5)
NAMES = st.sampled_from(("messages", "input", "tools", "model", "content", "role", "type", "max_tokens"))
JSON = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=8)


@given(st.dictionaries(NAMES, JSON, max_size=3))
def test_any_json_has_a_result(body):
    assert isinstance(possible_apis(body), tuple)
