"""Items of a bill besides tokens: tiers, calls of the provider's own tools, costs, and steps.

Whole answers and streams must agree.
"""

import itertools
import json
from typing import Any, TypeAlias

import attrs
import pytest

from providers.apis import CODECS
from providers.catalog.prices import FREE, Price, cost_of, has_tier_price, price_of, read_price
from providers.converse.wording import read_usage as read_converse_usage
from providers.gemini.usage import Counts as GeminiCounts
from providers.messages.usage import Counts as MessagesCounts
from providers.neutral.token_usage import MOST_TOKENS, NEWER, read_tokens
from providers.neutral.token_usage import OLDER as OLDER_WORDS
from streams.errors import GatewayError
from streams.event_stream import EXCEPTION
from streams.events import Api, ErrorInfo, Event, Usage, UsageStep
from streams.fold import fold
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.lanes import reply_for

CHAT = {
    "id": "c", "object": "chat.completion", "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}, "finish_reason": "stop"}],
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m",
    "content": [{"type": "text", "text": "Hi."}], "stop_reason": "end_turn", "stop_sequence": None,
}  # fmt: skip
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
        "content": [{"type": "output_text", "text": "Hi.", "annotations": []}]}  # fmt: skip
RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "status": "completed"}

COUNTS: dict[Api, dict[str, Any]] = {
    "chat": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    "messages": {"input_tokens": 5, "output_tokens": 2},
    "responses": {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7},
}


Named: TypeAlias = tuple[str, dict[str, Any]]
"""An event's name and its data."""


def whole(api: Api, usage: dict[str, Any], output: list[Any], more: dict[str, Any]) -> bytes:
    bodies = {"chat": CHAT, "messages": MESSAGE, "responses": RESPONSE | {"output": [*output, SAID]}}
    return json.dumps({**bodies[api], **more, "usage": COUNTS[api] | usage}).encode()


def events_with(api: Api, usage: dict[str, Any], output: list[Any], more: dict[str, Any]) -> list[Named]:
    counts = COUNTS[api] | usage
    if api == "chat":
        head = {"id": "c", "object": "chat.completion.chunk", "model": "m"}
        said = {"index": 0, "delta": {"content": "Hi."}, "finish_reason": None}
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        return [("", {**head, **more, "choices": [said]}), ("", {**head, **more, "choices": [end]}),
                ("", {**head, **more, "choices": [], "usage": counts})]  # fmt: skip
    if api == "messages":
        first = {name: counts[name] for name in ("service_tier", "speed", "inference_geo") if name in counts}
        last = {name: count for name, count in counts.items() if name not in first}
        start = MESSAGE | {"content": [], "stop_reason": None, "usage": {"input_tokens": 5, "output_tokens": 1} | first}
        events = [
            {"type": "message_start", "message": start},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "Hi."}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": last},
            {"type": "message_stop"},
        ]
        return [(str(event["type"]), event) for event in events]
    done = [{"type": "response.output_item.done", "output_index": i, "item": item} for i, item in enumerate(output)]
    begun = RESPONSE | {"status": "in_progress", "output": [], "service_tier": "auto"}
    # A terminal event without its output, as Codex' own backend sends it.
    ended = {**RESPONSE, **more, "output": [], "usage": counts}
    events = [{"type": "response.created", "response": begun}, *done, {"type": "response.completed", "response": ended}]
    return [(str(event["type"]), event) for event in events]


def usage_of(events: list[Event]) -> Usage:
    return [event for event in events if isinstance(event, Usage)][-1]


def read_usage(api: Api, usage: dict[str, Any], *output: Any, **more: Any) -> Usage:
    """Read ``usage`` from a whole answer and from a stream, which must agree."""
    in_one = usage_of([*CODECS[api].read_answer(whole(api, usage, list(output), more))])
    reader = CODECS[api].reader()
    events: list[Event] = []
    for name, data in events_with(api, usage, list(output), more):
        events += reader.read_event(name, json.dumps(data).encode())
    in_pieces = usage_of([*events, *reader.close()])
    assert parts(in_one) == parts(in_pieces)
    return in_one


def parts(usage: Usage) -> tuple[Any, ...]:
    return (usage, usage.tier, usage.calls, usage.reported_nanos, usage.steps)


# Tiers


@each_row("tier", ["default", "flex", "priority", "on_demand"])
def test_the_tier_that_was_used_is_part_of_the_usage(tier) -> None:
    """The bill follows the tier in the answer, not the requested one (BerriAI/litellm#18599)."""
    assert read_usage("chat", {}, service_tier=tier).tier == tier
    assert read_usage("responses", {}, service_tier=tier).tier == tier


