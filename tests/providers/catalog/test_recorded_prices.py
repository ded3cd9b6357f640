"""Costs of recorded answers by the price list, compared with sums by hand.

Each sum has the numbers of the recording's last ``usage``, times the nano-dollars of their kind: three dollars for a
million tokens are 3000 nano-dollars for one. A new price list may change a row; then its sum changes by hand, too.
"""

import attrs
import pytest

from providers.apis import CODECS
from providers.catalog.prices import Cost, Price, computed_cost, cost_of, price_of
from streams.events import AnswerStart, Event, Usage
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.provider_streams import read_stream
from tests.support.recordings import ABSENT, CORPUS, Recording, recordings

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=ABSENT)

SEARCH = 10_000_000  # of Anthropic, OpenAI and OpenRouter: 10 dollars for a thousand
FILES = 2_500_000  # a search in one's own files

SUMS = {
    # Messages: tokens read from a cache, written to it, and neither
    "90d5ce": ("exact", 3 * 1000 + 17269 * 100 + 37 * 1250 + 10 * 5000),  # Haiku 4.5
    "b6e552": ("exact", 3 * 3000 + 1636 * 3750 + 4 * 15000),  # Sonnet 4.6, first turn
    "bb78cc": ("exact", 3 * 3000 + 1636 * 300 + 4 * 15000),  # and the second, a twelfth of its price
    "a509ca": ("exact", 16 * 2000 + 13637 * 200 + 7049 * 2500 + 344 * 10000),  # Sonnet 5, all kinds
    # with searches, and with fetches, which have no fee
    "a5e765": ("exact", 2254 * 1000 + 17269 * 1250 + 110 * 5000 + 1 * SEARCH),
    "ce5806": ("exact", 10423 * 15000 + 341 * 75000 + 1 * SEARCH),  # Opus 4.1
    "88cb25": ("exact", 22397 * 3000 + 637 * 15000 + 2 * SEARCH),  # Sonnet 4
    "eee587": ("exact", 7262 * 3000 + 171 * 15000),
    # the sum of the turns of ten searches, each below the 200,000 tokens from which a higher price applies
    "665b5a": ("estimated", 401468 * 3000 + 792 * 15000 + 10 * SEARCH),
    # with a compaction, which the counts of the answer exclude
    "b7642c": ("exact", 100 * 3000 + 55096 * 300 + 83 * 15000 + 181 * 3000 + 8 * 15000),
    # with an advisor of another model between two turns: Opus 4.8 and Fable 5
    "aec790": ("exact", 1128 * 2000 + 135 * 10000 + 2543 * 5000 + 18 * 25000 + 1283 * 2000 + 10 * 10000),
    "9904fd": ("exact", 1128 * 2000 + 121 * 10000 + 2529 * 5000 + 38 * 25000 + 1289 * 2000 + 12 * 10000),
    "c5eab6": ("exact", 1128 * 2000 + 155 * 10000 + 2564 * 10000 + 99 * 50000 + 1354 * 2000 + 11 * 10000),
    "39de0d": ("exact", 1311 * 2000 + 16 * 10000),  # offered, but not consulted
    # Chat: reasoning is part of the output, the cached part of the prompt
    "bcf891": ("exact", 140 * 2500 + 1280 * 1250 + 100 * 10000),  # GPT-4o, prompt_tokens 1420
    "9fb15e": ("exact", 84 * 150 + 67 * 600),  # Groq's gpt-oss-120b, on_demand, 57 of 67 are reasoning
    # Responses: the same
    "16031d": ("exact", 125 * 2500 + 1390 * 1250 + 8 * 10000),  # GPT-4o, input_tokens 1515
    "94effa": ("exact", 4158 * 4000 + 4418 * 5000 + 52 * 20000 + 1 * SEARCH),  # GPT-5.6 sol, written to a cache
    "09a81d": ("exact", 17248 * 2000 + 195 * 8000 + 1 * SEARCH),  # GPT-4.1
    "9f43ce": ("exact", 1144 * 2500 + 38 * 10000 + 1 * FILES),
    # an image is billed by tokens of a model that the answer does not name
    "b95167": ("at_least", 1021 * 1250 + 1920 * 125 + 1249 * 10000),
}
"""By the recording's key: the grade, and the sum."""

