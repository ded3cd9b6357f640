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


@each_row("api, content", itertools.product(APIS, [{}, {"content": []}, {"content": None}, {"content": "Go on."}]))
def test_a_system_message_sets_the_effort(api, content):
    """Claude Code sends it with ``content: []``; Anthropic's types allow none at all."""
    found, dropped = translate(request(USER, {"role": "system", "output_config": {"effort": "low"}, **content}), api)
    assert effort_of(found, api) == "low"
    assert dropped == ()


@each_row("api", APIS)
def test_the_last_effort_applies(api):
    messages = [
        USER, system(output_config={"effort": "low"}), ANSWER, USER, system(output_config={"effort": "medium"}),
        ANSWER, USER,
    ]  # fmt: skip
    found, dropped = translate(request(*messages, output_config={"effort": "high"}), api)
    assert (effort_of(found, api), dropped) == ("medium", ())


@each_row("api", PLAIN)
def test_a_model_without_effort_lists_it(api):
    messages = [USER, system(output_config={"effort": "low"})]
    found, dropped = translate(request(*messages), api, models=PLAIN)
    assert effort_of(found, api) is None
    assert dropped == ("messages[].output_config.effort",)


@each_row("api", APIS)
def test_the_effort_of_a_turn_overrides_that_of_adaptive_thinking(api):
    messages = [USER, system(output_config={"effort": "low", "task_budget": 7})]
    found, dropped = translate(request(*messages, thinking={"type": "adaptive"}), api)
    assert (effort_of(found, api), dropped) == ("low", ("messages[].output_config.task_budget",))


@each_row("display, api", itertools.product(["summarized", "updates", "highlights"], APIS))
def test_each_display_of_thinking_requests_a_summary(display, api):
    """Source: ``display`` of ``thinking`` in the anthropic package."""
    found, dropped = translate(request(USER, thinking={"type": "adaptive", "display": display}), api)
    shown = {
        "messages": {"thinking": {"type": "adaptive", "display": "summarized"}},
        "responses": {"reasoning": {"summary": "auto"}},
        "gemini": {"generationConfig": {"maxOutputTokens": 4000, "thinkingConfig": {"includeThoughts": True}}},
        "converse": {"additionalModelRequestFields": {"thinking": {"type": "adaptive", "display": "summarized"}}},
        "interactions": {"generation_config": {"max_output_tokens": 4000, "thinking_summaries": "auto"}},
    }
    assert {name: found[name] for name in shown.get(api, {})} == shown.get(api, {})
    assert dropped == (("thinking.display",) if api == "chat" else ())


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


@each_row("api, content", itertools.product(APIS, ["REMINDER", [{"type": "text", "text": "REMINDER"}]]))
def test_a_reminder_lasts_until_the_next_user_message(api, content):
    reminder = {"role": "system", "content": content, "clear_at": "next_user_message"}
    shown, dropped = translate(request(USER, reminder, ANSWER), api)
    assert (json.dumps(shown).count("REMINDER"), dropped) == (1, ())
    gone, dropped = translate(request(USER, reminder, ANSWER, USER, ANSWER), api)
    assert ("REMINDER" in json.dumps(gone), dropped) == (False, ())
    forever, dropped = translate(request(USER, {**reminder, "clear_at": "never"}, ANSWER, USER), api)
    assert (json.dumps(forever).count("REMINDER"), dropped) == (1, ())


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


def test_the_tools_at_the_end_of_the_history_are_offered():
    for api in APIS:
        for changes, names in [
            ([REMOVE], ["g"]),
            ([REMOVE, ADD], ["f", "g"]),
            ([ADD, REMOVE], ["g"]),
            ([ADD, REMOVE, ADD], ["f", "g"]),
            ([system(change("removal", "f"), change("removal", "g"))], []),
        ]:
            with case((api, changes, names)):
                messages = [message for one in changes for message in (USER, one, ANSWER)]
                found, dropped = translate(request(*messages, USER, tools=[tool("f"), tool("g")]), api)
                assert (offered(found, api), dropped) == (names, ())


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