def test_mistrals_tier_is_in_its_usage() -> None:
    assert read_usage("chat", {"service_tier": "standard"}).tier == "standard"


def test_price_modifiers_of_messages_are_part_of_the_tier() -> None:
    """Fast mode and inference in one country have prices of their own (platform.claude.com, Pricing)."""
    for said, tier in [
        ({"service_tier": "standard", "inference_geo": "global"}, "standard"),
        ({"service_tier": "standard", "inference_geo": "not_available"}, "standard"),
        ({"service_tier": "batch"}, "batch"),
        ({"service_tier": "standard", "speed": "standard"}, "standard"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"service_tier": "standard", "inference_geo": "us"}, "us"),
        ({"service_tier": "standard", "speed": "fast", "inference_geo": "us"}, "fast us"),
        ({}, None),
    ]:
        with case((said, tier)):
            assert read_usage("messages", said).tier == tier


@each_row("tier", [None, "", 7, []])
def test_a_tier_other_than_text_is_ignored(tier) -> None:
    assert read_usage("chat", {}, service_tier=tier).tier is None
    assert read_usage("messages", {"service_tier": tier}).tier is None
    assert read_usage("responses", {}, service_tier=tier).tier is None


# The provider's own tools


def test_searches_and_fetches_are_counted() -> None:
    """Messages of anthropics/anthropic-sdk-python ``ServerToolUsage``; the same words of OpenRouter's."""
    used = {"web_search_requests": 3, "web_fetch_requests": 1, "code_execution_requests": 0}
    assert read_usage("messages", {"server_tool_use": used}).calls == (("web_search", 3), ("web_fetch", 1))
    details = {"web_search_requests": 1, "tool_calls_requested": 2, "tool_calls_executed": 2}
    assert read_usage("chat", {"server_tool_use_details": details}).calls == (("web_search", 1),)
    assert read_usage("chat", {"server_tool_use": {"web_search_requests": 2}}).calls == (("web_search", 2),)


def item(type: str, id: str, **more: Any) -> dict[str, Any]:
    return {"type": type, "id": id, "status": "completed", **more}


def test_items_of_hosted_tools_are_counted() -> None:
    """One of them is a call. A page that is opened is none: searches alone are billed (platform.openai.com, web
    search). Tools that the client runs, and those that cost nothing, are left out."""
    used = read_usage(
        "responses", {},
        item("web_search_call", "ws_1", action={"type": "search", "query": "a"}),
        item("web_search_call", "ws_2", action={"type": "open_page", "url": "https://a.example"}),
        item("web_search_call", "ws_3", action={"type": "search", "query": "b"}),
        item("file_search_call", "fs_1", queries=["a"]),
        item("image_generation_call", "ig_1", result=""),
        item("mcp_call", "mcp_1", name="a", arguments="{}", server_label="a"),
        item("shell_call", "sh_1", call_id="c", environment={"type": "local"}, action={"commands": ["ls"]}),
    )  # fmt: skip
    assert dict(used.calls) == {"web_search": 2, "file_search": 1, "image_generation": 1}


@each_row("model, text, audio", [
    ("gpt-4o-audio-preview", (2.5, 10), (40, 80)), ("gpt-4o-audio-preview-2025-06-03", (2.5, 10), (40, 80)),
    ("gpt-4o-mini-audio-preview", (0.15, 0.6), (10, 20)), ("gpt-audio", (2.5, 10), (32, 64)),
])  # fmt: skip
def test_sounds_of_openais_audio_models_have_their_own_prices(model, text, audio) -> None:
    """They cost as much as text, an eighth of their price or less (developers.openai.com, GPT-4o Audio and GPT-4o
    Mini Audio; langwatch/langwatch#7036)."""
    used = read_usage("chat", {
        "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150,
        "prompt_tokens_details": {"text_tokens": 40, "audio_tokens": 60},
        "completion_tokens_details": {"text_tokens": 20, "audio_tokens": 30},
    })  # fmt: skip
    expected = 40 * text[0] + 60 * audio[0] + 20 * text[1] + 30 * audio[1]
    assert nanos_of("openai", model, used) == round(expected * 1000)


def test_the_first_audio_model_keeps_an_estimate() -> None:
    """Sources differ about the price of its sounds (simonw/llm#677, BerriAI/litellm#19500)."""
    used = read_usage("chat", {"prompt_tokens_details": {"audio_tokens": 5}})
    assert cost_of(price_of("openai", "gpt-4o-audio-preview-2024-10-01"), used).grade == "estimated"


