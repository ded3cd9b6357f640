"""The stand-in's prompt caches: names, bounds, and the documented rules of Anthropic and Bedrock.

A token is four bytes.

The rules are those of "Prompt caching" (platform.claude.com) and of "Prompt caching for faster model inference"
(docs.aws.amazon.com)."""

from typing import Any

import pytest

from streams.errors import GatewayError
from streams.events import APIS
from tests.support import imitated_caches
from tests.support.cache_rules import RULES, cache_descriptions, cache_model
from tests.support.each_row import each_row
from tests.support.prompt_caches import CREDENTIALS, LONG, CacheTrial, assistant, call, chat, result, text, user

MARK = {"cache_control": {"type": "ephemeral"}}
HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.fixture
def trial() -> CacheTrial:
    return CacheTrial()


def request(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"system": [text(LONG, **MARK)], "messages": list(messages)} | more


# Anthropic


def test_a_second_turn_reads_what_the_first_one_wrote(trial):
    first = trial.count("cache/anthropic", request(user(text("Hello" * 20, **MARK))))
    assert (first.read, first.written) == (0, first.tokens - 1) or (first.read, first.written) == (0, first.tokens)
    second = trial.count(
        "cache/anthropic", request(user("Hello" * 20), assistant("Hi"), user(text("Again" * 20, **MARK)))
    )
    assert second.read == first.written
    assert second.written == second.tokens - second.read or second.written == second.tokens - second.read - 1


def test_nothing_is_cached_without_a_mark(trial):
    for _ in range(2):
        counted = trial.count("cache/anthropic", {"system": LONG, "messages": [user("Hello")]})
        assert (counted.read, counted.written) == (0, 0)


def test_the_requests_own_mark_is_that_of_its_last_block(trial):
    body = {"system": LONG, "messages": [user("Hello")], **MARK}
    assert trial.count("cache/anthropic", body).written > 1900
    assert trial.count("cache/anthropic", body).read > 1900


def test_a_prefix_below_the_minimum_is_not_cached(trial):
    short = request(user("Hello"), system=[text("x" * 4000, **MARK)])
    assert trial.count("cache/anthropic", short).written == 0
    assert trial.count("cache/anthropic-512", short).written > 512
    assert trial.count("cache/anthropic-4096", request(user("Hello"))).written == 0


def test_more_than_four_marks_are_a_400(trial):
    body = request(user(*(text(str(at), **MARK) for at in range(4))))
    with pytest.raises(GatewayError, match=r"A maximum of 4 blocks with cache_control may be provided\. Found 5\."):
        trial.count("cache/anthropic", body)
    with pytest.raises(GatewayError, match="Found 5"):
        trial.count("cache/anthropic", request(user(*(text(str(at), **MARK) for at in range(3)), "End"), **MARK))


def test_a_longer_lifetime_after_a_shorter_one_is_a_400(trial):
    with pytest.raises(GatewayError, match="a ttl='1h' cache_control block must not come after a ttl='5m'"):
        trial.count("cache/anthropic", request(user(text("Hello", **HOUR))))
    trial.count("cache/anthropic", request(user(text("Hello", **MARK)), system=[text(LONG, **HOUR)]))


@pytest.mark.parametrize(
    ("part", "message"),
    [(text("", **MARK), "empty text blocks"), ({"type": "thinking", "thinking": "", **MARK}, "thinking blocks")],
)
def test_a_mark_on_an_empty_text_or_on_thinking_is_a_400(trial, part, message):
    with pytest.raises(GatewayError, match=message):
        trial.count("cache/anthropic", request(assistant(part)))


def test_written_tokens_are_reported_by_lifetime(trial):
    body = request(user(text("Hello" * 100, **MARK)), system=[text(LONG, **HOUR)])
    counted = trial.count("cache/anthropic", body)
    assert 1900 < counted.written_long < counted.written
    later = trial.count("cache/anthropic", body)
    assert (later.read, later.written, later.written_long) == (counted.written, 0, 0)


def conversation(rounds: int, *, parallel: int = 1) -> dict[str, Any]:
    """Return a conversation with tools, marked at its end only."""
    messages = [user("Hello")]
    for at in range(rounds):
        ids = [f"{at}-{number}" for number in range(parallel)]
        messages += [assistant(*map(call, ids)), user(*map(result, ids))]
    messages[-1]["content"][-1] |= MARK
    return {"system": LONG, "messages": messages}


def test_the_lookup_ends_after_20_positions(trial):
    """The tenth sequential round of a tool moves the mark out of reach, as Anthropic documents."""
    trial.count("cache/anthropic", conversation(0))
    assert trial.count("cache/anthropic", conversation(9), begins=False).read > 1900
    assert trial.count("cache/anthropic", conversation(10), begins=False).read == 0


def test_parallel_calls_are_one_position_and_so_are_their_results(trial):
    trial.count("cache/anthropic", conversation(0))
    assert trial.count("cache/anthropic", conversation(1, parallel=40)).read > 1900


