"""Expected tokens of images and sound."""

from providers.catalog.prices import MODAL
from providers.endpoints.media_tokens import MAX_IMAGES, WantedPictures, picture_tokens, speech_usage, transcript_usage
from tests.support.cases import case
from tests.support.each_row import each_row

FIRST = {"low": (272, 408, 400), "medium": (1056, 1584, 1568), "high": (4160, 6240, 6208)}
"""https://platform.openai.com/docs/guides/image-generation#cost-and-latency"""
SIZES = ("1024x1024", "1024x1536", "1536x1024")


@each_row("quality", FIRST)
def test_pictures_of_the_first_models_cost_the_tokens_that_their_maker_lists(quality):
    for model in ("gpt-image-1", "openai/gpt-image-1-mini", "gpt-image-1.5-2025-12-16", "chatgpt-image-latest"):
        assert tuple(picture_tokens(model, size, quality) for size in SIZES) == FIRST[quality]


@each_row(
    "size, quality, tokens",
    [("1024x1024", "high", 7024), ("1536x1024", "high", 5488), ("1792x1024", "high", 5063), ("1024x1024", "low", 196)],
)
def test_pictures_of_gpt_image_2_grow_with_their_area(size, quality, tokens):
    """https://community.openai.com/t/1379464"""
    assert picture_tokens("gpt-image-2", size, quality) == tokens


def test_open_image_settings_count_as_the_most_expensive():
    for size in [None, "auto", "", "large", "1024×1024", "-5x7"]:
        for quality in [None, "auto", "hd", "best"]:
            with case((size, quality)):
                assert picture_tokens("gpt-image-1", size, quality) == 6240
                assert picture_tokens("gpt-image-2", size, quality) == 7024


@each_row("fields", [{"n": "-1", "size": "0x0"}, {"n": "9" * 9, "size": "99999x99999"}, {"n": "many"}])
def test_image_estimates_are_bounded(fields):
    wanted = WantedPictures.of({**fields, "partial_images": "999999"}, inputs=10**6)
    assert 1 <= wanted.number <= MAX_IMAGES
    assert 0 < wanted.usage("gpt-image-1", most=True).output < 10**9


def test_the_parts_of_a_sum_are_units_that_have_prices():
    usages = (
        WantedPictures.of({}, None).usage("gpt-image-1", most=True),
        speech_usage("Hello.", 1.0),
        transcript_usage(9),
    )
    for usage in usages:
        assert {unit for unit, _ in usage.units} <= set(MODAL)
        assert all(number <= usage.input + usage.output for _, number in usage.units)


def test_a_minute_of_speech_costs_its_price():
    """1.5 cents at 12 dollars for a million tokens (https://platform.openai.com/docs/pricing)."""
    assert speech_usage("x" * 900, 1.0).output == 1260
    assert speech_usage("x" * 900, 0.25).output == 4 * 1260
    assert speech_usage("x" * 900, float("nan")).output == 4 * 1260
    assert speech_usage("x" * 900, 4.0).output == 1260
    assert speech_usage("好" * 300, 1.0).output == 1260