@each_row("model, fee, tokens", [
    ("gpt-4o-search-preview", 25_000_000, 5 * 2500 + 2 * 10_000),
    ("gpt-4o-search-preview-2025-03-11", 25_000_000, 5 * 2500 + 2 * 10_000),
    ("gpt-4o-mini-search-preview", 25_000_000, 5 * 150 + 2 * 600),
    ("gpt-5-search-api", 10_000_000, 5 * 1250 + 2 * 10_000),
    ("gpt-5-search-api-2025-10-14", 10_000_000, 5 * 1250 + 2 * 10_000),
])  # fmt: skip
def test_a_search_model_costs_at_least_one_search(model, fee, tokens) -> None:
    """Each request of these models searches, but Chat reports no calls, so the cost was too low and called exact
    (developers.openai.com, Web search; community.openai.com/t/search-web-using-openai-api/1363698)."""
    cost = cost_of(price_of("openai", model), read_usage("chat", {}))
    assert (cost.nanos, cost.grade) == (fee + tokens, "at_least")
    used = read_usage("responses", {}, item("web_search_call", "ws_1", action={"type": "search", "query": "a"}))
    cost = cost_of(price_of("openai", model), used)
    assert (cost.nanos, cost.grade) == (fee + tokens, "exact")
    own = read_price({"input": 1, "output": 1}, "config")
    assert cost_of(own, read_usage("chat", {})).nanos == 7000


def test_a_container_is_counted_once_however_often_it_is_used() -> None:
    """A session is billed, not a call (platform.openai.com, Pricing)."""
    here = {"type": "container_reference", "container_id": "cntr_2"}
    used = read_usage(
        "responses", {},
        item("code_interpreter_call", "ci_1", container_id="cntr_1", code="1"),
        item("code_interpreter_call", "ci_2", container_id="cntr_1", code="2"),
        item("code_interpreter_call", "ci_3", container_id="cntr_2", code="3"),
        item("shell_call", "sh_1", call_id="c", environment=here, action={"commands": ["ls"]}),
    )  # fmt: skip
    assert used.calls == (("code_interpreter", 2),)


def test_the_number_that_the_provider_states_outranks_the_items() -> None:
    search = item("web_search_call", "ws_1", action={"type": "search", "query": "a"})
    stated = {"image_gen": {"total_tokens": 0}, "web_search": {"num_requests": 3}}
    assert read_usage("responses", {}, search, tool_usage=stated).calls == (("web_search", 3),)
    details = {"web_search_calls": 0, "x_search_calls": 2, "mcp_calls": 0}
    assert read_usage("responses", {"server_side_tool_usage_details": details}, search).calls == (("x_search", 2),)


def test_searches_are_counted_without_their_items() -> None:
    """Source: ``ToolUsageWebSearch`` of the openai package."""
    stated = {"image_gen": {"total_tokens": 0}, "web_search": {"num_requests": 2}}
    assert read_usage("responses", {}, tool_usage=stated).calls == (("web_search", 2),)
    assert read_usage("responses", {}, tool_usage={"web_search": {"num_requests": 0}}).calls == ()
    for odd in (None, 7, {"web_search": None}, {"web_search": {"num_requests": "2"}}):
        assert read_usage("responses", {}, tool_usage=odd).calls == ()


@each_row("api", ["chat", "responses"])
def test_cache_writes_are_billed_by_lifetime(api: str) -> None:
    """Source: ``InputTokensDetailsCacheWriteTokensDetails`` of the openai package."""
    words = ("prompt_tokens", "completion_tokens") if api == "chat" else ("input_tokens", "output_tokens")
    lifetimes = {"ttl_30m_tokens": 100, "ttl_12h_tokens": 300}
    details = {"cached_tokens": 0, "cache_write_tokens": 400, "cache_write_tokens_details": lifetimes}
    usage: dict[str, Any] = {words[0]: 1000, words[1]: 0, "total_tokens": 1000, f"{words[0]}_details": details}
    used = read_usage(api, usage)
    assert (used.cache_write, used.cache_write_5m, used.cache_write_1h) == (400, 100, 300)
    listed = read_price({"input": 4, "output": 20, "cache_write": 5, "cache_write_1h": 8}, "catalogue")
    assert (cost_of(listed, used).nanos, cost_of(listed, used).grade) == (600 * 4000 + 100 * 5000 + 300 * 8000, "exact")
    unlisted = read_price({"input": 4, "output": 20, "cache_write": 5}, "catalogue")
    assert (cost_of(unlisted, used).nanos, cost_of(unlisted, used).grade) == (600 * 4000 + 400 * 5000, "estimated")
    for wrong in ({}, None, {**lifetimes, "ttl_30m_tokens": 0}):
        found = read_usage(api, {**usage, f"{words[0]}_details": {**details, "cache_write_tokens_details": wrong}})
        assert (found.cache_write, found.cache_write_5m, found.cache_write_1h) == (400, None, None)


