"""Messages that change the rest of a request: tools, effort, the validity of their own text, and a summary of earlier
messages. Each is translated to every API.

Source: https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages, and the types
``BetaSystemMessageParam`` and ``BetaCompactionBlockParam`` of the anthropic package; ``ToolAdditionBlock`` and
``ToolRemovalBlock`` of botocore's service model.
"""

import itertools
import json
from typing import Any

import pytest

from providers.apis import CODECS
from providers.catalog.models import quirks_of
from providers.neutral.codec import Recipient
from providers.neutral.hints import losses
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row

MODELS = {
    "chat": "gpt-5.6-sol", "messages": "claude-sonnet-5-5", "responses": "gpt-5.6-sol", "gemini": "gemini-4-argon",
    "converse": "us.anthropic.claude-opus-5", "interactions": "gemini-4-argon",
}  # fmt: skip
"""A model of each API that has levels of effort."""
PLAIN = {
    "chat": "gpt-4o", "messages": "claude-sonnet-4-5", "gemini": "gemini-2.0-flash",
    "converse": "us.meta.llama3-3-70b-instruct-v1:0", "interactions": "gemini-2.0-flash",
}  # fmt: skip
"""Models that have none; the gateway knows no such model for Responses."""
APIS = tuple(MODELS)
USER = {"role": "user", "content": "hi"}
ANSWER = {"role": "assistant", "content": "hello"}
SCHEMA = {"type": "object", "properties": {}}


def translate(
    body: dict[str, Any], api: str, client: str = "messages", models: dict[str, str] = MODELS
) -> tuple[Any, tuple[str, ...]]:
    """Return the request for a provider that speaks ``api``, and the dropped members."""
    model = models[api]
    plain = Quirks(reasoning_effort=model in MODELS.values())
    quirks = quirks_of(plain, model)
    written = CODECS[api].write_request(CODECS[client].read_request(body), Recipient(model, Issuer("p", ""), quirks))
    return json.loads(written.body), written.dropped


def request(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 4000, "messages": list(messages), **members}


def tool(name: str, **members: Any) -> dict[str, Any]:
    return {"name": name, "input_schema": SCHEMA, **members}


def system(*content: Any, **members: Any) -> dict[str, Any]:
    return {"role": "system", "content": list(content), **members}


def change(kind: str, name: str) -> dict[str, Any]:
    return {"type": f"tool_{kind}", "tool": {"type": "tool_reference", "name": name}}


def offered(body: Any, api: str) -> list[str]:
    """Return the names of the tools in a provider's request."""
    match api:
        case "chat":
            return [item["function"]["name"] for item in body.get("tools", ())]
        case "gemini":
            return [one["name"] for item in body.get("tools", ()) for one in item["functionDeclarations"]]
        case "converse":
            return [item["toolSpec"]["name"] for item in body.get("toolConfig", {"tools": ()})["tools"]]
    return [item["name"] for item in body.get("tools", ())]


def effort_of(body: Any, api: str) -> str | None:
    """Return the level of effort in a provider's request."""
    match api:
        case "chat":
            return body.get("reasoning_effort")
        case "messages":
            return body.get("output_config", {}).get("effort")
        case "responses":
            return body.get("reasoning", {}).get("effort")
        case "gemini":
            return body["generationConfig"].get("thinkingConfig", {}).get("thinkingLevel")
        case "interactions":
            return body.get("generation_config", {}).get("thinking_level")
    return body.get("outputConfig", {}).get("effort")


# Effort


@each_row("api", PLAIN)
def test_a_model_without_effort_lists_it(api):
    messages = [USER, system(output_config={"effort": "low"})]
    found, dropped = translate(request(*messages), api, models=PLAIN)
    assert effort_of(found, api) is None
    assert dropped == ("messages[].output_config.effort",)


NOVA = {"converse": "us.amazon.nova-2-lite-v1:0"}


