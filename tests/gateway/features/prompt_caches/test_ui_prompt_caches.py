"""Prompt caches in the live view: the share that was served, and the cause of a miss with its cost."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.browser import Page, browsing, needs_chromium
from tests.support.features import needs_feature
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider

pytestmark = [pytest.mark.soak, needs_feature("live_view")]

MISSED = {
    "prompt_cache_could": 51_200, "prompt_cache_missed": 49_280, "prompt_cache_cause": "system",
    "prompt_cache_at": "system[0]:0-64 (time)", "prompt_cache_usd": 0.170016, "prompt_cache_grade": "exact",
}  # fmt: skip
TWO = {
    **MISSED, "prompt_cache_grade": "estimated", "prompt_cache_idle_s": 3660,
    "prompt_cache_causes": [
        {"cause": "moved", "tokens": 40_000, "at": "gpu-1>gpu-2 (busy)", "usd": 0.1},
        {"cause": "expired", "tokens": 9280, "usd": 0.070016},
    ],
}  # fmt: skip
SERVED = {"prompt_cache_could": 60_000, "prompt_cache_missed": 600, "prompt_cache_grade": "exact"}
SILENT = {**SERVED, "prompt_cache_cause": "unknown:not_reported"}
UNSEEN = {**SERVED, "prompt_cache_missed": 60_000, "prompt_cache_cause": "unknown:not_seen"}


@serve_module
def gateway(upstream):
    return config([provider("openai/gpt-5", upstream.url, ["chat"])])


@pytest.fixture(scope="module")
def page(gateway) -> Iterator[Page]:
    with browsing() as found:
        found.open(f"http://127.0.0.1:{gateway.port}/ui")
        yield found


def result_of(page: Page, function: str, line: dict[str, Any]) -> Any:
    """Return the result of a function of the page's module, for the fields of a log line."""
    return page.value(f"import('/ui/cache.js').then(module => module.{function}({json.dumps(line)}))")


@needs_chromium
def test_the_share_is_rounded_down_and_absent_without_a_number_of_the_provider(page):
    shares = [result_of(page, "cacheShare", line) for line in (MISSED, SERVED, UNSEEN, SILENT, {})]
    assert shares == ["3 %", "99 %", "0 %", None, None]


@needs_chromium
def test_a_miss_has_its_tokens_dollars_and_causes(page):
    assert result_of(page, "missedCache", MISSED) == (
        "prompt cache missed 49,280 of 51,200 tokens, $0.170016: system[0]:0-64 (time)"
    )
    assert result_of(page, "missedCache", TWO).endswith(", ≈ $0.170016: moved, gpu-1>gpu-2 (busy); expired")
    assert [result_of(page, "missedCache", line) for line in (SERVED, UNSEEN, SILENT, {})] == [""] * 4


@needs_chromium
def test_the_facts_of_an_opened_request_have_each_cause(page):
    assert result_of(page, "cacheFacts", TWO) == [
        ["prompt cache", "missed 49,280 of 51,200 tokens"],
        ["cause", "moved, gpu-1>gpu-2 (busy), 40,000 tokens, ≈ $0.10"],
        ["cause", "expired, 9,280 tokens, ≈ $0.070016"],
        ["unused for", "3,660 s"],
    ]
    assert result_of(page, "cacheFacts", SILENT) == [["cause", "unknown: the provider reports no cached tokens"]]
    assert result_of(page, "cacheFacts", {}) == []
