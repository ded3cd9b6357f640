"""Token counts in OpenAI's words, older and newer, and tokens with other prices."""

from providers.neutral.token_usage import ALL_MEDIA, NEWER, OLDER, read_tokens
from streams.events import Usage


def test_counts_with_the_other_apis_names_are_read():
    both = {"prompt_tokens": 9, "completion_tokens": 3, "input_tokens": 0, "output_tokens": 0,
            "prompt_tokens_details": {"cached_tokens": 4}, "input_tokens_details": None}  # fmt: skip
    for words in (OLDER, NEWER):
        assert read_tokens(both, words) == Usage(input=5, cache_read=4, output=3)
        assert read_tokens({"total_tokens": 7}, words) == Usage(output=7)  # nobody knows: the dearer of both
        assert read_tokens({}, words) is None
    assert read_tokens({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, OLDER) == Usage(input=5, cache_read=4)


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