@each_row("api", APIS)
def test_calls_of_a_removed_tool_stay(api):
    call = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "RESULT"}]}
    found, _ = translate(request(USER, call, result, REMOVE, tools=[tool("f"), tool("g")]), api)
    assert (offered(found, api), "RESULT" in json.dumps(found)) == (["g"], True)


@each_row("api", APIS)
def test_an_added_tool_that_waited_is_offered(api):
    """Its mark goes as well, because a Messages server would otherwise wait for its own search.

    The tools of earlier requests stay in front, for prompt caches."""
    tools = [tool("f", defer_loading=True), tool("g"), tool("h", defer_loading=True)]
    found, dropped = translate(request(USER, ADD, tools=tools), api)
    assert (offered(found, api), dropped) == (["g", "f"], ())
    assert "defer_loading" not in json.dumps(found)
    assert offered(translate(request(USER, tools=tools), api)[0], api) == ["g"]


@each_row("api", APIS)
def test_a_tool_that_a_message_defines_is_offered(api):
    definition = {"type": "tool_definition", "definition": tool("late", description="Comes late.")}
    message = system({"type": "tool_addition", "tool": definition, "cache_control": {"type": "ephemeral"}})
    found, dropped = translate(request(USER, message, tools=[tool("f")]), api)
    assert (offered(found, api), dropped) == (["f", "late"], ("messages[].content[].cache_control",))
    assert "Comes late." in json.dumps(found)
    gone, _ = translate(request(USER, message, ANSWER, USER, system(change("removal", "late"))), api)
    assert offered(gone, api) == []


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


def test_a_removed_hosted_tool_is_neither_offered_nor_listed():
    search = {"type": "web_search_20250305", "name": "web_search"}
    tools = [tool("f"), search]
    found, dropped = translate(request(USER, system(change("removal", "web_search")), tools=tools), "chat")
    assert (offered(found, "chat"), dropped) == (["f"], ())
    assert translate(request(USER, tools=tools), "chat")[1] == ("tools[]", "tools[]: web_search")


def converse_request(*changes: dict[str, Any]) -> dict[str, Any]:
    hello = [{"text": "hi"}]
    messages = [{"role": "user", "content": hello}]
    for one in changes:
        messages += [{"role": "system", "content": [one]}, {"role": "assistant", "content": hello}]
    tools = [{"toolSpec": {"name": name, "inputSchema": {"json": SCHEMA}}} for name in ("f", "g")]
    return {"messages": [*messages, {"role": "user", "content": hello}], "toolConfig": {"tools": tools}}


@each_row("api", APIS)
def test_a_converse_client_changes_tools(api):
    removal, addition = {"toolRemoval": {"tool": {"name": "f"}}}, {"toolAddition": {"tool": {"name": "f"}}}
    for changes, names in (((removal,), ["g"]), ((removal, addition), ["f", "g"]), ((addition, removal), ["g"])):
        found, dropped = translate(converse_request(*changes), api, client="converse")
        assert (offered(found, api), dropped) == (names, ())


@each_row("api, client", itertools.product(APIS, ["converse", "messages"]))
def test_the_name_identifies_a_removed_tool_whatever_its_type(api, client):
    """``type`` of botocore's ``ToolReference`` is any string."""
    reference = {"type": "later_reference", "name": "f"}
    body = converse_request({"toolRemoval": {"tool": reference}})
    if client == "messages":
        body = request(USER, system({"type": "tool_removal", "tool": reference}), tools=[tool("f"), tool("g")])
    found, dropped = translate(body, api, client)
    assert (offered(found, api), dropped) == (["g"], ())


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


