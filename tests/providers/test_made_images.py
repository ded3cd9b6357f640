"""Images that a model made reach clients of the APIs that have a place for them, streamed and whole."""

import base64
import itertools
import json
from collections.abc import Sequence

import openai
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from providers.apis import CODECS
from providers.grammar import judge
from providers.neutral.made_images import MadeImage, made_images
from providers.neutral.media import image_beginning
from providers.responses.replay import replay
from streams.events import AnswerEnd, AnswerStart, BlockEnd, Event, NativeItem, TextDelta, Usage
from streams.fold import NativeBlock, TextBlock, fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.made_images import (
    ITEMS,
    PNG,
    answer_of,
    images_in,
    item_with,
    read_events,
    stream_for,
    whole_for,
)  # fmt: skip

CLIENTS = tuple(ITEMS)
PAIRS = [(client, provider) for client in CLIENTS for provider in ITEMS]


def test_a_reader_finds_the_made_image_in_what_a_writer_wrote():
    for write in [stream_for, whole_for]:
        for client, provider in PAIRS:
            with case((write, client, provider)):
                body = write(client, answer_of(provider))
                assert images_in(client, body) == [MadeImage("image/png", PNG)]
                assert fold(read_events(client, body)).blocks[0].text == "Look:"
                if write is stream_for:
                    verdict = judge(client, body)
                    assert (verdict.outcome, verdict.broken) == ("complete", None)


@each_row("write", [stream_for, whole_for])
@each_row("provider", ITEMS)
def test_clients_of_messages_get_the_text_alone(provider, write):
    """Messages has no block for a model's images."""
    body = write("messages", answer_of(provider))
    assert PNG.encode() not in body
    assert [block.text for block in fold(read_events("messages", body)).blocks] == ["Look:"]