@each_row("models, level", itertools.product([MODELS, PLAIN, NOVA], [False, True]))
def test_a_requested_summary_is_sent_or_listed(models, level):
    thinking = {"thinking": {"type": "adaptive", "display": "summarized"}}
    if level:
        thinking["output_config"] = {"effort": "low"}
    gemini = {"includeThoughts": True, **({"thinkingLevel": "LOW"} if level else {})}
    shown = {"thinking_summaries": "auto", **({"thinking_level": "low"} if level else {})}
    bodies = {
        "messages": (request(USER, **thinking), "thinking.display"),
        "responses": ({"input": "hi", "reasoning": {"summary": "auto", **({"effort": "low"} if level else {})}},
                      "reasoning.summary"),
        "gemini": ({"contents": [{"parts": [{"text": "hi"}]}], "generationConfig": {"thinkingConfig": gemini}},
                   "generationConfig.thinkingConfig.includeThoughts"),
        "interactions": ({"input": "hi", "generation_config": shown}, "generation_config.thinking_summaries"),
        "converse": ({**converse_request(), "additionalModelRequestFields": thinking},
                     "additionalModelRequestFields.thinking.display"),
    }  # fmt: skip
    words = ("summarized", '"summary"', "includeThoughts", "thinking_summaries")
    for client, (body, path) in bodies.items():
        for api in models:
            with case((client, api)):
                found, dropped = translate(body, api, client, models)
                is_listed = any(path == one or path.startswith(f"{one}.") for one in dropped)
                assert is_listed != any(word in json.dumps(found) for word in words)
                assert not losses((path,))


def test_a_message_without_content_and_settings_is_refused():
    for message in [
        {"role": "system"}, {"role": "system", "output_config": {}}, {"role": "user"}, {"role": "assistant"},
        {"role": "user", "output_config": {"effort": "low"}},
    ]:  # fmt: skip
        with case(message):
            with pytest.raises(GatewayError, match=r"messages\[1\].content is required") as raised:
                translate(request(USER, message), "chat")
            assert raised.value.info.param == "messages[1].content"


# Reminders


def test_a_result_of_a_tool_removes_a_reminder():
    """It is a message of the role ``user``, too."""
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "done"}]}
    reminder = {"role": "system", "content": "REMINDER", "clear_at": "next_user_message"}
    found, _ = translate(request(USER, reminder, call, result, tools=[tool("f")]), "chat")
    assert "REMINDER" not in json.dumps(found)


def test_an_unknown_end_of_a_reminder_is_listed():
    _, dropped = translate(request(USER, {"role": "system", "content": "a", "clear_at": "tomorrow"}), "chat")
    assert dropped == ("messages[].clear_at",)


@each_row("api", APIS)
def test_a_removed_reminder_keeps_its_changes(api):
    reminder = system(
        {"type": "text", "text": "REMINDER"}, change("removal", "f"), clear_at="next_user_message",
        output_config={"effort": "low"},
    )  # fmt: skip
    found, dropped = translate(request(USER, reminder, ANSWER, USER, tools=[tool("f"), tool("g")]), api)
    assert (offered(found, api), effort_of(found, api), dropped) == (["g"], "low", ())
    assert "REMINDER" not in json.dumps(found)


# Tools

REMOVE, ADD = system(change("removal", "f")), system(change("addition", "f"))


@each_row("api, choice", itertools.product(APIS, [{"type": "any"}, {"type": "tool", "name": "f"}, {"type": "auto"}]))
def test_a_choice_that_forces_a_removed_tool_is_listed(api, choice):
    found, dropped = translate(request(USER, REMOVE, tools=[tool("f")], tool_choice=choice), api)
    assert (offered(found, api), dropped) == ([], () if choice["type"] == "auto" else ("tool_choice",))
    waiting = [tool("f", defer_loading=True)]
    assert translate(request(USER, tools=waiting, tool_choice=choice), api)[1] == dropped
    forced = {"any": {"any": {}}, "tool": {"tool": {"name": "f"}}, "auto": {"auto": {}}}[choice["type"]]
    body = converse_request({"toolRemoval": {"tool": {"name": "f"}}}, {"toolRemoval": {"tool": {"name": "g"}}})
    body["toolConfig"]["toolChoice"] = forced
    listed = translate(body, api, client="converse")[1]
    assert listed == (() if choice["type"] == "auto" else ("toolConfig.toolChoice",))