def test_a_mark_within_reach_reads_even_if_the_last_one_does_not(trial):
    """The end of the instructions is marked in every turn."""
    trial.count("cache/anthropic", request(user(text("Hello", **MARK))))
    far = conversation(12) | {"system": [text(LONG, **MARK)]}
    assert 1900 < trial.count("cache/anthropic", far).read < 2000


@pytest.mark.parametrize(("mark", "lifetime"), [(MARK, 300), (HOUR, 3600)])
def test_entries_live_from_the_start_of_the_last_request_that_used_them(trial, mark, lifetime):
    body = request(user("Hello"), system=[text(LONG, **mark)])
    trial.count("cache/anthropic", body)
    for _ in range(2):  # each use renews them
        trial.now += lifetime - 1
        assert trial.count("cache/anthropic", body).read > 1900
    trial.now += lifetime
    assert trial.count("cache/anthropic", body).read == 0


def test_entries_are_readable_once_the_response_begins(trial):
    body = request(user("Hello"))
    first = trial.count("cache/anthropic", body, begins=False)
    assert trial.count("cache/anthropic", body, begins=False).read == 0
    first.begin()
    assert trial.count("cache/anthropic", body, begins=False).read == first.written


def test_the_order_is_tools_system_messages(trial):
    tool = {"name": "ls", "description": LONG, "input_schema": {}, **MARK}
    body = request(user("Hello"), tools=[tool])
    trial.count("cache/anthropic", body)
    other_system = trial.count("cache/anthropic", body | {"system": [text("Other", **MARK)]})
    assert 1900 < other_system.read < 2100  # the tools alone
    changed = tool | {"description": f"{LONG}."}
    assert trial.count("cache/anthropic", body | {"tools": [changed]}).read == 0


@pytest.mark.parametrize(
    ("change", "readable"),
    [
        ({"tool_choice": {"type": "any"}}, "system"),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "system"),
        ({"output_config": {"effort": "low"}}, "system"),
        ({"speed": "fast"}, "tools"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, ""),
        ({"temperature": 0.5}, "messages"),
        ({"max_tokens": 7}, "messages"),
        ({"metadata": {"user_id": "u"}}, "messages"),
    ],
)
def test_settings_separate_caches_from_their_section_on(trial, change, readable):
    body = request(
        user(text(LONG, **MARK)), tools=[{"name": "ls", "description": LONG, "input_schema": {}, **MARK}]
    )  # fmt: skip
    whole = trial.count("cache/anthropic", body)
    read = trial.count("cache/anthropic", body | change).read
    assert {
        "": read == 0,
        "tools": 1900 < read < 2100,
        "system": 3800 < read < 4200,
        "messages": read == whole.written,
    }[readable]


def test_web_search_and_images_separate_caches(trial):
    tool = {"name": "ls", "description": LONG, "input_schema": {}, **MARK}
    body = request(user(text(LONG, **MARK)), tools=[tool])
    trial.count("cache/anthropic", body)
    search = {"type": "web_search_20250305", "name": "web_search"}
    assert 1900 < trial.count("cache/anthropic", body | {"tools": [tool, search]}).read < 2100
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    with_image = body | {"messages": [*body["messages"], user(image)]}
    assert 3800 < trial.count("cache/anthropic", with_image).read < 4200


@pytest.mark.parametrize("other", [{"x-api-key": "other"}, CREDENTIALS | {"anthropic-beta": "a-2026-01-01"}])
def test_workspaces_and_betas_separate_caches(trial, other):
    body = request(user("Hello"))
    trial.count("cache/anthropic", body)
    assert trial.count("cache/anthropic", body, headers=other).read == 0
    assert trial.count("cache/anthropic", body).read > 1900


def test_endpoints_separate_caches(trial):
    body = request(user("Hello"))
    trial.count("cache/anthropic", body, endpoint="gpu-1")
    assert trial.count("cache/anthropic", body, endpoint="gpu-2").read == 0
    assert trial.count("cache/anthropic", body, endpoint="gpu-1").read > 1900


def test_the_order_of_members_and_the_spelling_of_numbers_matter(trial):
    body = request(user(text("Hello", **MARK)), tools=[{"name": "a", "input_schema": {"b": 1, "c": 2}}])
    trial.count("cache/anthropic", body)
    respelled = [{"name": "a", "input_schema": {"c": 2, "b": 1}}]
    assert trial.count("cache/anthropic", body | {"tools": respelled}).read == 0
    assert (
        trial.count("cache/anthropic", body | {"tools": [{"name": "a", "input_schema": {"b": 1.0, "c": 2}}]}).read == 0
    )


def test_the_billing_line_deferred_tools_and_moved_marks_do_not_matter(trial):
    body = request(user("Hello"), assistant("Hi"), user(text("Bye", **MARK)))
    whole = trial.count("cache/anthropic", body)
    billed = [text("x-anthropic-billing-header: cc_version=2.1.0; cch=1234;"), *body["system"]]
    deferred = [{"name": "b", "input_schema": {}, "defer_loading": True}]
    assert trial.count("cache/anthropic", body | {"system": billed, "tools": deferred}).read == whole.written
    assert trial.count("cache/anthropic", body | {"system": [text(LONG)]}).read == whole.written


