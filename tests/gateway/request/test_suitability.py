"""The targets of a name that can serve a request: windows and abilities from the catalogue and from the file."""

import base64
import json
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.config_files.loading import from_mapping
from gateway.request.client_request import ClientRequest
from gateway.request.parse import EarlierItems, Incoming, read_incoming
from gateway.request.request_kinds import kinds_of
from gateway.request.suitability import put_reasoning_readers_first, select_suitable
from gateway.request.tools_in_chat import with_api_for_tools
from gateway.routing.plan import Candidate
from gateway.routing.router import Router
from providers.neutral.seal import seal, sealed_by
from streams.events import UNAVAILABLE
from tests.support.apis import question
from tests.support.each_row import each_row
from tests.support.recorded_requests import requests

NOBODY = ClientRequest((), "")
TOO_LONG = frozenset({"context_too_long"})
QUOTA = frozenset({"quota"})
PICTURE = base64.b64encode(bytes(range(256)) * 400).decode()


def candidate(name, group=0, *, window=None, cannot=(), when=UNAVAILABLE, api="chat", **fields) -> Candidate:
    quirks = {"context_window": window, "cannot": list(cannot)}
    entry = {"model": f"vllm/{name}", "base_url": "http://gpu/v1", "quirks": quirks, **fields}
    config = from_mapping({"version": "v0.4.0", "model_providers": [entry]})
    return Candidate(Router(config).resolve(name, api), group, when=when)


def chat(content: object = "hello", **members: object) -> Incoming:
    body = {"model": "m", "messages": [{"role": "user", "content": content}], **members}
    return read_incoming("chat", json.dumps(body).encode())


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    return [one.target.model for one in candidates]


def suitable(incoming: Incoming, *candidates: Candidate, asked: ClientRequest = NOBODY) -> list[str]:
    return names(select_suitable(candidates, incoming, asked))


LONG = chat("You may say that again, and more than once. " * 1000)
"""A prompt of more than 10,000 tokens; the gateway is certain of 8,192 of them."""


def test_a_prompt_of_10000_tokens_skips_a_window_of_8000():
    # BerriAI/litellm#31557
    assert suitable(LONG, candidate("big"), candidate("small", 1, window=8192)) == ["big"]
    assert suitable(LONG, candidate("small", window=8192), candidate("big", 1, window=128_000)) == ["big"]
    assert suitable(chat(), candidate("small", window=8192), candidate("big", 1)) == ["small", "big"]


def test_if_all_windows_are_too_small_the_largest_is_used():
    small = [candidate(name, at, window=window) for at, (name, window) in enumerate({"a": 2048, "b": 8192}.items())]
    assert suitable(LONG, *small, candidate("c", 2, window=4096)) == ["b"]


def test_a_single_candidate_is_never_checked():
    only = (candidate("small", window=16),)
    assert select_suitable(only, LONG, NOBODY) is only


def test_a_small_window_leads_to_targets_for_long_prompts():
    pool = [candidate("gpu-1", window=8192), candidate("gpu-2", window=8192)]
    cloud, far = candidate("cloud", 1), candidate("far", 2, when=TOO_LONG)
    assert suitable(chat(), *pool, cloud, far) == ["gpu-1", "gpu-2", "cloud", "far"]
    kept = select_suitable((*pool, cloud, far), LONG, NOBODY)
    assert names(kept) == ["cloud", "far"]
    assert kept[1].when == UNAVAILABLE | TOO_LONG, "what leads to it has come: it takes the place of the pool"
    assert suitable(LONG, *pool, far) == ["far"]


def test_a_small_window_does_not_lead_to_a_target_for_other_failures():
    plan, paid = candidate("plan", window=8192), candidate("paid", 1, when=QUOTA)
    assert suitable(LONG, plan, paid) == ["plan", "paid"], "nobody else may have it: the plan says that it is too long"
    assert suitable(LONG, plan, paid, candidate("far", 2, when=TOO_LONG)) == ["far"]
    assert suitable(LONG, plan, candidate("big", 1), candidate("paid", 2, when=QUOTA)) == ["big", "paid"]


