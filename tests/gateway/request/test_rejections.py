"""The members that a provider's error rejects, in any wording, and how long the gateway remembers them
(anthropics/claude-code#21612, #39589, #49548, #51700, BerriAI/litellm#26240)."""

import copy
import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config_files.loading import from_mapping
from gateway.request.client_request import ClientRequest, without_betas
from gateway.request.parse import read_incoming
from gateway.request.prepare import prepare
from gateway.request.rejections import (
    DIGEST,
    LIFETIME,
    MOST_KEYS,
    MOST_PATHS,
    RejectionCache,
    RejectionKey,
    learned_paths,
)
from gateway.routing.plan import Outcome
from gateway.routing.router import Router
from gateway.routing.target import Omissions, Target
from providers.errors.failures import read_failure
from providers.errors.member_paths import BETA, parse_path, remove_path
from providers.errors.rejected import find_rejected, may_omit, use_other_form
from providers.neutral.quirks import Quirks
from streams.errors import GatewayError
from streams.events import ErrorInfo
from tests.support.each_row import each_row


def rejected_in(message: str, status: int = 400, **more: str) -> tuple[str, ...]:
    return tuple(".".join(path) for path in find_rejected(ErrorInfo("invalid_request", message, status=status, **more)))


@each_row(
    ("message", "paths"),
    [
        ("system.12.cache_control.scope: Extra inputs are not permitted", ("system.[].cache_control.scope",)),
        (
            '{"message":"speed: Extra inputs are not permitted"}. Received Model Group=claude',  # from a proxy
            ("speed",),
        ),
        (
            "a: Extra inputs are not permitted, b.c: Extra inputs are not permitted; a: Extra inputs are not permitted",
            ("a", "b.c"),
        ),
        ("Unrecognized request arguments supplied: store, metadata", ("store", "metadata")),
        ("Unknown parameter: 'messages[1].images'.", ("messages.[].images",)),
        (
            "'messages.2' : for 'role:assistant' the following must be satisfied[('messages.2' : property "
            "'reasoning_content' is unsupported)]",
            ("messages.[].reasoning_content",),
        ),
        (
            "Malformed input request: #: extraneous key [context_management] is not permitted, please reformat",
            ("context_management",),
        ),
        (
            "Unexpected value(s) `a-2026-01-05`, `b-2025-12-15` for the `anthropic-beta` header. Please consult",
            ("anthropic-beta.a-2026-01-05", "anthropic-beta.b-2025-12-15"),
        ),
        ("Unexpected value(s) a-2026-01-05 for the anthropic-beta header.", ("anthropic-beta.a-2026-01-05",)),
        ("Unsupported value: 'temperature' does not support 0.2 with this model.", ()),
        ("max_tokens: Input should be greater than 0", ()),
    ],
)
def test_a_rejected_member_is_found_next_to_other_words(message, paths):
    assert rejected_in(message) == paths
    assert rejected_in(message, status=500) == rejected_in(message, status=401) == ()


def test_openais_own_code_names_the_parameter():
    assert rejected_in("no", code="unsupported_parameter", param="tools[0].strict") == ("tools.[].strict",)
    assert rejected_in("no", code="invalid_value", param="tools[0].strict") == ()


@each_row("param", ["reasoning.summary", "reasoning.effort", "text.verbosity"])
def test_a_rejected_value_of_a_hint_rejects_the_hint(param):
    """openai/codex#2376, #6647 and #19188, continuedev/continue#12047."""
    message = "Unsupported value: 'low' is not supported with the 'gpt-5.2' model."
    assert rejected_in(message, code="unsupported_value", param=param) == (param,)
    assert rejected_in(message, code="unsupported_value", param="service_tier") == ()


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_fastapi_error_list_is_read(wrapped):
    """Mistral's errors with status 422 have this form (Gitlawb/openclaude#739)."""
    mistake = {"type": "extra_forbidden", "loc": ["body", "store"], "msg": "Extra inputs are not permitted", "input": 1}
    detail = {"detail": [mistake]}
    body = {"object": "error", "message": detail, "type": "invalid_request_error"} if wrapped else detail
    failed = read_failure(422, json.dumps(body).encode())
    assert failed.message == "body.store: Extra inputs are not permitted"
    assert find_rejected(failed) == (("store",),)


def test_an_error_about_an_array_element_is_read():
    """Google's errors have this form (FuzzAnything/PromptFuzz#42, langroid/langroid#988)."""
    message = 'Invalid JSON payload received. Unknown name "metadata": Cannot find field.'
    failed = read_failure(400, json.dumps([{"error": {"code": 400, "message": message}}]).encode())
    assert find_rejected(failed) == (("metadata",),)