@each_row("name", ["cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens"])
def test_cache_writes_are_read_under_every_name(name) -> None:
    """Alibaba Cloud (BerriAI/litellm#40090) and LiteLLM (BerriAI/litellm#11364) have names of their own for them."""
    usage = {"prompt_tokens": 1000, "prompt_tokens_details": {"cached_tokens": 100, name: 700}}
    found = read_usage("chat", usage)
    assert (found.input, found.cache_read, found.cache_write) == (200, 100, 700)
    configured = read_price({"input": 1, "cached": 0.1, "cache_write": 1.25, "output": 2}, "config")
    assert cost_of(configured, found).nanos == 200 * 1000 + 100 * 100 + 700 * 1250 + 2 * 2000


def test_a_recording_in_a_conversation_does_not_count_as_output() -> None:
    """Mistral's total has the tokens of the recording, which its prompt has not (pydantic/genai-prices#591). It bills
    text by the token and the recording by its length (anomalyco/models.dev#3930)."""
    heard = {
        "prompt_tokens": 4, "completion_tokens": 635, "total_tokens": 3264, "prompt_audio_seconds": 203,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 2625},
    }  # fmt: skip
    usage = read_usage("chat", heard)
    assert (usage.input, usage.output, usage.units) == (4, 635, (("second", 203),))
    assert nanos_of("mistral", "voxtral-small-latest", usage) == 4 * 100 + 635 * 400 + 13_533_334
    for seconds in (None, 0, {}, "9", -1):
        with case(seconds):
            counted = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 9, "prompt_audio_seconds": seconds}
            usage = read_usage("chat", counted)
            assert (usage.output, usage.units) == (5, ())


@each_row("seconds, billed", [(1, 10), (9, 10), (10, 10), (11, 11), (3600, 3600), (0, 0)])
def test_groq_bills_recordings_for_ten_seconds_or_more(seconds, billed) -> None:
    """Short recordings cost up to a tenth of their price (console.groq.com, Speech to Text;
    pydantic/genai-prices#578)."""
    for model, second in [("whisper-large-v3", 30_833_333_333), ("whisper-large-v3-turbo", 11_111_111_111)]:
        price = price_of("groq", model)
        assert price is not None
        cost = cost_of(price, Usage(units=(("second", seconds),)))
        assert cost.nanos == -(-billed * second // 10**6)
        batch = cost_of(price, Usage(units=(("second", seconds),), tier="batch"))
        assert cost.nanos // 2 <= batch.nanos <= cost.nanos // 2 + 1
    own = read_price({"per": {"second": 0.00003}}, "config")
    assert cost_of(own, Usage(units=(("second", 1),))).nanos == 30_000


# Costs that the provider states


def test_a_cost_that_the_provider_states_is_read() -> None:
    for usage, nanos in [
        ({"cost": 0.000996}, 996_000),  # OpenRouter, in dollars
        ({"cost": 0.0076509169000000005}, 7_650_917),
        ({"cost": 0}, 0),
        ({"cost": 0.05, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.05}}, 50_000_000),
        # With a key of one's own, `cost` is OpenRouter's fee, and the other provider sends a bill for the rest
        # (openrouter.ai, Usage Accounting). Otherwise `cost` includes it.
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": 1}}, 1_050_000_000),
        ({"cost": 0.05, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": {"input_tokens_cost": 1e-05, "request_cost": 0.005, "total_cost": 0.00501}}, 5_010_000),  # Perplexity
        ({"cost_in_usd_ticks": 37756000}, 3_775_600),  # xAI: ten thousand million of them are a dollar
        ({"cost_in_usd_ticks": 123456}, 12_346),
        ({"estimated_cost": 2.68e-05}, 26_800),  # DeepInfra
        ({"cost": None}, None), ({"cost": "0.05"}, None), ({"cost": True}, None), ({"cost": -1}, None),
        ({"cost": 1e300}, None), ({"cost": {}}, None), ({"cost_in_usd_ticks": None}, None), ({}, None),
    ]:  # fmt: skip
        with case((usage, nanos)):
            for api in OLDER:
                assert read_usage(api, usage).reported_nanos == nanos


def test_a_running_cost_is_ignored() -> None:
    """Perplexity's running usage has a cost of 0 until the last chunk, which an interrupted stream lacks."""
    reader = CODECS["chat"].reader()
    chunk = {
        "id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hi."}, "finish_reason": None}],
        "usage": COUNTS["chat"] | {"cost": {"total_cost": 0}},
    }  # fmt: skip
    reader.read_event("", json.dumps(chunk).encode())
    assert parts(usage_of([*reader.close()]))[3] is None


# Steps


