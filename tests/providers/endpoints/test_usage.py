"""Usage of images, speech and transcripts, in the forms of OpenAI and Mistral."""

from typing import Any

import pytest

from providers.endpoints.audio import AudioReader
from providers.endpoints.images import ENDS, ImageReader
from providers.endpoints.media_tokens import length_usage, read_usage, seconds_of, token_usage
from streams.errors import GatewayError
from streams.events import Usage


def test_token_counts_include_image_and_audio_tokens():
    for usage, expected in (
        ({"input_tokens": 5, "output_tokens": 7}, (5, 0, 7, ())),
        ({"prompt_tokens": 5, "completion_tokens": 7}, (5, 0, 7, ())),
        (
            {"input_tokens": 9, "output_tokens": 7, "input_tokens_details": {"cached_tokens": 4, "image_tokens": 6}},
            (5, 4, 7, (("input_image_token", 6),)),
        ),
        (
            {"type": "tokens", "input_tokens": 9, "output_tokens": 7,
             "input_token_details": {"audio_tokens": 8, "text_tokens": 1},
             "output_tokens_details": {"image_tokens": 3}},
            (9, 0, 7, (("input_audio_token", 8), ("output_image_token", 3))),
        ),
    ):  # fmt: skip
        found = token_usage(usage)
        assert (found.input, found.cache_read, found.output, found.units) == expected


ODD: tuple[Any, ...] = (
    None, [], {}, {"type": "duration", "seconds": 5}, {"input_tokens": "5"}, {"input_tokens": -5},
    {"input_tokens": True}, {"input_tokens": float("nan"), "output_tokens": 0},
)  # fmt: skip


def test_usage_without_counts_is_ignored():
    for usage in ODD:
        assert token_usage(usage) is None, usage
    found = token_usage(
        {"input_tokens": 1e300, "input_tokens_details": [1], "output_tokens_details": {"image_tokens": "x"}}
    )
    assert found == Usage(input=10**8)


def test_an_answer_reports_tokens_or_seconds():
    for usage, expected in (
        ({"type": "duration", "seconds": 2.1}, Usage(units=(("second", 3),))),
        ({"type": "duration", "seconds": "2"}, None),
        ({"total_tokens": 12}, Usage(input=12)),
        ({"prompt_tokens": 9, "total_tokens": 12}, Usage(input=9, output=3)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage()),
        ({"prompt_tokens": None}, None),
        ({"search_units": 1}, None),
    ):
        found = read_usage(usage)
        assert found == expected, usage
        assert found is None or expected is None or found.units == expected.units


def test_seconds_are_whole_ones():
    for answer, expected in (
        ({"usage": {"type": "duration", "seconds": 3}}, 3),
        ({"duration": "8.470000267028809"}, 9),
        ({"duration": 0.2, "usage": {"prompt_audio_seconds": 12}}, 12),
        ({"usage": {"seconds": None}, "duration": "long"}, None),
        ({"duration": float("inf")}, None),
        ({"duration": -1}, None),
        ({}, None),
    ):
        assert seconds_of(answer) == expected, answer
    assert length_usage(1001, by_tokens=False).units == (("second", 2),)
    assert length_usage(1001, by_tokens=True).units == (("input_audio_token", 20),)


def test_a_name_in_a_prompt_is_not_read_as_usage():
    reader = ImageReader(lambda: 1)
    body = rb'{"data":[{"revised_prompt":"write \"usage\": {\"input_tokens\": 9}"}],"usage": {"input_tokens":2,"x":{}}}'
    for at in range(0, len(body), 3):
        reader.scan(body[at : at + 3])
    assert reader.usage == Usage(input=2)


def test_usage_is_found_at_either_end_of_any_answer():
    usage, data = b'"usage":{"input_tokens":2,"output_tokens":3}', b'"data":[{"b64_json":"' + b"A" * 9 * ENDS + b'"}]'
    for body in (b"{" + usage + b"," + data + b"}", b"{" + data + b"," + usage + b"}"):
        for size in (len(body), 1000):
            reader = ImageReader(lambda: 1)
            for at in range(0, len(body), size):
                reader.scan(body[at : at + size])
            assert reader.usage == Usage(input=2, output=3)


def test_readers_raise_only_failures_for_any_input():
    for data in (
        b"",
        b"null",
        b"[]",
        b"1",
        b"{",
        b'{"type":1}',
        b'{"usage":[]}',
        b"\xff",
        b"[" * 300_000,
        b'"\\ud800"',
    ):
        for reader in (ImageReader(lambda: 1), AudioReader(lambda: None)):
            reader.read_event("", data)
            assert reader.usage in (None, Usage())
            with pytest.raises(GatewayError):
                reader.close(streamed=True)
            reader.read_whole([data])
            reader.close(streamed=False)


def test_pictures_of_a_stream_are_added_up():
    reader = ImageReader(lambda: 2)
    for _ in range(2):
        reader.read_event("", b'{"type":"image_generation.completed","usage":{"input_tokens":2,"output_tokens":3}}')
    reader.read_event("", b'{"type":"image_generation.completed","usage":{"input_tokens":null}}')
    assert not reader.has_ended, "the entry may have requested more images than the client"
    reader.close(streamed=True)
    assert reader.usage == Usage(input=4, output=6)


def test_one_missing_count_of_sound_has_the_default():
    spoken = Usage(input=3, output=20, units=(("output_audio_token", 20),))
    for usage, expected in (
        ({"input_tokens": 5, "output_tokens": None}, Usage(input=5, output=20)),
        ({"input_tokens": "5", "output_tokens": 9}, Usage(input=3, output=9)),
        ({"input_tokens": 5, "output_tokens": 9}, Usage(input=5, output=9)),
        ({"input_tokens": -5}, spoken),
        (None, spoken),
    ):
        reader = AudioReader(lambda: spoken)
        reader.read_whole({"text": "", "usage": usage})
        assert reader.usage == expected, usage
    silent = AudioReader(lambda: Usage(input=30))
    silent.read_whole({"text": "", "usage": {"input_tokens": 14, "output_tokens": 0}})
    assert silent.usage == Usage(input=14)
    assert not silent.usage.estimated


def test_streams_of_transcripts_end_as_each_server_does():
    for last in (
        b'{"type":"transcript.text.done","text":"x"}',
        b'{"type":"transcription.done","text":"x"}',
        b"[DONE]",
    ):
        reader = AudioReader(lambda: None)
        reader.read_event("", b'{"type":"transcript.text.delta","delta":"x"}')
        reader.read_event("", last)
        reader.close(streamed=True)