def test_changes_of_tools_that_only_anthropic_has_are_listed():
    for api in APIS:
        for referenced in [
            {"type": "mcp_tool_reference", "server_name": "s", "name": "f"},
            {"type": "mcp_toolset_reference", "server_name": "s"},
            {"type": "tool_reference", "name": "unknown"},
            {"type": "later_reference"},
        ]:
            with case((api, referenced)):
                message = system({"type": "tool_removal", "tool": referenced})
                found, dropped = translate(request(USER, message, tools=[tool("f")]), api)
                assert (offered(found, api), dropped) == (["f"], ("messages[].content[]",))


def converse_request(*changes: dict[str, Any]) -> dict[str, Any]:
    hello = [{"text": "hi"}]
    messages = [{"role": "user", "content": hello}]
    for one in changes:
        messages += [{"role": "system", "content": [one]}, {"role": "assistant", "content": hello}]
    tools = [{"toolSpec": {"name": name, "inputSchema": {"json": SCHEMA}}} for name in ("f", "g")]
    return {"messages": [*messages, {"role": "user", "content": hello}], "toolConfig": {"tools": tools}}


@each_row("api", APIS)
def test_a_converse_client_lists_changes_of_mcp_tools(api):
    of_server = {"toolRemoval": {"tool": {"type": "mcp_tool_reference", "name": "f", "serverName": "s"}}}
    found, dropped = translate(converse_request(of_server), api, client="converse")
    assert offered(found, api) == ["f", "g"]
    assert dropped == (() if api == "converse" else ("messages[].content[].toolRemoval",))


NATIVE = {"messages": "claude-opus-5"}
"""A model whose messages can change tools."""
BETA = ("anthropic-beta", "mid-conversation-tool-changes-2026-07-01")


@each_row("client", ["converse", "messages"])
def test_a_model_that_knows_changes_gets_them_in_their_place(client):
    """The tools stay the same, so that the prompt cache does, too. A change only precedes the model's turn or ends the
    conversation (earendil-works/pi#9548, aws-samples/anthropic-on-aws#263)."""
    body = converse_request({"toolRemoval": {"tool": {"name": "f"}}}, {"toolAddition": {"tool": {"name": "f"}}})
    if client == "messages":
        tools = [tool("f"), tool("g")]
        body = request(USER, REMOVE, USER, ANSWER, ADD, {"role": "assistant", "content": "hi"}, USER, tools=tools)
    found, dropped = translate(body, "messages", client, NATIVE)
    assert (offered(found, "messages"), dropped) == (["f", "g"], ())
    shown = [
        one["content"][0] if one["role"] == "system" else one["role"]
        for one in found["messages"]
    ]  # fmt: skip
    assert shown == ["user", change("removal", "f"), "assistant", change("addition", "f"), "assistant", "user"]
    written = CODECS["messages"].write_request(
        CODECS[client].read_request(body), Recipient("m", Issuer("p", ""), quirks_of(Quirks(), NATIVE["messages"]))
    )
    assert BETA in written.headers


def test_a_change_at_the_end_of_the_conversation_stays_there():
    found, _ = translate(request(USER, REMOVE, tools=[tool("f"), tool("g")]), "messages", models=NATIVE)
    assert [one["role"] for one in found["messages"]] == ["user", "system"]


# Compaction


def compaction(**members: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "compaction", **members}, {"type": "text", "text": "AFTER"}]}


def test_a_summary_that_only_anthropic_can_read_is_refused():
    for api in [api for api in APIS if api != "messages"]:
        with case(api):
            with pytest.raises(GatewayError, match="is not supported by this model's provider") as raised:
                translate(request(USER, compaction(content=None, encrypted_content="gAA="), USER), api)
            assert (raised.value.info.status, raised.value.info.param) == (
                400,
                "messages[1].content[0].encrypted_content",
            )


def test_a_messages_server_gets_a_sealed_summary_back():
    found, dropped = translate(request(USER, compaction(content=None, encrypted_content="gAA="), USER), "messages")
    assert ("gAA=" in json.dumps(found), dropped) == (True, ())


@each_row("api", APIS)
def test_a_failed_compaction_changes_nothing(api):
    """Its content is ``null``, and Anthropic ignores it."""
    found, dropped = translate(request({"role": "user", "content": "EARLY"}, compaction(content=None), USER), api)
    assert ("EARLY" in json.dumps(found), "compaction" in json.dumps(found), dropped) == (True, False, ())