def step(type: str, input: int, output: int, **more: Any) -> dict[str, Any]:
    written = more.pop("written", 0)
    return {
        "type": type, "input_tokens": input, "output_tokens": output, "cache_read_input_tokens": more.pop("read", 0),
        "cache_creation_input_tokens": written,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": written}, **more,
    }  # fmt: skip


def test_every_step_is_reported_with_its_kind() -> None:
    """The counts of the answer leave out compaction and advisors, which are billed like all else
    (pydantic/pydantic-ai, anthropics/anthropic-sdk-python ``BetaUsage.iterations``)."""
    used = read_usage(
        "messages",
        {
            "input_tokens": 181, "output_tokens": 8, "service_tier": "batch",
            "iterations": [
                step("compaction", 100, 83, read=55096),
                step("advisor_message", 2543, 18, model="claude-opus-4-8", written=9),
                step("message", 181, 8),
            ],
        },
    )  # fmt: skip
    assert (used.input, used.output) == (181, 8)
    assert used.steps == (
        UsageStep("compaction", None, Usage(100, cache_read=55096, cache_write_5m=0, cache_write_1h=0, output=83)),
        UsageStep("advisor_message", "claude-opus-4-8", Usage(2543, 0, 9, 0, 9, 18)),
        UsageStep("message", None, Usage(181, 0, 0, 0, 0, 8)),
    )
    assert [one.usage.tier for one in used.steps] == ["batch"] * 3


def test_the_only_step_of_an_answer_is_the_answer() -> None:
    assert read_usage("messages", {"iterations": [step("message", 5, 2)]}).steps == ()
    served = read_usage("messages", {"iterations": [step("fallback_message", 5, 2, model="claude-opus-4-8")]})
    assert [one.model for one in served.steps] == ["claude-opus-4-8"]


@each_row("steps", [None, [], {}, "no", [7], [{}, "no"]])
def test_malformed_steps_are_ignored(steps) -> None:
    used = read_usage("messages", {"iterations": steps})
    assert parts(used) == (Usage(5, output=2), None, (), None, ())


def test_an_answer_lists_a_limited_number_of_steps() -> None:
    with pytest.raises(GatewayError, match="too many steps"):
        read_usage("messages", {"iterations": [step("message", 1, 1)] * 5000})


def test_tokens_of_all_steps_are_summed() -> None:
    """A limit counts them all, though the answer's own counts leave some out."""
    used = read_usage(
        "messages", {"iterations": [step("compaction", 100, 83, read=55096), step("message", 5, 2, written=7)]}
    )
    taken = used.with_all_steps
    assert (taken.input, taken.cache_read, taken.cache_write, taken.output) == (105, 55096, 7, 85)
    plain = Usage(input=3)
    assert plain.with_all_steps is plain


def test_a_cost_in_message_start_is_ignored() -> None:
    reader = CODECS["messages"].reader()
    start = {"type": "message_start", "message": MESSAGE | {"content": [], "usage": {"input_tokens": 5, "cost": 0}}}
    (_, usage) = reader.read_event("message_start", json.dumps(start).encode())
    assert isinstance(usage, Usage)
    assert usage.reported_nanos is None


# The usage that clients receive


@each_row("stream, source", itertools.product([True, False], ["chat", "responses"]))
def test_a_responses_client_receives_the_service_tier_that_was_used(stream, source) -> None:
    """Programs calculate their costs from it, so it is not the requested tier."""
    assert response_object(source, "flex", stream=stream)["service_tier"] == "flex"
    assert response_object(source, "on_demand", stream=stream)["service_tier"] == "auto", (
        "which its API has no word for"
    )


def response_object(source: Api, tier: str, *, stream: bool) -> dict[str, Any]:
    """Return the response object for an answer of ``source``."""
    events = CODECS[source].read_answer(whole(source, {}, [], {"service_tier": tier}))
    reply = reply_for("responses")
    if not stream:
        return dict(json.loads(CODECS["responses"].write_answer(fold(events), reply)))
    writer = CODECS["responses"].writer(reply)
    data = b"".join(map(writer.send, events))
    return dict(json.loads(data.rstrip().rpartition(b"data: ")[2])["response"])


@each_row("api, number", itertools.product(OLDER, [10**30, 1e300, -(10**30), -1e300]))
def test_token_counts_are_limited_to_database_integers(api: Api, number: float) -> None:
    # One such answer would stop the counters and the ledger of everybody.
    counts = dict.fromkeys(
        ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "cache_read_input_tokens"), number
    )
    step = {"type": "message", "model": "m", **counts}
    more = {"iterations": [step] * 1000, "server_tool_use": {"web_search_requests": number}}
    usage = usage_of([*CODECS[api].read_answer(whole(api, counts | more, [], {}))])
    tokens = usage.with_all_steps
    assert all(0 <= one <= 1000 * MOST_TOKENS for one in (tokens.input, tokens.cache_read, tokens.output))
    assert all(0 < times <= 10**6 for _, times in usage.calls)
    dear = Price(600 * 10**9, 600 * 10**9, fees=(("web_search", 10**8),))
    assert 0 <= cost_of(dear, usage).nanos < 2**63