@each_row(
    "incoming",
    [
        chat([{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}] * 5),
        chat("空文字列ではありません。" * 1000),
        chat("\n" * 20_000 + " " * 40_000),
        chat([{"type": "text", "text": "Hm."}] * 2000),
        read_incoming("messages", json.dumps({"messages": [], "x": "a b " * 9000, "context_management": {}}).encode()),
        read_incoming("responses", json.dumps({"input": "a b " * 9000, "truncation": "auto"}).encode()),
    ],
    ids=["images", "no-spaces", "white-space", "structure", "cleared-by-provider", "cut-by-provider"],
)
def test_the_estimate_errs_on_the_low_side(incoming):
    assert suitable(incoming, candidate("small", window=8192), candidate("big", 1)) == ["small", "big"]


def test_stored_earlier_turns_count_towards_the_window():
    items = tuple({"type": "message", "role": "user", "content": "word " * 3000} for _ in range(4))
    body = b'{"input": "and then?"}'
    incoming = Incoming("responses", body, {}, "m", False, (EarlierItems("responses", items),), 60_000)
    assert suitable(incoming, candidate("small", window=8192), candidate("big", 1)) == ["big"]


def test_the_beta_for_a_longer_window_is_respected():
    def claude(name: str) -> Candidate:
        entry = {"model": "anthropic/claude-sonnet-4-5", "name": name, "access_key": "k"}
        return Candidate(
            Router(from_mapping({"version": "v0.4.0", "model_providers": [entry]})).resolve(name, "messages")
        )

    body = json.dumps({"messages": [{"role": "user", "content": "word " * 210_000}], "max_tokens": 5}).encode()
    longer = ClientRequest((("anthropic-beta", "context-1m-2025-08-07"),), "")
    incoming, other = read_incoming("messages", body), candidate("other", 1, api="messages")
    assert suitable(incoming, claude("sonnet"), other) == ["other"]
    assert suitable(incoming, claude("sonnet"), other, asked=longer) == ["claude-sonnet-4-5", "other"]


IMAGE = chat([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}])
TOOL = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}


def messages(*content: object, **members: object) -> Incoming:
    body = {"max_tokens": 1, "messages": [{"role": "user", "content": list(content)}], **members}
    return read_incoming("messages", json.dumps(body).encode())


def responses(*content: object, **members: object) -> Incoming:
    body = {"input": [{"role": "user", "content": list(content)}], **members}
    return read_incoming("responses", json.dumps(body).encode())


PDF_SOURCE = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}


