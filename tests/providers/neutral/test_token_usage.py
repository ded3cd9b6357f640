"""Token counts in OpenAI's words, older and newer, and tokens with other prices."""

from providers.neutral.token_usage import ALL_MEDIA, NEWER, OLDER, read_tokens
from streams.events import Usage
from tests.support.each_row import each_row

WORDS = {"older": (OLDER, "prompt", "completion"), "newer": (NEWER, "input", "output")}


@each_row("words", WORDS)
def test_parts_are_cut_from_the_input_and_never_beyond_it(words):
    asked, given, made = WORDS[words]
    for cached, written, expected in (
        (600, 300, (100, 600, 300)),
        (600, 700, (0, 600, 400)),
        (1200, 5, (0, 1000, 0)),
        (-1, None, (1000, 0, 0)),
        ("6", True, (1000, 0, 0)),
    ):
        usage = {
            f"{given}_tokens": 1000, f"{made}_tokens": 50, "total_tokens": 1050,
            f"{given}_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
            f"{made}_tokens_details": {"reasoning_tokens": 40},
        }  # fmt: skip
        found = read_tokens(usage, asked)
        assert (found.input, found.cache_read, found.cache_write) == expected
        assert (found.output, found.reasoning) == (50, 40)


def test_counts_under_the_names_of_the_other_api_are_read():
    both = {"prompt_tokens": 9, "completion_tokens": 3, "input_tokens": 0, "output_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 4}, "input_tokens_details": None}  # fmt: skip
    for words in (OLDER, NEWER):
        assert read_tokens(both, words) == Usage(input=5, cache_read=4, output=3)
        assert read_tokens({"total_tokens": 7}, words) == Usage(output=7)  # unknown kind: the more expensive one
        assert read_tokens({}, words) is None
    assert read_tokens({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, OLDER) == Usage(input=5, cache_read=4)


@each_row("words", WORDS)
def test_without_a_count_of_the_input_it_is_the_rest_of_the_total(words):
    asked, given, made = WORDS[words]
    for missing in ({}, {f"{given}_tokens": None}, {f"{given}_tokens": 0}, {f"{given}_tokens": "100"}):
        usage = {**missing, f"{made}_tokens": 10, "total_tokens": 110, f"{given}_tokens_details": {"cached_tokens": 60}}
        assert read_tokens(usage, asked) == Usage(input=40, cache_read=60, output=10), missing
    assert read_tokens({f"{made}_tokens": 10, "total_tokens": 7}, asked) == Usage(output=10)


SENSES = {
    "input_tokens": 132, "output_tokens": 121,
    "input_token_details": {"audio_tokens": 50, "image_tokens": 13, "cached_tokens": 64,
                            "cached_tokens_details": {"audio_tokens": 20}},
    "output_tokens_details": {"audio_tokens": 91, "image_tokens": 10**9},
}  # fmt: skip


def test_audio_and_image_tokens_are_counted_separately():
    sounds = (("input_audio_token", 30), ("cached_audio_token", 20), ("output_audio_token", 91))
    assert read_tokens(SENSES, NEWER).units == sounds
    pictures = (("input_image_token", 13), ("output_image_token", 253))
    assert read_tokens(SENSES, NEWER, media=ALL_MEDIA).units == (*sounds, *pictures)
