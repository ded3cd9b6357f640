"""Tool choices in each API. A choice of a missing tool is a 400 (theopenco/llmgateway#4149)."""

import json
from typing import Any

import attrs

from providers.apis import CODECS
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.request import Message, NativeTool, Parameter, Request, TextPart, Tool, ToolChoice
from tests.support.cases import case
from tests.support.converse_requests import CLAUDE, OURS, recipient
from tests.support.each_row import each_row

APIS = ("chat", "messages", "responses", "gemini", "converse", "interactions")
TOOLS = (Tool("f"), Tool("g", kind="custom"))


def function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def chats(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [function(name) for name in names]}}


def allowing(mode: str, *tools: dict[str, Any]) -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": list(tools)}


def google(mode: str, *names: str) -> dict[str, Any]:
    return {"mode": mode} | ({"allowedFunctionNames": list(names)} if names else {})


def tool_choice(mode: str, *names: str) -> dict[str, Any]:
    return {"allowed_tools": {"mode": mode, "tools": list(names)}}


F, G = {"type": "function", "name": "f"}, {"type": "custom", "name": "g"}
AUTO, ANY, NONE = {"type": "auto"}, {"type": "any"}, {"type": "none"}
WRITTEN = (
    (None, None, None, None, None, None, None),
    (ToolChoice("auto"), "auto", AUTO, "auto", google("AUTO"), None, "auto"),
    (ToolChoice("none"), "none", NONE, "none", google("NONE"), None, "none"),
    (ToolChoice("required"), "required", ANY, "required", google("ANY"), {"any": {}}, "any"),
    (ToolChoice("tool", "f"), function("f"), {"type": "tool", "name": "f"}, F, google("ANY", "f"),
     {"tool": {"name": "f"}}, tool_choice("any", "f")),
    (ToolChoice("tool", "g", "custom"), function("g"), {"type": "tool", "name": "g"}, G, google("ANY", "g"),
     {"tool": {"name": "g"}}, tool_choice("any", "g")),
    (ToolChoice("auto", allowed=("g",)), chats("auto", "g"), AUTO, allowing("auto", G), google("VALIDATED", "g"), None,
     tool_choice("validated", "g")),
    (ToolChoice("auto", allowed=("f", "g")), chats("auto", "f", "g"), AUTO, allowing("auto", F, G),
     google("VALIDATED", "f", "g"), None, tool_choice("validated", "f", "g")),
    (ToolChoice("required", allowed=("g", "gone")), chats("required", "g"), ANY, allowing("required", G),
     google("ANY", "g"), {"any": {}}, tool_choice("any", "g")),
    (ToolChoice("none", allowed=("f",)), "none", NONE, "none", google("NONE"), None, "none"),
)  # fmt: skip
"""A choice, and its words in each of ``APIS``."""
# The choice that replaces the choice of a missing tool, by API. Other APIs get none.
UNNAMED = {"messages": AUTO, "gemini": google("AUTO")}
WITHOUT = (
    (ToolChoice("tool", "gone"), AUTO),
    (ToolChoice("required", allowed=()), None),
    (ToolChoice("required", allowed=("gone",)), None),
    (ToolChoice("auto", allowed=("gone",)), None),
)
"""A choice of missing tools, and the resulting choice for Messages."""


def write(api: str, choice: ToolChoice | None, tools: Any, **members: Any) -> Outgoing:
    turns = (Message("user", (TextPart("hi"),)),)
    request = Request("neutral", "m", turns, tools=tools, tool_choice=choice, **members)  # type: ignore[arg-type]
    to = recipient(CLAUDE) if api == "converse" else Recipient("m", OURS)
    return CODECS[api].write_request(request, to)


def sent_tools(api: str, choice: ToolChoice | None, tools: Any = TOOLS) -> tuple[list[str], Any, tuple[str, ...]]:
    """Return the names of the tools for a provider, the choice, and the dropped paths."""
    outgoing = write(api, choice, tools)
    body = json.loads(outgoing.body)
    config = body.get("toolConfig", {})
    items = config.get("tools", []) if api == "converse" else body.get("tools", [])
    if api == "gemini":
        items = [one for item in items for one in item["functionDeclarations"]]
    names = [(item.get("toolSpec") or item.get("function") or item.get("custom") or item)["name"] for item in items]
    found = {"gemini": config.get("functionCallingConfig"), "converse": config.get("toolChoice"),
             "interactions": body.get("generation_config", {}).get("tool_choice")}  # fmt: skip
    return names, found.get(api, body.get("tool_choice")), outgoing.dropped


def remaining_tools(api: str, choice: ToolChoice | None) -> list[str]:
    """Return the remaining tools if only allowed ones are sent."""
    if choice is not None and api == "converse" and choice.mode == "none":
        return []
    everything = choice is None or choice.allowed is None or api not in ("messages", "converse")
    return [tool.name for tool in TOOLS if everything or tool.name in choice.allowed]


@each_row("api", APIS)
def test_a_choice_has_the_words_of_its_api(api):
    for choice, *written in WRITTEN:
        with case(choice):
            assert sent_tools(api, choice) == (remaining_tools(api, choice), written[APIS.index(api)], ())
            again = CODECS[api].read_request({"model": "m", **json.loads(write(api, choice, TOOLS).body)})
            assert sent_tools(api, again.tool_choice)[1] == written[APIS.index(api)]


@each_row("api", APIS)
def test_a_choice_of_a_dropped_tool_is_dropped_and_listed(api):
    for choice, messages in WITHOUT:
        with case(choice):
            names, written = remaining_tools(api, choice), {**UNNAMED, "messages": messages}.get(api)
            lost = ("tool_choice",) if names or choice.mode != "auto" else ()  # without tools nothing may be called
            assert sent_tools(api, attrs.evolve(choice, at="tool_choice")) == (names, written, lost)


@each_row("api", APIS)
def test_a_request_without_tools_has_no_tool_settings(api):
    for choice, *_ in WRITTEN:
        body = write(api, choice, (), parallel_tools=Parameter(True, "p")).body
        assert body == write(api, None, ()).body, choice


@each_row("api", APIS)
def test_the_choice_of_a_tool_of_another_api_is_dropped_with_the_tool(api):
    """A client that forces a call must learn that there will be none; other functions are unaffected
    (caozhiyuan/copilot-api#312, ding113/claude-code-hub#1328)."""
    kind, owner = ("web_search", "responses") if api == "messages" else ("bash_20250124", "messages")
    hosted = NativeTool(owner, kind, {"type": kind, "name": "x"}, "tools[0]")
    for mode, dropped in (
        ("required", ("tools[]", "tools[]: x", "tool_choice")),
        ("tool", ("tools[]", "tools[]: x", "tool_choice")),
        ("auto", ("tools[]", "tools[]: x")),
        ("none", () if api == "converse" else ("tools[]", "tools[]: x")),
    ):
        with case(mode):
            choice = ToolChoice(mode, "x" if mode == "tool" else None, at="tool_choice")
            assert sent_tools(api, choice, (hosted,)) == ([], None, dropped)
            names, beside, lost = sent_tools(api, choice, (hosted, Tool("f")))
            assert names == ([] if (api, mode) == ("converse", "none") else ["f"])
            assert lost == (dropped[:-1] if mode == "required" else dropped)
            assert beside == (UNNAMED.get(api) if mode == "tool" else sent_tools(api, choice, (Tool("f"),))[1])