@each_row(
    ("ability", "incoming"),
    [
        ("images", IMAGE),
        ("images", messages({"type": "image", "source": {"type": "url", "url": "https://x/y.png"}})),
        ("images", messages({"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]})),
        ("images", responses({"type": "input_image", "image_url": "https://x/y.png"})),
        ("pdf", chat([{"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBERi0="}}])),
        ("pdf", messages({"type": "document", "source": PDF_SOURCE})),
        ("pdf", responses({"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0="})),
        ("tools", chat(tools=[TOOL])),
        ("tools", chat(functions=[{"name": "f"}])),
        ("tools", messages(tools=[{"name": "f", "input_schema": {}}])),
        ("tools", responses(tools=[{"type": "function", "name": "f"}])),
        ("choices", chat(n=2)),
        ("structured_output", chat(response_format=SCHEMA)),
        ("structured_output", messages(output_config={"format": {"type": "json_schema", "schema": {}}})),
        ("structured_output", responses(text={"format": {"type": "json_schema", "name": "s", "schema": {}}})),
    ],
)
def test_a_target_without_a_needed_ability_is_skipped(ability, incoming):
    unable = candidate("unable", cannot=[ability], api=incoming.api)
    able = candidate("able", 1, api=incoming.api)
    assert suitable(incoming, unable, able) == ["able"]
    assert suitable(incoming, unable, candidate("neither", 1, cannot=[ability])) == ["unable", "neither"]
    assert suitable(chat(), unable, able) == ["unable", "able"]


@each_row(
    ("ability", "incoming"),
    [
        ("images", chat('what does {"type": "image_url"} mean, or "type": "image"?')),
        ("images", chat("x", tools=[{"function": {"parameters": {"properties": {"image": {"type": "string"}}}}}])),
        ("pdf", chat("what is application/pdf?", metadata={"file": "x"})),
        ("pdf", messages({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}})),
        ("tools", chat(tools=[])),
        ("tools", chat(tools=None)),
        ("choices", chat(n=1)),
        ("structured_output", chat(response_format={"type": "json_object"})),
        ("structured_output", messages(output_config={"effort": "low"})),
    ],
)
def test_mentioning_an_ability_does_not_request_it(ability, incoming):
    assert suitable(incoming, candidate("unable", cannot=[ability]), candidate("able", 1)) == ["unable", "able"]


def test_several_choices_go_if_no_answer_is_translated():
    entry = {"speaks": ["messages"]}
    assert suitable(chat(n=2), candidate("translated", **entry), candidate("native", 1)) == ["native"]


def test_images_of_earlier_turns_count():
    items = ({"type": "message", "content": [{"type": "input_image", "image_url": "https://x"}]},)
    incoming = Incoming("responses", b'{"input": "and now?"}', {}, "m", False, (EarlierItems("responses", items),), 100)
    assert suitable(incoming, candidate("blind", cannot=["images"]), candidate("sees", 1)) == ["sees"]


def test_choosing_among_a_hundred_targets_is_fast():
    many = tuple(
        candidate(f"m{i}", i // 10, window=128_000, cannot=["images"] if i % 3 == 0 else []) for i in range(100)
    )
    incoming = chat()
    times = []
    for _ in range(20):
        start = time.perf_counter()
        select_suitable(many, incoming, NOBODY)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.0005, "a fiftieth of a millisecond, on a machine that does nothing else"


def test_reasoning_is_returned_to_the_member_of_the_group_that_made_it():
    # maximhq/bifrost#5892
    def member(name: str, group: int) -> Candidate:
        return candidate(name, group, access_key=f"sk-{name}")

    a, b, c = members = (member("a", 0), member("b", 0), member("c", 1))
    sealed = seal(b.target.recipient.issuer, "messages", {"type": "thinking"})
    history = chat([{"type": "text", "text": "hm"}], tail=[{"data": sealed}])
    assert put_reasoning_readers_first(members, history) == (b, a, c)
    assert put_reasoning_readers_first(members, chat()) is members
    earlier = EarlierItems("responses", ({"encrypted_content": sealed}, {"type": "message"}))
    kept = Incoming("responses", b"{}", {}, "m", False, (earlier,), 9)
    assert put_reasoning_readers_first(members, kept) == (b, a, c)
    foreign = seal(c.target.recipient.issuer, "messages", {})
    assert put_reasoning_readers_first(members, chat(tail=[sealed, foreign])) == members, "the latest counts"


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode()))
def test_text_that_only_looks_like_a_seal_changes_nothing(junk):
    members = (candidate("a"), candidate("b"))
    body = b'{"messages": [], "x": "tg1.' + junk + b'"}'
    incoming = Incoming("chat", body, {}, "m", False)
    assert put_reasoning_readers_first(members, incoming) == members
    assert sealed_by(b"tg1." + junk) is None


# Requests of Chat clients that the gateway sends to Responses, because the model would lose its thoughts in Chat


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def asked_in(entry: dict[str, Any], **members: Any) -> tuple[str, str]:
    config = from_mapping({"version": "v0.4.0", "model_providers": [{**entry, "default": True}]})
    target = Router(config).resolve(None, "chat")
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **members}
    found = with_api_for_tools(read_incoming("chat", json.dumps(body).encode()), target)
    return found.api, found.lane


