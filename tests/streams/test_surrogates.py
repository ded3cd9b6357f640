"""Half of a surrogate pair, from providers and clients."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.request.parse import read_incoming
from providers.apis import CODECS
from streams.errors import GatewayError
from streams.events import TextDelta
from streams.surrogates import find_lone_surrogate, replace_lone_surrogates, tolerate_lone_surrogates
from tests.support.each_row import each_row

decode = tolerate_lone_surrogates(msgspec.json.Decoder().decode)


@each_row(
    ("given", "found"),
    [
        (rb'"\ud83d\ude00"', rb'"\ud83d\ude00"'),
        (rb'"a\ud83d"', rb'"a\ufffd"'),
        (rb'"\uDE00 b"', rb'"\ufffd b"'),
        (rb'"\ude00\ud83d"', rb'"\ufffd\ufffd"'),
        (rb'"\ud83d\ud83d\ude00"', rb'"\ufffd\ud83d\ude00"'),
        (rb'"\\ud83d"', rb'"\\ud83d"'),
        (rb'"\\\ud83d"', rb'"\\\ufffd"'),
        (rb'"\ud83d\\ude00"', rb'"\ufffd\\ude00"'),
        (rb'"\u00e9\n\ud83d\n"', rb'"\u00e9\n\ufffd\n"'),
    ],
)
def test_only_half_pairs_are_replaced(given, found):
    assert replace_lone_surrogates(given) == found
    assert (replace_lone_surrogates(given) is given) == (given == found) == (find_lone_surrogate(given) is None)


@given(st.text(st.characters(codec=None)))
def test_any_json_string_is_read(text):
    data = json.dumps(text).encode()  # which writes halves unchanged
    read = decode(data)
    assert read == "".join("�" if "\ud800" <= one <= "\udfff" else one for one in json.loads(data))
    assert decode(json.dumps(read).encode()) == read


def test_tolerant_decoding_still_rejects_invalid_json():
    for data in (rb'{"a":"\ud83d"', b'{"a":', rb'"\ud83'):
        with pytest.raises(msgspec.DecodeError):
            decode(data)
    with pytest.raises(msgspec.ValidationError):
        tolerate_lone_surrogates(msgspec.json.Decoder(int).decode)(rb'"\ud83d"'.replace(b"\\ud83d", b"a"))


HALVES = rb"x\ud83d", rb"\ude00 y"
BEFORE = {
    "chat": [],
    "messages": [
        ("message_start", b'{"type":"message_start","message":{"id":"m","model":"m","content":[]}}'),
        ("content_block_start", b'{"type":"content_block_start","index":0,"content_block":{"type":"text"}}'),
    ],
    "responses": [("response.created", b'{"type":"response.created","response":{"id":"r","model":"m"}}')],
}
DELTA = {
    "chat": ("", b'{"choices":[{"index":0,"delta":{"content":"%b"}}]}'),
    "messages": ("content_block_delta", b'{"index":0,"delta":{"type":"text_delta","text":"%b"}}'),
    "responses": ("response.output_text.delta", b'{"output_index":0,"content_index":0,"item_id":"i","delta":"%b"}'),
}
WHOLE = {
    "chat": rb'{"choices":[{"message":{"role":"assistant","content":"x\ud83d y"},"finish_reason":"stop"}]}',
    "messages": rb'{"type":"message","content":[{"type":"text","text":"x\ud83d y"}],"stop_reason":"end_turn"}',
    "responses": rb'{"status":"completed","output":[{"type":"message","content":'
    rb'[{"type":"output_text","text":"x\ud83d y"}]}]}',
}


@each_row("api", WHOLE)
def test_an_emoji_that_a_provider_splits_does_not_end_the_answer(api):
    """openclaw/openclaw#110642: text cut by UTF-16 units."""
    reader = CODECS[api].reader()
    name, delta = DELTA[api]
    told = [*BEFORE[api], *((name, delta % half) for half in HALVES)]
    events = [event for name, data in told for event in reader.read_event(name, data)]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "x�� y"
    assert [event.text for event in CODECS[api].read_answer(WHOLE[api]) if isinstance(event, TextDelta)] == ["x� y"]


@each_row(("api", "member"), [("chat", b"messages"), ("messages", b"messages"), ("responses", b"input")])
def test_half_a_pair_in_a_request_is_reported_with_its_path(api, member):
    with pytest.raises(GatewayError, match=r"half of a surrogate pair \(\\ud83d at byte 28\)"):
        read_incoming(api, b'{"%9b":[{"content": "%s"}]}' % (member, rb"x\ud83d"))