def test_no_count_of_cached_tokens_differs_from_zero() -> None:
    """Some servers never count them, although they may have a cache (NousResearch/hermes-agent#68818)."""
    for api, usage, reported in [
        ("chat", {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 0}}, True),
        ("chat", {"prompt_tokens": 9, "prompt_tokens_details": {"audio_tokens": 0}}, False),
        ("chat", {"prompt_tokens": 9, "prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 9}, True),
        ("chat", {"prompt_tokens": 9, "cached_tokens": 0}, True),
        ("chat", {"prompt_tokens": 9}, False),
        ("responses", {"input_tokens": 9, "input_tokens_details": {"cached_tokens": 0}}, True),
        ("responses", {"input_tokens": 9, "input_tokens_details": None}, False),
        ("messages", {"input_tokens": 9, "cache_read_input_tokens": 0}, True),
        ("messages", {"input_tokens": 9, "output_tokens": 1}, False),
        ("gemini", {"promptTokenCount": 9, "cachedContentTokenCount": 0}, True),
        ("gemini", {"promptTokenCount": 9}, False),
        ("converse", {"inputTokens": 9, "cacheReadInputTokens": 0}, True),
        ("converse", {"inputTokens": 9}, False),
    ]:
        with case((api, usage, reported)):
            found = _read_counts(api, usage)
            assert (found.cache_read, found.reports_cache_read) == (0, reported)


def _read_counts(api: str, usage: dict[str, Any]) -> Usage | None:
    if api in ("chat", "responses"):
        return read_tokens(usage, OLDER_WORDS if api == "chat" else NEWER)
    if api == "converse":
        return read_converse_usage({"usage": usage})
    counts = MessagesCounts() if api == "messages" else GeminiCounts()
    counts.add(usage)
    return counts.usage()


def test_a_later_count_without_cached_tokens_does_not_report_them() -> None:
    counts = MessagesCounts()
    counts.add({"input_tokens": 5}, begun=True)
    counts.add({"input_tokens": 7, "output_tokens": 2})
    found = counts.usage()
    assert (found.input, found.reports_cache_read) == (7, False)


FAILING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "chat": [
        ("", {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}),
        ("", {"error": {"message": "overloaded"}, "usage": {"prompt_tokens": 5, "completion_tokens": 7}}),
    ],
    "messages": [
        ("message_start", {"type": "message_start", "message": {"usage": {"input_tokens": 5, "output_tokens": 1}}}),
        ("message_delta", {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}}),
        ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}),
    ],
    "responses": [
        ("response.created", {"type": "response.created", "response": {"status": "in_progress"}}),
        ("response.failed", {"type": "response.failed", "response": {
            "status": "failed", "error": {"message": "overloaded"}, "usage": {"input_tokens": 5, "output_tokens": 7},
        }}),
    ],
    "chat, after the word of a failure": [
        ("", {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}),
        ("", {"choices": [{"index": 0, "delta": {}, "finish_reason": "network_error"}]}),
        ("", {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}),
    ],
    "responses, OpenAI's own": [
        ("response.created", {"type": "response.created", "response": {"status": "in_progress"}}),
        ("error", {"type": "error", "error": {"message": "overloaded"}}),
        ("response.failed", {"type": "response.failed", "response": {
            "status": "failed", "error": {"message": "overloaded"}, "usage": {"input_tokens": 5, "output_tokens": 7},
        }}),
    ],
    "gemini": [
        ("", {"candidates": [{"content": {"parts": [{"text": "Hi"}]}}],
              "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 7}}),
        ("", {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
    ],
    "converse": [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
        ("metadata", {"usage": {"inputTokens": 5, "outputTokens": 7}}),
        (EXCEPTION, {"modelStreamErrorException": {"message": "overloaded"}}),
    ],
    "interactions": [
        ("interaction.created", {"event_type": "interaction.created", "interaction": {"id": "v1_a"}}),
        ("step.stop", {"event_type": "step.stop", "index": 0,
                       "usage": {"total_input_tokens": 5, "total_output_tokens": 7}}),
        ("error", {"event_type": "error", "error": {"message": "overloaded"}}),
    ],
}  # fmt: skip


@each_row("api", FAILING)
def test_usage_before_the_failure_of_a_stream_is_billed(api) -> None:
    """It was lost in Messages, Converse and errors of Chat; the ledger then had an estimate of what had arrived."""
    reader = CODECS[api.partition(",")[0]].reader()
    events = [event for name, value in FAILING[api] for event in reader.read_event(name, json.dumps(value).encode())]
    assert isinstance(events[-1], ErrorInfo)
    usages = [*(event for event in events if isinstance(event, Usage)), reader.unsent_usage()]
    assert [usage for usage in usages if usage is not None][-1] == Usage(input=5, output=7)
    assert [*reader.close()] == []


# Google's answers


def count_gemini(*metadata: dict[str, Any]) -> Usage:
    counts = GeminiCounts()
    for one in metadata:
        counts.add(one)
    found = counts.usage()
    assert found is not None
    return found


def nanos_of(provider: str, model: str, usage: Usage) -> int:
    """Return the cost by the price list, which must be exact."""
    cost = cost_of(price_of(provider, model), usage)
    assert cost.grade == "exact"
    return cost.nanos


def test_audio_and_made_images_of_gemini_have_their_own_prices() -> None:
    """Audio input cost as much as text, and images a twelfth of their price (BerriAI/litellm#9535,
    pydantic/genai-prices#141, pydantic/genai-prices#177)."""
    heard = {
        "promptTokenCount": 1000, "cachedContentTokenCount": 300, "candidatesTokenCount": 10, "totalTokenCount": 1010,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 200}, {"modality": "AUDIO", "tokenCount": 800}],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 300}],
    }  # fmt: skip
    usage = count_gemini(heard)
    assert dict(usage.units) == {"input_audio_token": 500, "cached_audio_token": 300}
    assert nanos_of("gemini", "gemini-2.5-flash", usage) == 200 * 300 + 500 * 1000 + 300 * 100 + 10 * 2500
    made = {
        "promptTokenCount": 1000, "candidatesTokenCount": 1300, "totalTokenCount": 2300,
        "promptTokensDetails": [{"modality": "IMAGE", "tokenCount": 900}],  # an input image costs as much as text
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
    }  # fmt: skip
    usage = count_gemini(made, {"totalTokenCount": 2300})
    assert usage.units == (("output_image_token", 1290),)
    assert nanos_of("gemini", "gemini-2.5-flash-image", usage) == 1000 * 300 + 10 * 2500 + 1290 * 30_000