STATED = {
    "d73fad": (13_550_250, 3 * 3000 + 3211 * 3750 + 100 * 15000),  # OpenRouter, Claude Sonnet 4.6, written to a cache
    "e844cf": (996_000, 791 * 1000 + 41 * 5000),  # OpenRouter, Claude Haiku 4.5
    "8622f8": (325_700, 519 * 300 + 68 * 2500),  # OpenRouter, Gemini 2.5 Flash
    "249fdf": (66_407_000, 16924 * 1750 + 485 * 14000 + 3 * SEARCH),  # OpenRouter, GPT-5.2 with three searches
    "d20c76": (893_400, 204 * 1250 + 192 * 200 + 240 * 2500),  # xAI, Grok 4.3
    "635754": (790_900, 406 * 1250 + 192 * 200 + 98 * 2500),
    "f96680": (588_400, 278 * 1250 + 192 * 200 + 81 * 2500),
    "056162": (6_140_000, 50_000 + 6 * 15000 + 6_000_000),  # Perplexity: 17 * 3000 rounded, and its fee for a request
}
"""By the recording's key: the cost that the provider stated, and the sum."""


@attrs.frozen
class BilledAnswer:
    """The billed properties of a recorded answer."""

    provider: str
    model: str
    usage: Usage
    api: str

    def cost(self) -> Cost:
        return cost_of(self.price(), self.usage)

    def price(self) -> Price:
        price = price_of(self.provider, self.model)
        assert price is not None
        return price.with_cache_writes if self.api == "messages" else price


def billed_answer(key: str) -> BilledAnswer:
    (one,) = (found for found in recordings() if found.key == key)
    events = _events(one)
    usage = [event for event in events if isinstance(event, Usage)][-1]
    model = next(event.model for event in events if isinstance(event, AnswerStart))
    return BilledAnswer(one.provider, model, usage, one.api)


def _events(one: Recording) -> list[Event]:
    codec = CODECS[one.api]
    return read_stream(codec, one.body) if one.streamed else [*codec.read_answer(one.body)]


def test_a_recorded_answer_costs_its_sum() -> None:
    for key in SUMS:
        with case(key):
            grade, nanos = SUMS[key]
            assert billed_answer(key).cost() == Cost(nanos, grade)


def test_a_stated_cost_is_the_sum_of_its_usage() -> None:
    """No other test compares a computed cost with a bill (BerriAI/litellm#25622)."""
    for key in STATED:
        with case(key):
            stated, nanos = STATED[key]
            assert billed_answer(key).cost() == Cost(stated, "exact")
            assert stated == nanos


def test_the_computed_cost_is_the_stated_one() -> None:
    for key in ["e844cf", "d20c76", "635754", "f96680"]:
        with case(key):
            one = billed_answer(key)
            assert computed_cost(one.price(), one.usage) == one.cost()


@each_row(
    ("key", "tier", "nanos"),
    [
        ("16031d", "priority", 125 * 4250 + 1390 * 2125 + 8 * 17000),
        ("94effa", "flex", 4158 * 2000 + 4418 * 2500 + 52 * 10000 + 1 * SEARCH),
        ("90d5ce", "batch", 3 * 500 + 17269 * 50 + 37 * 625 + 10 * 2500),
    ],
)
def test_the_same_answer_in_another_tier(key: str, tier: str, nanos: int) -> None:
    """Every recorded answer is of the usual tier. A fee does not depend on it."""
    one = billed_answer(key)
    assert attrs.evolve(one, usage=attrs.evolve(one.usage, tier=tier)).cost() == Cost(nanos, "exact")
