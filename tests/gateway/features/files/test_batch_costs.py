"""The costs of single result lines and of whole batches: each expected sum was calculated by hand."""

import json
from types import SimpleNamespace
from typing import Any

from gateway.config.model_entry import ModelEntry
from gateway.features.files.batch_costs import Booking, ResultLines, ended_batch, line_booking
from providers.catalog.prices import Cost, Price, cost_of, price_of, read_price
from streams.events import Usage
from tests.support.each_row import each_row
from tests.support.recordings import Recording, answers, content_of
from tests.support.repository import SHARED

ROW = {"input": 10, "output": 100, "cached": 1, "cache_write": 12, "cache_write_1h": 20, "tools": {"web_search": 0.01},
       "per": {"input_audio_token": 0.00004}}  # fmt: skip


def entry(model: str = "m", row: dict[str, Any] | None = ROW, provider: str = "openai", **more: Any) -> ModelEntry:
    price = None if row is None else read_price(row, "config")
    found: Any = SimpleNamespace(model=model, price=price, listed_as=provider, wildcard=model == "*", **more)
    return found


def result(body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": "a", "response": {"status_code": 200, "body": {"model": "m", **body}}, "error": None}


def chat(**usage: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "Hi \ud83d"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return result({"object": "chat.completion", "choices": choices, "usage": usage})


def message(usage: dict[str, Any]) -> dict[str, Any]:
    answer = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [],
              "stop_reason": "end_turn", "usage": usage}  # fmt: skip
    return {"custom_id": "a", "result": {"type": "succeeded", "message": answer}}


SEARCH = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}}