@each_row("details", [None, {}, 7, "AUDIO", [7, None], [{"modality": 7, "tokenCount": "9"}], [{"modality": "AUDIO"}]])
def test_malformed_modalities_of_gemini_are_ignored(details) -> None:
    named = ("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails")
    usage = count_gemini({"promptTokenCount": 5, "candidatesTokenCount": 2, **dict.fromkeys(named, details)})
    assert (usage.input, usage.output, usage.units) == (5, 2, ())


def test_thoughts_among_the_candidates_are_counted_once() -> None:
    """In some answers the total has no thoughts besides the candidates (simonw/llm-gemini#75, which cites
    BerriAI/litellm#10141)."""
    for thoughts, candidates, total, output in [(40, 100, 110, 100), (40, 100, 150, 140), (40, 20, 30, 60)]:
        with case((thoughts, candidates, total)):
            counted = {"thoughtsTokenCount": thoughts, "candidatesTokenCount": candidates, "totalTokenCount": total}
            usage = count_gemini({"promptTokenCount": 10, **counted})
            assert (usage.output, usage.reasoning) == (output, thoughts)


@each_row("traffic, tier", [
    ("ON_DEMAND_PRIORITY", "priority"), ("ON_DEMAND_FLEX", "flex"), ("ON_DEMAND", None),
    ("PROVISIONED_THROUGHPUT", "provisioned_throughput"), (None, None), (7, None),
])  # fmt: skip
def test_vertex_reports_the_tier_as_the_type_of_traffic(traffic, tier) -> None:
    """Its flex requests cost the full price elsewhere (BerriAI/litellm#37647, googleapis/python-genai#2847)."""
    assert count_gemini({"promptTokenCount": 5, "trafficType": traffic}, {"candidatesTokenCount": 2}).tier == tier
    both = {"promptTokenCount": 5, "trafficType": traffic, "serviceTier": "standard"}
    assert count_gemini(both).tier == "standard"


PLACE, PAGE = {"maps": {"uri": "https://m.example", "placeId": "p"}}, {"web": {"uri": "https://w.example"}}


