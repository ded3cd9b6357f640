"""Turns that Converse rejects, and the changed ones."""

from typing import Any

from providers.errors.converse_turns import declare_tools, fill_blanks
from providers.errors.other_shapes import OTHER_SHAPES, find_paths, find_sole_paths
from tests.support.each_row import each_row

HI, BLANK, EMPTY, POINT = {"text": "hi"}, {"text": " \n"}, {"text": "(empty)"}, {"cachePoint": {"type": "default"}}
USE = {"toolUse": {"toolUseId": "1", "name": "f", "input": {}}}
TYPED = {"type": "text", "text": " "}


def result(*content: Any) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": "1", "content": [*content]}}


def messages(*contents: Any, first: str = "user") -> dict[str, Any]:
    roles = ["user", "assistant"] if first == "user" else ["assistant", "user"]
    return {"messages": [{"role": roles[at % 2], "content": content} for at, content in enumerate(contents)]}


@each_row(("message", "path"), [
    # OpenHands/OpenHands#5722
    ("The text field in the ContentBlock object at messages.3.content.0 is blank. Add text to the text field, and try "
     "again.", (":texts", "blank")),
    # strands-agents/tools#190
    ("The content field in the Message object at messages.23 is empty. Add a ContentBlock object to the content field "
     "and try again.", (":texts", "blank")),
    # aws-samples/sample-multi-agent-orchestration-chat-on-agentcore#15
    ("The content field at messages.2.content.0.toolResult cannot be empty when status value is error.",
     (":texts", "blank")),
    # NousResearch/hermes-agent#63983
    ("The model returned the following errors: messages: text content blocks must contain non-whitespace text",
     (":texts", "blank")),
    # langchain-ai/langchain-aws#141, quarkiverse/quarkus-langchain4j#1983
    ("messages.2.content: Conversation blocks and tool result blocks cannot be provided in the same turn.",
     (":calls", "turns")),
    ("messages.7.content: Conversation blocks and tool use blocks cannot be provided in the same turn.",
     (":calls", "turns")),
    # langgenius/dify#16421
    ("The toolConfig field must be defined when using toolUse and toolResult content blocks.", (":calls", "tools")),
])  # fmt: skip
def test_the_words_of_converse_are_known(message, path):
    assert tuple(find_paths(message)) == find_sole_paths(message) == (path,)


@each_row(("body", "changed"), [
    (messages([BLANK, HI]), messages([HI])),
    (messages([BLANK], [], [HI]), messages([EMPTY], [EMPTY], [HI])),
    (messages([BLANK, POINT]), messages([EMPTY, POINT])),
    (messages([result(BLANK, HI), result(), result(BLANK)]), messages([result(HI), result(EMPTY), result(EMPTY)])),
    ({**messages([HI]), "system": [BLANK, HI]}, {"system": [HI]}),
    (messages([HI], [USE], [result(HI)]), {}),
    (messages([TYPED]), {}), (messages("hi", [], None, [7]), {}), ({"messages": "hi", "system": []}, {}),
    ({"messages": [None, "x"]}, {}),
])  # fmt: skip
def test_no_content_is_blank(body, changed):
    assert fill_blanks(body) == changed


READ, CONTINUE = [{"text": "I have read the results."}], [{"text": "Continue."}]


@each_row(("body", "changed"), [
    (messages([result(HI), HI]), messages([result(HI)], READ, [HI])),
    (messages([HI, USE, USE], [result(HI)], first="assistant"),
     messages([HI], CONTINUE, [USE, USE], [result(HI)], first="assistant")),
    (messages([HI], [USE], [result(HI), POINT]), {}), (messages("hi", [], None), {}),
    ({"messages": "hi"}, {}), ({"messages": [None, {"role": "system", "content": [USE, HI]}]}, {}),
])  # fmt: skip
def test_calls_and_results_have_their_own_turns(body, changed):
    assert OTHER_SHAPES[(":calls", "turns")].change(body) == changed


@each_row(("body", "names"), [
    (messages([HI], [USE, USE], [result(HI)]), ["f"]),
    ({**messages([HI], [USE]), "toolConfig": {"tools": [{}]}}, []),
    (messages([HI], [{"toolUse": {"name": 7}}, {"toolUse": "x"}, "x"], "hi"), []), ({"messages": ["x"]}, []),
    ({"messages": "hi"}, []),
])  # fmt: skip
def test_called_tools_are_declared(body, names):
    tools = declare_tools(body).get("toolConfig", {}).get("tools", [])
    assert [tool["toolSpec"]["name"] for tool in tools] == names