BODY = {
    "model": "m",
    "speed": "fast",
    "output_config": {"effort": "high"},
    "system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "scope": "global"}}],
    "tools": [
        {"name": "a", "input_schema": {"properties": {"defer_loading": {}}}, "defer_loading": True},
        {"type": "custom", "name": "b", "input_schema": {}, "defer_loading": True},
        {"type": "web_search_20250305", "name": "w", "defer_loading": False},
        {"type": "function", "function": {"name": "f", "strict": True}},
    ],
    "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "t", "cache_control": {}},
            {"type": "text", "text": "u", "cache_control": {}},
        ]},
    ],
}  # fmt: skip


@each_row(
    ("path", "places"),
    [
        ("speed", {"speed"}),
        ("output_config.effort", {"output_config.effort"}),
        ("system.0.cache_control.scope", {"system[].cache_control.scope"}),
        ("tools.0.defer_loading", {"tools[].defer_loading"}),
        ("tools.3.function.strict", {"tools[].function.strict"}),
        ("messages.1.content.0.cache_control", {"messages[].content[].cache_control"}),
        ("nothing", set()),
        ("speed.fast", set()),
        ("tools.0.nothing.at.all", set()),
        ("messages.0.content.0.text", {"messages[].content[].text"}),  # `may_omit` decides that it must stay
    ],
)
def test_a_rejected_member_is_removed_at_every_depth(path, places):
    before = copy.deepcopy(BODY)
    body, found = remove_path(BODY, parse_path(path))
    assert found == places
    assert (body == BODY) == (not places)
    assert remove_path(body, parse_path(path)) == (body, set())
    assert before == BODY, "what it is given stays as it is"


def test_rejecting_one_type_of_element_keeps_the_others():
    """Otherwise a mark that only thinking blocks cannot have would be removed from all, and disable all caches."""
    body, _ = remove_path(BODY, parse_path("messages.1.content.0.thinking.cache_control"))
    thinking, text = body["messages"][1]["content"]
    assert "cache_control" not in thinking
    assert "cache_control" in text
    body, _ = remove_path(body, parse_path("tools.1.custom.defer_loading"))
    assert ["defer_loading" in tool for tool in body["tools"]] == [False, False, True, False]
    assert body["tools"][0]["input_schema"] == BODY["tools"][0]["input_schema"]


@each_row(
    ("at", "goes"),
    [
        ("temperature", True), ("context_management", True), ("reasoning_effort", True), ("output_config", True),
        ("stream_options", True), ("tools[].defer_loading", True), ("messages[].reasoning_content", True),
        ("system[].cache_control.scope", True), ("thinking.display", True), ("messages[].images", True),
        ("tools[].function.parameters.properties.images", False), ("messages[].content[].images", False),
        ("model", False), ("messages", False), ("tools", False), ("max_tokens", False), ("response_format", False),
        ("tool_choice", False), ("messages[].content", False), ("messages[].content[].text", False), ("n", False),
        ("tools[].function.parameters.properties.x", False), ("input[].call_id", False),
        ("output_config.format", False), ("output_config.format.schema", False), ("stream_options.x", True),
        ("response_format.json_schema.schema", False), ("system", False),
    ],
)  # fmt: skip
def test_essential_members_are_never_removed(at, goes):
    assert may_omit(at, BODY) is goes


def test_names_of_participants_can_be_omitted_but_not_those_of_tools():
    body = {
        "messages": [{"role": "user", "name": "Ada", "content": "hi"}],
        "tools": [{"type": "function", "function": {"name": "f"}}],
    }
    assert remove_path(body, ("messages", "[]", "user", "name"))[1] == {"messages[].name"}
    assert may_omit("messages[].name", body)
    assert may_omit("input[].metadata", {"input": []})  # openai/codex#29469
    assert may_omit("toolConfig.toolChoice", {"toolConfig": {}})
    assert not may_omit("toolConfig.tools", {"toolConfig": {}})
    assert not may_omit("tools[].function.name", body)


def test_a_member_with_the_response_format_is_not_removed():
    assert may_omit("output_config", {"output_config": {"effort": "low"}})
    assert not may_omit("output_config", {"output_config": {"format": {}}})
    assert not may_omit("text", {"text": {"format": {}}})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.lists(st.sampled_from(["a", "b", "c", "[]"]), max_size=4))
def test_removing_a_path_changes_nothing_else(value, path):
    before = copy.deepcopy(value)
    after, places = remove_path(value, tuple(path))
    assert (after == value) == (not places)
    assert before == value
    assert all(place.replace("[]", "").rpartition(".")[2].endswith(path[-1]) for place in places)


