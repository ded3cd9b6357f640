"""Tests of Codex with every kind of provider. Its requests are those of version 0.169.

Other files test its websocket, its compaction and its compressed bodies."""

from typing import Any

from tests.support.apis import OLDER
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import Gateway, Reply, config, provider
from tests.support.upstreams import PATHS, Script, ToolCall

EXEC = ToolCall("call_LxvMaeyCHxhRc4XSMnxGsMPh", "exec_command", '{"cmd": "cat one.txt"}')
SCHEMA = {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}
WORDS = [{"type": "input_text", "text": "Run the command."}]


@serve_module
def gateway(upstream):
    entries = [
        provider("openai/gpt-4o", upstream.url, ["chat"], name="chat"),
        provider("anthropic/claude-sonnet-4-5", upstream.url, ["messages"], name="messages"),
        provider("openai/gpt-5.1", upstream.url, ["responses"], name="responses"),
    ]
    return config(entries)


def turn(model: str, *more: Any, **members: Any) -> dict[str, Any]:
    """Return a shortened request of ``codex exec``."""
    return {
        "model": model,
        "stream": True,
        "input": [
            {"type": "message", "id": "msg_e3476123", "role": "developer", "content": WORDS},
            {"type": "message", "id": "msg_01a1f7bf", "role": "user", "content": WORDS},
            *more,
        ],
        "tools": [
            {"type": "function", "name": "exec_command", "description": "d", "strict": False, "parameters": SCHEMA},
            {"type": "custom", "name": "apply_patch", "description": "d", "format": {"type": "text"}},
            {"type": "namespace", "name": "agents", "description": "d", "tools": [
                {"type": "function", "name": "close", "description": "d", "strict": False, "parameters": SCHEMA},
            ]},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "01a1f7bf-edbf-70a2-a724-b379b2cd6374",
        "client_metadata": {"thread_id": "01a1f7bf", "x-codex-turn-metadata": '{"turn_id": "01a1"}'},
        "service_tier": "auto",
        **members,
    }  # fmt: skip


def ask(gateway: Gateway, sent: dict[str, Any]) -> Reply:
    own = {"accept": "text/event-stream", "authorization": "Bearer any", "originator": "codex_exec",
           "session-id": "01a1f7bf", "x-codex-beta-features": "remote_compaction_v2"}  # fmt: skip
    return gateway.request("POST", PATHS["responses"], sent, own)


def items(reply: Reply) -> list[dict[str, Any]]:
    """Return the finished items of a complete stream: Codex reads nothing else."""
    assert reply.status == 200, reply.body
    names = [name for name, _ in reply.events()]
    assert names[0] == "response.created"
    assert names[-1] == "response.completed"
    assert reply.events()[-1][1]["response"]["id"]
    return [event["item"] for name, event in reply.events() if name == "response.output_item.done"]


@each_row("model", OLDER)
def test_its_usual_request_works_with_every_provider(gateway, upstream, model):
    """(awsl-project/maxx#682)"""
    upstream.script(Script(text="Let me look.", calls=(EXEC,), stop="tool_calls"))
    done = items(ask(gateway, turn(model)))
    assert [item["type"] for item in done] == ["message", "function_call"]
    assert (done[1]["call_id"], done[1]["name"], done[1]["arguments"]) == (EXEC.id, EXEC.name, EXEC.arguments)


@each_row("model", ["chat", "messages"])
def test_only_members_without_an_equivalent_are_reported_as_dropped(gateway, upstream, model):
    upstream.script(Script(text="ok"))
    dropped = ask(gateway, turn(model)).headers["x-trigate-dropped"].split(",")
    assert set(dropped) <= {
        "client_metadata", "prompt_cache_key", "store", "reasoning.summary", "tools[]", "tools[].format",
        "tools[]: web_search",
    }  # fmt: skip
    names = [tool.get("function", tool)["name"] for tool in upstream.seen[0].json["tools"]]
    assert names == ["exec_command", "apply_patch", "agents__close"]


@each_row("model", ["chat", "messages"])
def test_strict_mode_fails_only_for_the_hosted_search(gateway, upstream, model):
    upstream.script(Script(text="ok"))
    sent = turn(model)
    sent["tools"] = sent["tools"][:1]
    reply = gateway.request("POST", PATHS["responses"], sent, {"x-trigate-strict": "1"})
    assert reply.status == 200, reply.body


@each_row("model", OLDER)
def test_the_provider_gets_the_whole_history_with_the_second_turn(gateway, upstream, model):
    """Codex replays items with ids, ``content: null`` in reasoning, and results as plain strings."""
    upstream.script(Script(thinking="hm", seal="c2ln", text="Let me look.", calls=(EXEC,), stop="tool_calls"))
    said = [
        {**item, "content": None} if item["type"] == "reasoning" else item
        for item in items(ask(gateway, turn(model, reasoning={"effort": "low", "summary": "auto"})))
    ]
    result = {"type": "function_call_output", "id": "fco_1", "call_id": EXEC.id, "output": "swordfish"}
    upstream.script(Script(text="It is swordfish."))
    done = items(ask(gateway, turn(model, *said, result, reasoning={"effort": "low", "summary": "auto"})))
    assert [item["content"][0]["text"] for item in done if item["type"] == "message"] == ["It is swordfish."]
    sent = upstream.seen[0].body
    for piece in (b"Let me look.", b"swordfish", EXEC.id.encode()):
        assert piece in sent
    assert (b"c2ln" in sent) == (model != "chat"), "what the provider sealed it gets back; Chat has no seal"


WRAPPED = '{"input": "*** Begin Patch"}'


@each_row(("model", "written"), [("chat", WRAPPED), ("chat", "*** Begin Patch"), ("messages", WRAPPED)])
def test_its_patches_are_custom_calls_with_every_provider(gateway, upstream, model, written):
    """Models may forget to wrap the text (router-for-me/CLIProxyAPI#5753)."""
    patch = ToolCall("call_p", "apply_patch", written)
    upstream.script(Script(calls=(patch,), stop="tool_calls"))
    (call,) = items(ask(gateway, turn(model)))
    assert (call["type"], call["name"], call["input"]) == ("custom_tool_call", "apply_patch", "*** Begin Patch")
    result = {"type": "custom_tool_call_output", "call_id": call["call_id"], "output": "Done!"}
    upstream.script(Script(text="ok"))
    assert items(ask(gateway, turn(model, call, result)))
    assert b"*** Begin Patch" in upstream.seen[0].body
    assert b"Done!" in upstream.seen[0].body


@each_row("model", ["chat", "messages"])
def test_a_call_of_a_namespaced_tool_has_its_namespace(gateway, upstream, model):
    upstream.script(Script(calls=(ToolCall("call_c", "agents__close", '{"cmd":"x"}'),), stop="tool_calls"))
    (call,) = items(ask(gateway, turn(model)))
    assert (call["namespace"], call["name"]) == ("agents", "close")


@needs_feature("model_lists")
def test_its_request_for_models_gets_both_forms_of_the_list(gateway):
    """Codex cannot decode the list without ``models``, and one incomplete entry makes it lose all models
    (openai/codex#37122, #35758, BigPizzaV3/CodexPlusPlus#2118)."""
    listed = gateway.request("GET", "/v1/models?client_version=0.169.0").json
    assert (listed["object"], listed["models"]) == ("list", [])
    assert [entry["id"] for entry in listed["data"]] == ["chat", "messages", "responses"]