@each_row("model, chunks, queries, calls, fees, grade", [
    ("gemini-2.5-flash", [PLACE, PLACE], [], {"google_maps": 1}, 25_000_000, "exact"),
    ("gemini-2.5-flash", [PLACE], ["coffee"], {"google_maps": 1}, 25_000_000, "exact"),
    ("gemini-2.5-flash", [PLACE, PAGE], ["a", "b"], {"web_search": 1, "google_maps": 1}, 60_000_000, "exact"),
    ("gemini-2.5-flash", [PAGE], ["a", "b"], {"web_search": 1}, 35_000_000, "exact"),
    ("gemini-3-flash-preview", [PLACE], ["a", "b"], {"web_search": 2}, 28_000_000, "exact"),
    ("gemini-3-flash-preview", [PLACE], [], {"google_maps": 1}, 0, "at_least"),
    ("gemini-3-flash-preview", "odd", None, {}, 0, "exact"),
])  # fmt: skip
def test_answers_with_places_from_google_maps_have_a_fee(model, chunks, queries, calls, fees, grade) -> None:
    """It was missing from an exact cost, or that of Google Search (BerriAI/litellm#35965, BerriAI/litellm#38418).
    Gemini 2.5 pays for a grounded prompt, later models for each query, like a search."""
    grounding = {"groundingChunks": chunks, "webSearchQueries": queries}
    said = {"content": {"parts": [{"text": "Hi"}]}, "groundingMetadata": grounding, "finishReason": "STOP"}
    answer = {
        "candidates": [said],
        "usageMetadata": {"promptTokenCount": 1000, "totalTokenCount": 1000}, "modelVersion": model,
    }  # fmt: skip
    reader = CODECS["gemini"].reader()
    streamed = usage_of([*reader.read_event("", json.dumps(answer).encode()), *reader.close()])
    used = usage_of([*CODECS["gemini"].read_answer(json.dumps(answer).encode())])
    assert dict(streamed.calls) == dict(used.calls) == calls
    price = price_of("gemini", model)
    assert price is not None
    cost = cost_of(price, used)
    assert (cost.nanos - price.input // 1000, cost.grade) == (fees, grade)


def test_a_commitment_pays_for_provisioned_throughput() -> None:
    """Its tokens cost the list price, exact, although Google sends no bill for them (cloud.google.com, Provisioned
    Throughput; langchain-ai/langchainjs#11197). Requests beyond the commitment are ``ON_DEMAND``, and searches have
    their fee."""
    paid = count_gemini({"promptTokenCount": 500, "candidatesTokenCount": 20, "trafficType": "PROVISIONED_THROUGHPUT"})
    listed = price_of("vertex", "google/gemini-2.5-flash")
    assert listed is not None
    assert (cost_of(listed, paid).nanos, cost_of(listed, paid).grade) == (0, "subscription")
    assert has_tier_price(listed, "provisioned_throughput")
    beyond = count_gemini({"promptTokenCount": 500, "candidatesTokenCount": 20, "trafficType": "ON_DEMAND"})
    assert (cost_of(listed, beyond).nanos, cost_of(listed, beyond).grade) == (500 * 300 + 20 * 2500, "exact")
    searched = attrs.evolve(paid, calls=(("web_search", 1),))
    assert (cost_of(listed, searched).nanos, cost_of(listed, searched).grade) == (35_000_000, "exact")
    own = read_price({"input": 1, "output": 2}, "config")
    assert (cost_of(own, paid).nanos, cost_of(own, paid).grade) == (0, "subscription")
    shared = read_price({"input": 1, "output": 2, "tiers": {"provisioned_throughput": {"input": 0.5}}}, "config")
    assert (cost_of(shared, paid).nanos, cost_of(shared, paid).grade) == (500 * 500 + 20 * 2000, "exact")
    assert (cost_of(FREE, paid).nanos, cost_of(FREE, paid).grade) == (0, "exact")


@each_row("model, times", [
    ("gemini-2.5-pro", 1), ("google/gemini-2.0-flash-001", 1), ("gemini-3-flash-preview", 2), ("gemini-4-argon", 2),
    ("", 2),
])  # fmt: skip
def test_google_searches_are_billed_by_prompt_or_by_different_query(model, times) -> None:
    """Gemini 2 and older pay once for a grounded prompt, later models for each different query that is not empty
    (ai.google.dev, Grounding with Google Search; BerriAI/litellm#36377, BerriAI/litellm#17921)."""
    counts = GeminiCounts()
    counts.add({"promptTokenCount": 5, "candidatesTokenCount": 2})
    counts.record_searches(["", "a", "b", "a", 7, None], model)
    counts.record_searches(["b"], model)
    found = counts.usage()
    assert found.calls == (("web_search", times),)
    none = GeminiCounts()
    none.add({"promptTokenCount": 5, "candidatesTokenCount": 2})
    none.record_searches(["", None], model)
    assert (found := none.usage()) is not None
    assert found.calls == ()