@given(st.text(max_size=80) | st.sampled_from(["'", "[", "`"]).map(lambda char: char * 5000))
def test_no_provider_message_raises(text):
    for status in (400, 422):
        for path in find_rejected(ErrorInfo("invalid_request", text, status=status)):
            assert path


# Betas


def with_beta(beta: str) -> ClientRequest:
    return ClientRequest((("x", "1"), (BETA, beta), ("y", "2")), "")


@each_row(
    ("paths", "kept", "dropped"),
    [
        ([(BETA, "b-2")], "a-1,c-3", ("anthropic-beta.b-2",)),
        ([(BETA, "b-*"), (BETA, "c-3")], "a-1", ("anthropic-beta.b-2", "anthropic-beta.c-3")),
        ([(BETA,)], None, ("anthropic-beta.a-1", "anthropic-beta.b-2", "anthropic-beta.c-3")),
        ([(BETA, "z"), ("speed",)], "a-1, b-2,c-3", ()),
        ([], "a-1, b-2,c-3", ()),
    ],
)
def test_rejected_betas_are_removed_and_listed(paths, kept, dropped):
    told, gone = without_betas(with_beta("a-1, b-2,c-3"), paths)
    assert (told.header(BETA), gone) == (kept, dropped)
    assert (told.header("x"), told.header("y")) == ("1", "2")


# Memory


def test_a_learned_rejection_is_for_one_model_and_version_and_expires():
    now = 0.0
    learned = RejectionCache(lambda: now)
    old, new = RejectionKey("http://a", "m", "2023-06-01"), RejectionKey("http://a", "m", "2026-10-21")
    learned.add(new, [("temperature",), ("top_p",)])
    assert learned.of(new) == (("temperature",), ("top_p",))
    assert learned.of(old) == learned.of(RejectionKey("http://a", "other", "2026-10-21")) == ()
    now = LIFETIME / 2
    learned.add(new, [("temperature",)])
    now = LIFETIME
    assert learned.of(new) == (("temperature",),)
    now = 2 * LIFETIME
    assert learned.of(new) == ()


def test_learned_rejections_are_bounded():
    learned = RejectionCache()
    one = RejectionKey("http://a", "m")
    learned.add(one, [(f"field{i}",) for i in range(MOST_PATHS + 5)])
    assert len(learned.of(one)) == MOST_PATHS
    assert learned.of(one)[0] == ("field5",)
    for i in range(MOST_KEYS):
        learned.add(RejectionKey("http://a", str(i)), [("x",)])
    assert learned.of(one) == ()
    assert learned.of(RejectionKey("http://a", "0")) == (("x",),)


def test_one_clients_rejections_do_not_remove_those_of_another():
    learned = RejectionCache()
    bobs = RejectionKey("http://a", "m", client="bob")
    learned.add(bobs, [("x",)])
    for i in range(2 * MOST_KEYS):
        learned.add(RejectionKey("http://a", f"model-{i}", client="mallory"), [("x",)])
        learned.add(RejectionKey("http://a", f"model-{i}", account="digest"), [("x",)])
    assert learned.of(bobs) == (("x",),)
    last = f"model-{2 * MOST_KEYS - 1}"
    assert learned.of(RejectionKey("http://a", last, client="mallory")) == (("x",),)


def key_for(name: str, key: str | None, header: str = "x-api-key", **entry: object) -> RejectionKey:
    config = {"model": "anthropic/claude-x", "name": name, **entry}
    router = Router(from_mapping({"version": "v0.3.0", "model_providers": [config]}))
    headers = () if key is None else ((header, key),)
    return RejectionKey.to(router.resolve(name, "messages"), ClientRequest(headers, ""))


def test_a_rejection_for_one_account_or_client_does_not_affect_another():
    rich, poor = (key_for("a", key, passthrough_auth=True) for key in ("sk-rich", "sk-poor"))
    learned = RejectionCache()
    learned.add(poor, [("service_tier",)])
    assert learned.of(rich) == learned.of(key_for("a", None, passthrough_auth=True)) == ()
    assert learned.of(key_for("a", "Bearer sk-poor", "authorization", passthrough_auth=True)) == (("service_tier",),)
    learned.add(key_for("b", None, access_key="k"), [("speed",)])
    assert learned.of(key_for("c", None, access_key="other")) == ()
    alice, bob = (RejectionKey.to(TARGET, ClientRequest((), "", client)) for client in ("alice", "bob"))
    learned.add(alice, [("temperature",)])
    assert (learned.of(alice), learned.of(bob)) == ((("temperature",),), ())