LINES: dict[str, tuple[dict[str, Any], int]] = {  # each line with its cost in millionths of a dollar
    "chat": (
        chat(prompt_tokens=1000, completion_tokens=100, total_tokens=1100,
             prompt_tokens_details={"cached_tokens": 600}, completion_tokens_details={"reasoning_tokens": 40}),
        (400 * 10 + 600 * 1 + 100 * 100) // 2,
    ),
    "chat, with sound": (
        chat(prompt_tokens=1000, completion_tokens=10, prompt_tokens_details={"audio_tokens": 900}),
        (100 * 10 + 900 * 40 + 10 * 100) // 2,
    ),
    "chat, written to a cache": (
        chat(prompt_tokens=1000, completion_tokens=10, prompt_tokens_details={"cache_write_tokens": 500}),
        (500 * 10 + 500 * 12 + 10 * 100) // 2,
    ),
    "chat, in a tier of its own": (
        result({"choices": [], "service_tier": "default", "usage": {"prompt_tokens": 1000, "completion_tokens": 10}}),
        (1000 * 10 + 10 * 100) // 2,
    ),
    "responses": (
        result({
            "object": "response", "id": "resp_1", "status": "completed", "output": [SEARCH, {**SEARCH, "id": "ws_2"}],
            "usage": {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 200}, "output_tokens": 50,
                      "output_tokens_details": {"reasoning_tokens": 10}, "total_tokens": 1050},
        }),
        (800 * 10 + 200 * 1 + 50 * 100) // 2 + 2 * 10_000,
    ),
    "embeddings": (
        result({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
                "usage": {"prompt_tokens": 500, "total_tokens": 500}}),
        500 * 10 // 2,
    ),
    "completions": (
        result({"object": "text_completion", "choices": [{"index": 0, "text": "Hi.", "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 50},
                          "total_tokens": 110}}),
        (50 * 10 + 50 * 1 + 10 * 100) // 2,
    ),
    "messages": (
        message({"input_tokens": 100, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 700,
                 "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 200},
                 "output_tokens": 40, "output_tokens_details": {"thinking_tokens": 30}, "service_tier": "batch",
                 "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1}}),
        (100 * 10 + 1000 * 1 + 500 * 12 + 200 * 20 + 40 * 100) // 2 + 3 * 10_000,
    ),
    "messages, in two steps": (
        message({"input_tokens": 1, "output_tokens": 2, "service_tier": "batch",
                 "iterations": [{"type": "compaction", "input_tokens": 100, "output_tokens": 10},
                                {"type": "message", "input_tokens": 40, "output_tokens": 20}]}),
        (140 * 10 + 30 * 100) // 2,
    ),
}  # fmt: skip


def bill(line: dict[str, Any], *entries: ModelEntry) -> Booking:
    found = line_booking(json.dumps({"custom_id": "a", **line}).encode(), entries or (entry(),))
    assert found is not None
    return found


@each_row("name", LINES)
def test_a_line_costs_half_of_its_tokens_and_all_of_its_tools(name):
    line, millionths = LINES[name]
    assert bill(line).cost == Cost(millionths * 1000, "exact")


def test_the_lines_of_a_file_are_added_up():
    results = ResultLines((entry(),))
    failed = {"custom_id": "x", "response": {"status_code": 400, "body": {"error": {"message": "no"}}}, "error": None}
    lines = [line for line, _ in LINES.values()] + [failed, {"custom_id": "y", "result": {"type": "expired"}}]
    file = b"\n".join(json.dumps(line).encode() for line in lines)
    for at in range(0, len(file), 1000):
        assert results.take(file[at : at + 1000]) == file[at : at + 1000]
    results.close()
    found = results.booking
    assert found.cost == Cost(sum(millionths for _, millionths in LINES.values()) * 1000, "exact")
    assert (found.usage.cache_write_5m, found.usage.cache_write_1h) == (500, 200)
    assert dict(found.usage.calls) == {"web_search": 5, "web_fetch": 1}
    assert results.usage == found.usage


def test_a_price_is_found_by_the_model_name_in_the_answers():
    line = result({"model": "gpt-5-2025-08-07", "usage": {"prompt_tokens": 1000, "completion_tokens": 0}})
    for entries, nanos in (
        ((entry("gpt-5"),), 5_000_000),
        ((entry("gpt", {"input": 1, "output": 1}), entry("*")), 5_000_000),
        ((entry("gpt", {"input": 1, "output": 1}), entry("n")), 625_000),  # the price list has 0.625 for batches
        ((entry("a-deployment"),), 5_000_000),
        ((entry("*", None),), 625_000),
    ):
        assert bill(line, *entries).cost == Cost(nanos, "exact")
    other = result({"model": "nobody's", "usage": {"prompt_tokens": 1000}})
    assert bill(other, entry("*", None)).cost is None
    results = ResultLines((entry("*", None),))
    results.take(json.dumps(line).encode() + b"\n" + json.dumps(other).encode())
    results.close()
    assert results.booking == Booking(Usage(input=2000), Cost(625_000, "at_least"))


def test_cache_writes_of_messages_batches_cost_more():
    usage = {"input_tokens": 0, "output_tokens": 0, "cache_creation_input_tokens": 3000,
             "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000}}  # fmt: skip
    found = bill(message(usage), entry("m", {"input": 10, "output": 100}, "anthropic"))
    assert found.cost == Cost((1000 * 12_500 + 2000 * 20_000) // 2, "exact")


def test_a_cost_stated_by_the_provider_is_not_halved():
    line = chat(prompt_tokens=1000, completion_tokens=1, cost_in_usd_ticks=50_000_000)
    assert bill(line, entry("*", None, "xai")).cost == Cost(5_000_000, "exact")


def bill_batch(usage: dict[str, Any] | None, *entries: ModelEntry, **more: Any) -> Any:
    body = {"id": "b", "status": "completed", "model": "m", "usage": usage, "output_file_id": "f", **more}
    return ended_batch(json.dumps(body).encode(), entries or (entry(),))


def test_a_batch_with_usage_is_billed_with_its_cached_tokens():
    usage = {"input_tokens": 10_000, "input_tokens_details": {"cached_tokens": 6000}, "output_tokens": 300,
             "output_tokens_details": {"reasoning_tokens": 100}, "total_tokens": 10_300}  # fmt: skip
    found = bill_batch(usage)
    assert found.booking.cost == Cost((4000 * 10 + 6000 * 1 + 300 * 100) * 1000 // 2, "exact")
    assert found.booking.usage == Usage(input=4000, cache_read=6000, output=300, reasoning=100)
    assert bill_batch(usage, status="in_progress") is None


def test_a_batch_may_have_more_tokens_than_one_answer():
    """Only 100 million of 500 million tokens were billed."""
    usage = {"input_tokens": 500_000_000, "input_tokens_details": {"cached_tokens": 200_000_000},
             "output_tokens": 400_000_000, "total_tokens": 900_000_000}  # fmt: skip
    found = bill_batch(usage)
    assert found.booking.cost == Cost((300 * 10 + 200 * 1 + 400 * 100) * 10**9 // 2, "exact")
    assert found.booking.usage == Usage(input=300_000_000, cache_read=200_000_000, output=400_000_000)
    hostile = bill_batch(dict.fromkeys(usage, 10**30))
    assert 0 < hostile.booking.cost.nanos < 2**60


def test_an_unpriced_sum_is_billed_by_its_lines():
    """Prompts above a limit cost more, each by its own length (Helicone/helicone#5766)."""
    long = entry("m", {**ROW, "above": {5000: {"input": 20}}})
    usage = {"input_tokens": 10_000, "output_tokens": 300}
    for entries, more, is_left in (
        ((long,), {}, True),
        ((long,), {"output_file_id": None}, False),
        ((entry("n"), entry("o")), {}, True),
        ((entry("*"),), {"model": None}, True),
        ((entry("n"),), {"model": None}, False),
        ((entry(),), {}, False),
    ):
        found = bill_batch(usage, *entries, **more)
        assert (found.booking is None) == is_left


RECORDED = [one for one in answers() if not one.streamed]


def test_recorded_answers_in_a_batch_cost_the_listed_batch_price():
    """The expected costs were calculated by hand from the recorded tokens and the price list."""
    counted = cached = 0
    for one in RECORDED:
        tokens = content_of(one).tokens
        if tokens is None:
            continue
        found = bill(_line(one), entry("*", ROW))
        used = found.usage
        if found.usage.calls or b'"iterations"' in one.body:
            continue
        by_hand = (
            (tokens.prompt - tokens.cache_read - tokens.cache_write) * 10_000 + tokens.cache_read * 1000
            + (tokens.cache_write - (used.cache_write_1h or 0)) * 12_000 + (used.cache_write_1h or 0) * 20_000
            + tokens.output * 100_000 + sum(number * 30_000 for unit, number in used.units if unit[:5] == "input")
        )  # fmt: skip
        assert found.cost.nanos == -(-by_hand // 2), one.name
        counted += 1
        cached += bool(tokens.cache_read or tokens.cache_write)
    assert counted > (50 if SHARED.exists() else 2)
    assert cached > (10 if SHARED.exists() else 0)


def _line(one: Recording) -> dict[str, Any]:
    body = json.loads(one.body)
    return {"result": {"message": body}} if one.api == "messages" else {"response": {"body": body}}


def test_a_price_without_a_batch_price_is_halved():
    price = read_price({**ROW, "above": {100: {"input": 20}}}, "config")
    assert price.half.above[0][1].input == 10_000 * 10**6
    assert dict(price.half.units) == {"input_audio_token": 20_000 * 10**6}
    assert price.half.fees == price.fees
    fast = cost_of(price, Usage(input=10, tier="batch fast"))
    assert fast == Cost(10 * 5000, "estimated")


def test_the_price_list_has_prices_for_batches():
    """Each line of Anthropic has the service tier `batch`: halving its price twice would bill a quarter."""
    usage = {"input_tokens": 1_000_000, "output_tokens": 0, "service_tier": "batch"}
    line = message(usage)
    line["result"]["message"]["model"] = "claude-sonnet-4-6"
    assert isinstance(price_of("anthropic", "claude-sonnet-4-6"), Price)
    assert bill(line, entry("*", None, "anthropic")).cost == Cost(1_500_000_000, "exact")
