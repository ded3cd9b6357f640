"""Billed units besides tokens of text: images, seconds, characters, searches, and tokens of sounds and images."""

from providers.catalog.prices import FREE, Cost, cost_of, price_of, read_price
from streams.events import Usage
from tests.support.cases import case


def test_units_are_added_to_tokens():
    for row, usage, dollars, grade in [
        ({"per": {"image": 0.04}}, Usage(units=(("image", 2),)), "0.08", "exact"),
        ({"per": {"second": 0.0001}}, Usage(units=(("second", 61),)), "0.0061", "exact"),
        ({"per": {"second": 0.0001}}, Usage(units=(("second", 61),), estimated=True), "0.0061", "estimated"),
        # Per-query prices are not multiplied by tokens: $50 in place of $0.002 (metadist/synaplan#1778).
        ({"per": {"search": 0.002}}, Usage(input=25_000, units=(("search", 1),)), "0.002", "exact"),
        ({"per": {"search": 0.002}}, Usage(input=25_000, units=(("query", 1),)), "0.002", "exact"),
        ({"per": {"query": 0.002}}, Usage(units=(("search", 3),)), "0.006", "exact"),
        ({"input": 0.02, "output": 0}, Usage(input=1000, units=(("search", 1),)), "0.00002", "exact"),
        # 43 of 55 models of speech were booked at $0 (BerriAI/litellm#36914).
        ({"input": 0.02, "output": 0}, Usage(units=(("character", 99),)), "0", "at_least"),
        ({"per": {"image": 0.04}}, Usage(input=9, output=9), "0", "at_least"),
        ({"per": {"image": 0.04}}, Usage(), "0", "at_least"),
        # Tokens of a sound are among the others: only what they cost more is added.
        (
            {"input": 4, "cached": 0.4, "output": 16, "per": {"input_audio_token": 32e-6, "output_audio_token": 64e-6}},
            Usage(input=100, output=50, units=(("input_audio_token", 60), ("output_audio_token", 50))),
            str((40 * 4 + 60 * 32 + 50 * 64) / 10**6), "exact",
        ),
        (
            {"input": 5, "cached": 1.25, "output": 30, "per": {"cached_image_token": 2e-6}},
            Usage(input=10, cache_read=20, units=(("cached_image_token", 20),)), "0.00009", "exact",
        ),
        (
            {"input": 1, "output": 1, "tiers": {"batch": {"per": {"image": 0.01}}}, "per": {"image": 0.04}},
            Usage(units=(("image", 1),), tier="batch"), "0.01", "exact",
        ),
    ]:  # fmt: skip
        with case((row, usage, dollars, grade)):
            found = cost_of(read_price(row, "config"), usage)
            assert (found.dollars, found.grade) == (dollars, grade)


def test_a_free_model_costs_nothing_for_any_usage():
    assert cost_of(FREE, Usage(units=(("image", 2),))) == Cost(0, "exact")


def test_the_list_has_prices_of_units():
    for provider, model, usage, dollars in [
        ("openai", "whisper-1", Usage(units=(("second", 60),)), "0.006"),
        ("openai", "tts-1", Usage(units=(("character", 1000),)), "0.015"),
        ("openai", "text-embedding-3-small", Usage(input=1_000_000), "0.02"),
        ("groq", "whisper-large-v3", Usage(units=(("second", 3600),)), "0.111"),
        ("mistral", "voxtral-mini-2602", Usage(units=(("second", 60),)), "0.003"),
        ("openai", "gpt-realtime", Usage(input=1000, units=(("input_audio_token", 1000),)), "0.032"),
        ("openai", "gpt-image-1.5", Usage(output=1000, units=(("output_image_token", 1000),)), "0.032"),
        ("cohere", "embed-v4.0", Usage(input=1000), "0.00012"),
    ]:
        with case((provider, model, usage, dollars)):
            found = cost_of(price_of(provider, model), usage)
            assert abs(float(found.dollars) - float(dollars)) < 2e-9, found
            assert found.grade == "exact"


def test_sound_without_its_own_price_is_estimated_from_the_list_but_exact_from_the_file():
    usage = Usage(input=10, units=(("input_audio_token", 10),))
    assert cost_of(read_price({"input": 1, "output": 1}, "catalogue"), usage).grade == "estimated"
    assert cost_of(read_price({"input": 1, "output": 1}, "config"), usage).grade == "exact"