def test_rejections_depend_on_a_clients_key_only_if_it_is_forwarded():
    assert key_for("a", "sk-one", access_key="k") == key_for("a", "sk-two", access_key="k")


@pytest.mark.parametrize("key", ["sk-secret-0123456789", "sk-caf\u00e9\udc80"])
def test_a_key_for_does_not_reveal_the_credential(key):
    told = attrs.asdict(key_for("a", key, passthrough_auth=True))
    assert key not in repr(told)
    assert len(told["account"]) == DIGEST
    assert told["account"] not in repr(key_for("a", key, passthrough_auth=True))


# In a request


def target(**quirks: object) -> Target:
    entry = {"model": "anthropic/claude-x", "access_key": "k", "quirks": quirks}
    return Router(from_mapping({"version": "v0.3.0", "model_providers": [entry]})).resolve("claude-x", "messages")


def test_members_that_stay_keep_their_bytes_and_order():
    body = (
        b'{"z": 1.0,"model":"claude-x","tools":[{"name":"f","strict":true}],"max_tokens":9,"a":{"b" : 1e2},'
        b'"messages":[{"role":"user","content":"caf\\u00e9"}]}'
    )
    paths = (("tools", "[]", "strict"), ("z",), ("gone",))
    prepared = prepare(read_incoming("messages", body), target(), Omissions(paths=paths))
    assert prepared.outgoing.dropped == ("tools[].strict", "z")
    assert prepared.outgoing.body == (
        b'{"model":"claude-x","tools":[{"name":"f"}],"max_tokens":9,"a":{"b" : 1e2},'
        b'"messages":[{"role":"user","content":"caf\\u00e9"}]}'
    )


def test_a_body_that_is_nested_too_deeply_is_a_client_error():
    deep = b'{"model":"claude-x","max_tokens":9,"messages":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}"
    with pytest.raises(GatewayError) as caught:
        prepare(read_incoming("messages", deep), target(), Omissions(paths=(("messages", "[]", "cache_control"),)))
    assert caught.value.info.status == 400


# Rejections that the gateway learns


def outcome(message: str, *left_out: str, at: Target | None = None) -> Outcome:
    failed = ErrorInfo("invalid_request", message, status=400)
    return Outcome(at or TARGET, failed, refused=Omissions(paths=tuple(map(parse_path, left_out))))


TARGET = target()
EFFORT = "Model grok-4-latest does not support parameter reasoningEffort."
SPEED, THINKING = "speed: Extra inputs are not permitted", "thinking: Extra inputs are not permitted"


@each_row(
    ("outcomes", "learned"),
    [
        ((), ()),
        ((outcome(SPEED, "speed"),), ("speed",)),
        ((outcome(SPEED, "speed"), outcome(THINKING, "thinking")), ("speed", "thinking")),
        ((outcome("try later"), outcome(SPEED, "speed")), ("speed",)),
        ((outcome(SPEED, "speed", "thinking"),), ()),
        ((outcome(SPEED, "speed"), outcome(f"{SPEED}, {THINKING}", "thinking")), ()),
        ((outcome("store: Extra inputs are not permitted", "store"),), ()),
        ((outcome("metadata.a: Extra inputs are not permitted", "metadata.a"), outcome(SPEED, "speed")), ("speed",)),
        ((outcome(SPEED, "speed", at=target(stream_usage=False)),), ()),
        ((outcome(EFFORT, "reasoning.effort"),), ("reasoning.effort",)),  # Chat has the member under another name
    ],
)
def test_a_path_is_learned_if_it_was_rejected_and_omitted_alone(outcomes, learned):
    assert learned_paths(outcomes, TARGET) == tuple(map(parse_path, learned))


def test_members_in_googles_spelling_are_found():
    """QwenLM/qwen-code#1186, lijunzh/koda#1097: schemas of tools, for which there is another form."""
    words = "Unknown name \"parametersJsonSchema\" at 'tools[0].function_declarations[0]': Cannot find field."
    (path,) = find_rejected(ErrorInfo("invalid_request", f"Invalid JSON payload received. {words}", status=400))
    tool = {"functionDeclarations": [{"name": "f", "parametersJsonSchema": {}}]}
    changed, places = remove_path({"tools": [tool]}, path)
    assert changed == {"tools": [{"functionDeclarations": [{"name": "f"}]}]}
    assert places == {"tools[].functionDeclarations[].parametersJsonSchema"}
    assert all(may_omit(place, {"tools": [tool]}) for place in places)
    assert use_other_form(Quirks(), (path,)).schemas == "subset"
    assert use_other_form(Quirks(), (("tools", "[]", "strict"),)) == Quirks()