def test_a_text_is_one_block(trial):
    trial.count("cache/anthropic", {"system": LONG, "messages": [user("Hello")], **MARK})
    same = {"system": [text(LONG)], "messages": [{"role": "user", "content": "Hello"}], **MARK}
    assert trial.count("cache/anthropic", same).read > 1900


# Bedrock


def test_cache_points_are_marks(trial):
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    body = {"system": [{"text": LONG}, point], "messages": [{"role": "user", "content": [{"text": "Hello"}, point]}]}
    first = trial.count("cache/bedrock", body, "converse")
    assert first.written == first.written_long > 1900
    longer = {**body, "messages": [*body["messages"], {"role": "assistant", "content": [{"text": "Hi"}]},
                                   {"role": "user", "content": [{"text": "Bye"}, point]}]}  # fmt: skip
    assert trial.count("cache/bedrock", longer, "converse").read == first.written
    with pytest.raises(GatewayError, match="Found 6"):
        trial.count("cache/bedrock", body | {"system": [{"text": LONG}, point] * 5}, "converse")


def test_a_signature_of_aws_does_not_separate_caches_but_its_account_and_region_do(trial):
    body = {"system": [{"text": LONG}, {"cachePoint": {"type": "default"}}], "messages": []}

    def read(key: str, region: str, signature: str) -> int:
        signed = f"AWS4-HMAC-SHA256 Credential={key}/20261123/{region}/bedrock/aws4_request, Signature={signature}"
        return trial.count("cache/bedrock", body, "converse", {"authorization": signed}).read

    assert read("AKIA1", "us-east-1", "aa") == 0
    assert read("AKIA1", "us-east-1", "bb") > 1900
    assert read("AKIA1", "eu-west-1", "bb") == 0
    assert read("AKIA2", "us-east-1", "bb") == 0


def test_a_cache_that_loses_its_entries(trial):
    body = request(user("Hello"))
    assert [trial.count("cache/anthropic/evict", body).read for _ in range(3)] == [0, 0, 0]
    read = [trial.count("cache/anthropic/evict-3", body).read > 0 for _ in range(7)]
    assert read == [False, True, False, True, True, False, True]


# Names and bounds


@each_row("name", [*cache_descriptions(), "cache/anthropic/evict", "cache/openai-5.6-64/silent",
                                  "cache/blocks/429", "cache/openai/529-then-ok", "openai",
                                  "bedrock/silent"])  # fmt: skip
def test_names_select_a_cache(name):
    assert cache_model(name).rule in RULES.values()


@each_row("name", ["mock-small", "openai-", "gpt-5.6", "anthropic/claude-sonnet-4-6", "fault/429"])
def test_other_names_select_none(name):
    assert cache_model(name) is None


@each_row("name", ["cache/", "cache/gemini", "cache/openai/nothing", "cache/anthropic/evict-0"])
def test_an_unknown_cache_is_a_404_that_lists_the_known_ones(name):
    with pytest.raises(GatewayError, match="use one of cache/anthropic, cache/openai") as raised:
        cache_model(name)
    assert raised.value.info.status == 404


def test_a_name_of_a_real_model_can_use_a_cache(trial):
    trial.caches.use_for({"claude-sonnet-4-6": "cache/anthropic"})
    body = request(user("Hello"))
    trial.count("claude-sonnet-4-6", body)
    assert trial.count("claude-sonnet-4-6", body).read > 1900
    assert trial.count("cache/anthropic", body).read == 0
    with pytest.raises(GatewayError, match="no model with a prompt cache"):
        trial.caches.use_for({"gpt-4o": "mock-small"})
    with pytest.raises(GatewayError, match="at most 100"):
        trial.caches.use_for({str(number): "cache/openai" for number in range(100)})


def test_the_memory_is_bounded_and_drops_the_end_of_a_prefix_first(trial, monkeypatch):
    monkeypatch.setattr(imitated_caches, "MAX_ENTRIES", 100)
    trial.count("cache/blocks", chat(("user", "x" * 64 * 150)), "chat")
    assert trial.caches.report()["entries"] == 100
    assert trial.count("cache/blocks", chat(("user", "x" * 64 * 150)), "chat").read == 1600


PROMPT_MEMBERS = (
    "messages", "input", "contents", "tools", "system", "toolConfig", "instructions", "system_instruction",
)  # fmt: skip


@pytest.mark.parametrize("api", APIS)
def test_strange_shapes_are_counted(trial, api):
    shapes = (None, 1, "x", [], [None, 1, "x", {}], [{"role": 1, "content": [None, 1, {}], "parts": 3}], {"tools": 1})
    for model in cache_descriptions():
        for shape in shapes:
            assert trial.count(model, dict.fromkeys(PROMPT_MEMBERS, shape), api).tokens >= 1