@each_row("client", CODECS)
@each_row("provider", ITEMS)
def test_items_without_an_image_are_dropped(client, provider):
    """Files with an address alone, other media, and calls that made nothing."""
    items = {
        "chat": {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}},
        "gemini": {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
        "converse": {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://a/b.png"}}}},
        "interactions": {"type": "model_output", "content": [{"type": "image", "uri": "https://e.org/a.png"}]},
        "responses": {"type": "image_generation_call", "status": "failed", "result": None},
    }
    events = answer_of(provider, items[provider])
    assert images_in(client, whole_for(client, events)) == []
    if client != provider:  # its own items pass unchanged
        for place in (b"aGk=", b"e.org", b"s3:", b"failed"):
            assert place not in stream_for(client, events)


@each_row("write, client", itertools.product([stream_for, whole_for], CODECS))
def test_drafts_in_the_thoughts_of_gemini_are_not_images_of_its_answer(write, client):
    """See https://ai.google.dev/gemini-api/docs/image-generation#thinking-process"""
    draft = {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgoAAAAN"}, "thought": True}
    events = answer_of("gemini", draft, ITEMS["gemini"])
    found = images_in(client, write(client, events))
    assert found == ([] if client == "messages" else [MadeImage("image/png", PNG)])


@each_row("write", [stream_for, whole_for])
def test_a_link_of_another_chat_server_reaches_chat_clients(write):
    link = {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}}
    assert b'"url":"https://e.org/a.png"' in write("chat", answer_of("chat", link))


@each_row("write", [stream_for, whole_for])
def test_several_images_stay_in_order(write):
    second = "/9j/4AAQ"
    jpeg = {"inlineData": {"mimeType": "image/jpeg", "data": second}}
    for client in CLIENTS:
        found = images_in(client, write(client, answer_of("gemini", ITEMS["gemini"], jpeg)))
        assert [image.data for image in found] == [PNG, second]
        assert [image.media_type for image in found] == ["image/png", "image/jpeg"]


# Chat servers


@each_row("client", CLIENTS)
def test_the_images_of_a_chat_server_reach_all_clients(client):
    """OpenRouter sends them next to the text, in a delta or in the message. Others send a list of typed parts."""
    part = {"type": "image_url", "image_url": ITEMS["chat"]["image_url"]}
    for made in ({"content": "", "images": [ITEMS["chat"]]}, {"content": [part]}):
        content = made["content"] and [{"type": "text", "text": "Look:"}, part]
        message = {"role": "assistant", **made, "content": content or "Look:"}
        whole = {"id": "a", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        chunks = [{"id": "a", "model": "m", "choices": [{"index": 0, "delta": piece}]}
                  for piece in ({"content": "Look:"}, made)]  # fmt: skip
        chunks[1]["choices"][0]["finish_reason"] = "stop"
        streamed = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks) + b"data: [DONE]\n\n"
        for body in (json.dumps(whole).encode(), streamed):
            events = read_events("chat", body)
            assert fold(events).blocks[0].text == "Look:"
            for write in (stream_for, whole_for):
                assert images_in(client, write(client, events)) == [MadeImage("image/png", PNG)]


@each_row("images, client", itertools.product(["x", [1], [{}], [{"image_url": "x"}], {"a": 1}], CODECS))
def test_malformed_images_of_a_chat_server_do_not_break_an_answer(images, client):
    message = {"role": "assistant", "content": "Hi", "images": images}
    whole = {"id": "a", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    events = read_events("chat", json.dumps(whole).encode())
    for write in (stream_for, whole_for):
        assert images_in(client, write(client, events)) == []
        assert b"Hi" in write(client, events)


def test_citations_of_a_chat_server_belong_to_the_text_before_its_images():
    note = {"type": "url_citation", "url_citation": {"url": "https://e.org", "start_index": 0, "end_index": 2}}
    message = {"role": "assistant", "content": "Hi", "annotations": [note], "images": [ITEMS["chat"]]}
    whole = {"id": "a", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    block = fold(read_events("chat", json.dumps(whole).encode())).blocks[0]
    assert [cited.item for cited in block.citations] == [note]


# The types of the SDKs


@each_row("provider", [name for name in ITEMS if name != "responses"])
def test_the_openai_sdk_reads_the_item(provider):
    whole = openai.types.responses.Response.model_validate_json(whole_for("responses", answer_of(provider)))
    item = whole.output[1]
    assert isinstance(item, openai.types.responses.response_output_item.ImageGenerationCall)
    assert (item.status, item.result) == ("completed", PNG)
    assert item.model_extra == {"output_format": "png"} or item.output_format == "png"


def test_the_item_is_announced_without_its_content():
    lines = stream_for("responses", answer_of("gemini")).splitlines()
    events = [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]
    added, done = (
        next(
            one["item"] for one in events if one["type"] == f"response.output_item.{kind}" and one["output_index"] == 1
        )
        for kind in ("added", "done")
    )
    assert (added["status"], added["result"]) == ("in_progress", None)
    assert (done["id"], done["status"], done["result"]) == (added["id"], "completed", PNG)


@pytest.mark.parametrize("size", [pytest.param(2**20, marks=pytest.mark.soak), 6 * 2**20])
def test_large_images_fit_in_the_frames_of_amazon(size):
    """Its SDKs accept no frame of more than 24 MiB, and join the bytes of the deltas."""
    data = base64.b64encode(bytes(range(256)) * (size // 256)).decode()
    buffer = pytest.importorskip("botocore.eventstream", reason="Amazon's SDK is not installed").EventStreamBuffer()
    item = {"inlineData": {"mimeType": "image/webp", "data": data}}
    out = stream_for("converse", answer_of("gemini", item))
    buffer.add_data(out)
    deltas = [json.loads(frame.payload) for frame in buffer if frame.headers[":event-type"] == "contentBlockDelta"]
    pieces = [one["delta"]["image"]["source"]["bytes"] for one in deltas if "image" in one["delta"]]
    assert b"".join(map(base64.b64decode, pieces)) == base64.b64decode(data)
    assert images_in("converse", out) == [MadeImage("image/webp", data)]


def test_pieces_of_an_image_are_joined_also_within_a_byte():
    """Each delta of Converse is base64 of its own."""
    pieces = [base64.b64encode(piece).decode() for piece in (b"a", b"bcde", b"fgh")]
    reader = CODECS["converse"].reader()
    events = list(reader.read_event("messageStart", b'{"role":"assistant"}'))
    events += reader.read_event("contentBlockStart", b'{"contentBlockIndex":0,"start":{"image":{"format":"png"}}}')
    for piece in pieces:
        delta = {"contentBlockIndex": 0, "delta": {"image": {"source": {"bytes": piece}}}}
        events += reader.read_event("contentBlockDelta", json.dumps(delta).encode())
    events += reader.read_event("contentBlockStop", b'{"contentBlockIndex":0}')
    image = next(event for event in events if isinstance(event, NativeItem))
    assert made_images("converse", image.item) == [MadeImage("image/png", base64.b64encode(b"abcdefgh").decode())]


@each_row("client", CODECS)
def test_an_image_alone_is_an_answer(client):
    events = [AnswerStart("a", "m"), NativeItem(0, "gemini", "inlineData", ITEMS["gemini"]), AnswerEnd("stop")]
    assert judge(client, stream_for(client, events)).broken is None
    wanted = [] if client == "messages" else [MadeImage("image/png", PNG)]
    assert images_in(client, stream_for(client, events)) == wanted
    assert images_in(client, whole_for(client, events)) == wanted


def test_a_format_that_converse_lacks_is_dropped():
    avif = {"inlineData": {"mimeType": "image/avif", "data": "AAAA"}}
    assert images_in("converse", stream_for("converse", answer_of("gemini", avif))) == []


def test_a_stored_answer_is_repeated_with_its_image():
    out = replay(json.loads(whole_for("responses", answer_of("gemini"))))
    verdict = judge("responses", out)
    assert (verdict.outcome, verdict.broken) == ("complete", None)
    assert images_in("responses", out) == [MadeImage("image/png", PNG)]


# Any answer


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


WORDS = st.text("ab \u00e9\u2028\U0001f600", min_size=1, max_size=5)
IMAGES = st.builds(
    MadeImage, st.sampled_from(("image/png", "image/webp")), st.binary(min_size=3, max_size=12).map(encode_base64)
).filter(lambda image: image_beginning(image.data) is None)


@pytest.mark.parametrize("write", [stream_for, whole_for])
@pytest.mark.parametrize(("client", "provider"), PAIRS)
@settings(max_examples=examples(15), deadline=None)
@given(contents=st.lists(WORDS | IMAGES, min_size=1, max_size=6))
@example(contents=[MadeImage("image/png", "AAAA")] * 2)
def test_texts_and_images_of_any_answer_arrive_in_order(client, provider, write, contents):
    """Only Chat has the images apart from the texts."""
    body = write(client, events_with(provider, contents))
    assert images_in(client, body) == [one for one in contents if isinstance(one, MadeImage)]
    texts = [block.text for block in fold(read_events(client, body)).blocks if isinstance(block, TextBlock)]
    assert "".join(texts) == "".join(one for one in contents if isinstance(one, str))
    if client != "chat":
        assert contents_of(client, body) == joined_texts(contents)
    if write is stream_for:
        assert judge(client, body).broken is None


def events_with(provider: str, contents: Sequence[str | MadeImage]) -> list[Event]:
    events: list[Event] = [AnswerStart("a", "m")]
    for block, one in enumerate(contents):
        if isinstance(one, str):
            events += [TextDelta(block, one), BlockEnd(block)]
        else:
            events.append(NativeItem(block, provider, "image", item_with(provider, one, block)))
    return [*events, Usage(input=3, output=4), AnswerEnd("stop")]


def contents_of(client: str, body: bytes) -> list[str | MadeImage]:
    found: list[str | MadeImage] = []
    for block in fold(read_events(client, body)).blocks:
        match block:
            case TextBlock(text=text):
                found.append(text)
            case NativeBlock(api=api, item=item):
                found += made_images(api, item)
    return joined_texts(found)


def joined_texts(contents: Sequence[str | MadeImage]) -> list[str | MadeImage]:
    joined: list[str | MadeImage] = []
    for one in contents:
        if joined and isinstance(one, str) and isinstance(last := joined[-1], str):
            joined[-1] = last + one
        else:
            joined.append(one)
    return joined