@each_row("model", ["o3", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.5", "gpt-6.1-sol"])
def test_tools_of_a_model_that_thinks_go_to_responses_and_the_rest_passes_unchanged(model):
    # anomalyco/opencode#2480
    assert asked_in({"model": f"openai/{model}"}, tools=TOOLS) == ("responses", "hub")
    assert asked_in({"model": f"openai/{model}"}) == ("chat", "byte")


@each_row(
    ("entry", "members"),
    [
        ({"model": "openai/gpt-4o"}, {}),
        ({"model": "openai/gpt-5-chat-latest"}, {}),
        ({"model": "openai/gpt-5.1"}, {}),  # does not think by default
        ({"model": "openai/gpt-5.4"}, {"reasoning_effort": "none"}),
        ({"model": "openai/o3", "speaks": ["chat"]}, {}),
        ({"model": "openai/gpt-5", "base_url": "http://like-openai/v1"}, {}),
        ({"model": "ollama/gpt-6-sol", "speaks": ["chat", "messages", "responses"]}, {}),
        ({"model": "ollama/gpt-6-sol"}, {}),
    ],
)
def test_tools_stay_in_chat_if_nothing_is_lost_or_by_configuration(entry, members):
    assert asked_in(entry, tools=TOOLS, **members) == ("chat", "byte")


def test_a_model_with_optional_reasoning_keeps_its_reasoning():
    assert asked_in({"model": "openai/gpt-5.1"}, tools=TOOLS, reasoning_effort="high") == ("responses", "hub")


# Kinds of requests


CLAUDE_CODE = ClientRequest((("x-app", "cli"),), "")
THINKING = {"thinking": {"type": "adaptive"}}
TOOL = {"name": "t", "input_schema": {"type": "object"}}


@each_row(
    ("api", "members", "asked", "kinds"),
    [
        ("messages", {}, CLAUDE_CODE, "background"),  # a title
        ("messages", {"thinking": {"type": "disabled"}, "tools": []}, CLAUDE_CODE, "background"),
        ("messages", {"tools": [TOOL]}, CLAUDE_CODE, ""),
        ("messages", {"tools": [TOOL], "model": "claude-haiku-4-5"}, CLAUDE_CODE, "background"),
        ("messages", {"model": "claude-haiku-4-5"}, NOBODY, ""),
        ("messages", THINKING, CLAUDE_CODE, "thinking"),
        ("messages", {"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, NOBODY, "web_search"),
        ("messages", {"max_tokens": None, "tools": []}, CLAUDE_CODE, ""),  # a count
        ("chat", {"reasoning_effort": "high"}, NOBODY, "thinking"),
        ("chat", {"reasoning_effort": "none"}, NOBODY, ""),
        ("responses", {"reasoning": {"effort": "low"}}, NOBODY, "thinking"),
        ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 9}}}, NOBODY, "thinking"),
        ("gemini", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, NOBODY, ""),
        ("messages", {"messages": [{"role": "user", "content": "word " * 3000}]}, NOBODY, "tokens > 2000"),
        ("messages", {"messages": [{"role": "odd", "content": "no list " * 3000}]}, NOBODY, "tokens > 2000"),
    ],
)
def test_the_kinds_of_a_request(api, members, asked, kinds):
    body = {"contents": [{"parts": [{"text": "hi"}]}]} if api == "gemini" else question(api, "m")
    body = {name: value for name, value in {**body, **members}.items() if value is not None}
    wanted = frozenset(("background", "thinking", "web_search", "tokens > 2000", "tokens > 1000000"))
    assert " ".join(kinds_of(wanted, read_incoming(api, json.dumps(body).encode()), asked, 4)) == kinds


@each_row(("folder", "kinds"), [("claude-code/", ["thinking"]), ("claude-code-title/", ["background"])])
def test_the_kinds_of_recorded_requests_of_claude_code(folder, kinds):
    for one in (one for one in requests() if one.key.startswith(folder)):
        found = kinds_of(frozenset(("background", "thinking")), read_incoming(one.api, one.text), CLAUDE_CODE, 4)
        assert sorted(found) == kinds, one.key