@each_row("quirks", [{"deferred_tools": "found"}, {"deferred_tools": "all"}])
def test_another_server_of_such_a_model_gets_the_tools_of_the_end(quirks):
    read = CODECS["messages"].read_request(request(USER, REMOVE, tools=[tool("f"), tool("g")]))
    recipient = Recipient("m", Issuer("p", ""), quirks_of(Quirks(**quirks), NATIVE["messages"]))
    written = CODECS["messages"].write_request(read, recipient)
    assert offered(json.loads(written.body), "messages") == ["g"]
    assert BETA not in written.headers


def test_a_tool_that_a_message_defines_is_declared_to_a_model_that_knows_changes():
    definition = {"type": "tool_definition", "definition": tool("late")}
    message = system({"type": "tool_addition", "tool": definition})
    found, _ = translate(request(USER, message, tools=[tool("f")]), "messages", models=NATIVE)
    assert offered(found, "messages") == ["f", "late"]


# Compaction


def compaction(**members: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"type": "compaction", **members}, {"type": "text", "text": "AFTER"}]}


@each_row("api", APIS)
def test_a_summary_replaces_the_messages_before_it(api):
    early = [{"role": "user", "content": "EARLY"}, {"role": "assistant", "content": "EARLY"}]
    body = request(*early, compaction(content="SUMMARY", signature="s", encrypted_content="gAA="), USER, system="TOP")
    found, dropped = translate(body, api)
    text = json.dumps(found)
    assert [text.count(word) for word in ("EARLY", "SUMMARY", "AFTER", "TOP")] == [0, 1, 1, 1]
    assert text.index("SUMMARY") < text.index("AFTER")
    assert dropped == ()


@each_row("api", APIS)
def test_a_summary_replaces_the_parts_before_it_and_precedes_calls(api):
    """An agent's history is often compacted between its calls."""
    call = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
    turn = [{"type": "text", "text": "EARLY"}, {"type": "compaction", "content": "SUMMARY"}, call]
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "RESULT"}]}
    found, _ = translate(request(USER, {"role": "assistant", "content": turn}, result, tools=[tool("f")]), api)
    text = json.dumps(found)
    assert ("EARLY" in text, "SUMMARY" in text, "RESULT" in text) == (False, True, True)


@each_row("api", APIS)
def test_the_tools_of_a_summary_are_those_at_its_end(api):
    tools = [tool("f"), tool("g")]
    kept, _ = translate(request(USER, REMOVE, compaction(content="S"), USER, tools=tools), api)
    assert offered(kept, api) == ["g"]
    stated, dropped = translate(
        request(USER, REMOVE, compaction(content="S", tool_changes=[change("removal", "g")]), USER, tools=tools), api
    )
    assert (offered(stated, api), dropped) == (["f"], ())


def test_a_summary_that_only_anthropic_can_read_is_refused():
    for api in [api for api in APIS if api != "messages"]:
        with case(api):
            with pytest.raises(GatewayError, match="is not supported by this model's provider") as raised:
                translate(request(USER, compaction(content=None, encrypted_content="gAA="), USER), api)
            assert (raised.value.info.status, raised.value.info.param) == (
                400,
                "messages[1].content[0].encrypted_content",
            )


@each_row("api", APIS)
def test_a_later_readable_summary_replaces_one_that_only_anthropic_can_read(api):
    sealed = compaction(content=None, encrypted_content="gAA=")
    found, dropped = translate(request(USER, sealed, USER, compaction(content="SUMMARY"), USER), api)
    text = json.dumps(found)
    assert ("gAA=" in text, "SUMMARY" in text, dropped) == (False, True, ())


def test_a_messages_server_gets_a_sealed_summary_back():
    found, dropped = translate(request(USER, compaction(content=None, encrypted_content="gAA="), USER), "messages")
    assert ("gAA=" in json.dumps(found), dropped) == (True, ())


@each_row("api", APIS)
def test_a_failed_compaction_changes_nothing(api):
    """Its content is ``null``, and Anthropic ignores it."""
    found, dropped = translate(request({"role": "user", "content": "EARLY"}, compaction(content=None), USER), api)
    assert ("EARLY" in json.dumps(found), "compaction" in json.dumps(found), dropped) == (True, False, ())
