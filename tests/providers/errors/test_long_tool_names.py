"""Rejections of tools' names in the words of each vendor, and the places of names in requests."""

import json

from providers.errors.long_tool_names import own_names, shorten
from providers.errors.member_paths import TOOL_NAMES
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.neutral.tool_names import LONG_NAME, STRICT, restore_in_json, short_name
from streams.events import ErrorInfo
from tests.support.each_row import each_row

LONG = "mcp__server__" + "x" * 60
SHORT = short_name(LONG, STRICT)
AT_AMAZON = (
    f"Value '{LONG}' at 'toolConfig.tools.32.member.toolSpec.name' failed to satisfy constraint: Member must have "
    "length less than or equal to 64"
)


@each_row(
    "message",
    [
        "Invalid 'tools[5].name': string too long. Expected a string with maximum length 64, but got a string with "
        "length 72 instead.",
        "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the pattern "
        "'^[a-zA-Z0-9_-]+$'.",
        "Invalid 'messages[9].tool_calls[0].function.name': string too long. Expected a string with maximum length 64, "
        "but got a string with length 72 instead.",
        "tools.18.custom.name: String should have at most 128 characters",
        "tools.7.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
        "messages.3.content.0.tool_result.content.1.tool_reference.tool_name: String should have at most 64 characters",
        "messages.403.content.0.tool_use.name: String should have at most 200 characters",
        f"1 validation error detected: {AT_AMAZON}",
        f"2 validation errors detected: {AT_AMAZON}; {AT_AMAZON}",
        "* GenerateContentRequest.tools[0].function_declarations[69].name: Invalid function name. Must start with a "
        "letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.) or dashes (-), with a "
        "maximum length of 64.\n",
        "<400> InternalError.Algo.InvalidParameter: The length of the tool name cannot exceed 64.",
        "``name`` must be at most 64 characters, got 68",
        # decolua/9router#2840, Alishahryar1/free-claude-code#1307, openmake/openmake_llm#769
        f"Function name was {LONG} but must be a-z, A-Z, 0-9, or contain underscores and dashes, with a maximum length "
        "of 64.",
        "Validation: Function name at index 51 exceeds 96 character limit",
        "Function at index 1 has an invalid name",
    ],
)
def test_every_vendors_rejection_of_a_name_is_recognized_and_remembered(message):
    error = ErrorInfo("invalid_request", message, status=400)
    assert find_rejected(error) == find_sole_rejected(error) == (TOOL_NAMES,)


def test_names_are_shortened_everywhere_and_nothing_else_changes():
    reference = {"type": "tool_reference", "tool_name": LONG}
    same = {"type": "tool_use", "id": "a", "input": {"name": LONG}, "name": "f"}
    body = {
        "model": LONG,
        "tools": [{"name": LONG, "description": LONG, "input_schema": {"properties": {"name": {"default": LONG}}}}],
        "tool_choice": {"type": "tool", "name": LONG},
        "messages": [
            {"role": "user", "content": [{"type": "document", "name": "A report, with numbers.pdf"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "input": {}, "name": "gone." + LONG}, same]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "b", "content": [reference]}]},
        ],
    }  # fmt: skip
    gone = short_name("gone." + LONG, STRICT)
    changed = shorten(body)
    assert changed.keys() == {"tools", "tool_choice", "messages"}
    assert changed["tools"] == [{**body["tools"][0], "name": SHORT}]
    assert changed["tool_choice"]["name"] == SHORT
    first, second, third = changed["messages"]
    assert first == body["messages"][0]
    assert [block["name"] for block in second["content"]] == [gone, "f"]
    assert second["content"][1] == same
    assert third["content"][0]["content"][0]["tool_name"] == SHORT
    assert shorten({**body, **changed}) == {}
    names = own_names({name: body[name] for name in changed})
    assert json.loads(restore_in_json(json.dumps(changed).encode(), names)) == {name: body[name] for name in changed}


def test_only_a_long_name_is_searched_for():
    assert LONG_NAME.search(b'{"name" : "%b"}' % (b"x" * 65))
    assert not LONG_NAME.search(b'{"name":"%b","description":"%b"}' % (b"x" * 64, b"y" * 90))
