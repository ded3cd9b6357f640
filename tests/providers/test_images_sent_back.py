"""Images of earlier answers, which clients send back: "make an image", then "now make the sky blue"."""

import json
from itertools import product
from typing import Any

import attrs

from providers.apis import CODECS
from providers.gemini.turns import PLACEHOLDER
from providers.grammar import judge
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from providers.neutral.tokens import IMAGE, estimate
from providers.responses.incoming import read_continuation
from providers.responses.kept_items import prepare_input
from streams.fold import fold
from tests.support.each_row import each_row
from tests.support.lanes import reply_for
from tests.support.made_images import ITEMS, PNG, URL, read_events, stream_for, whole_for
from tests.support.next_requests import next_request
from tests.support.returned_answers import answer_items

MAKER = Issuer("openai", "account")  # of ``reply_for``
GEMINI_3 = Recipient("gemini-3-pro-image", MAKER, Quirks(signed_calls=True))
SIGNED = {"inlineData": {"mimeType": "image/png", "data": PNG}, "thoughtSignature": "c2lnbmVk"}
FIRST, SECOND = "make an image", "now make the sky blue"


def made_by_gemini(*parts: Any) -> list[Any]:
    """Return the events of a Gemini answer with ``parts``."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP"}
    return read_events("gemini", json.dumps({"candidates": [candidate], "modelVersion": "g"}).encode())


def joined_blocks(body: bytes) -> list[dict[str, Any]]:
    """Return the blocks of a stream, as an SDK joins them; their bytes are in one delta here."""
    blocks: dict[int, dict[str, Any]] = {}
    for name, data in CODECS["converse"].wire.framing.parse_all(body):
        event = json.loads(data)
        block = blocks.setdefault(event.get("contentBlockIndex", -1), {})
        for kind, value in {**event.get("start", {}), **event.get("delta", {})}.items():
            if name == "contentBlockStop":
                continue
            if isinstance(value, str):
                block[kind] = block.get(kind, "") + value
            else:
                inner = block.setdefault(kind, {})
                reasoning = inner.setdefault("reasoningText", {}) if kind == "reasoningContent" else inner
                reasoning |= value
    return [block for block in blocks.values() if block]


def items_of(client: str, body: bytes) -> list[Any]:
    """Return the items of a client's history that contain the answer in ``body``, whole or streamed."""
    streamed = not body.startswith(b"{")
    if streamed and client == "converse":
        return [{"role": "assistant", "content": joined_blocks(body)}]
    return answer_items(client, body, streamed=streamed)


def next_turn(client: str, body: bytes) -> dict[str, Any]:
    return next_request(client, items_of(client, body), FIRST, SECOND)


CLIENTS = ("chat", "responses", "gemini", "converse", "interactions")
WRITES = (whole_for, stream_for)


def sent_to(provider: str, client: str, body: dict[str, Any], to: Recipient) -> tuple[Any, Outgoing]:
    request = CODECS[client].read_request(body if client == "converse" else {"model": "m", **body})
    outgoing = CODECS[provider].write_request(request, to)
    return json.loads(outgoing.body), outgoing


def model_parts(sent: Any) -> list[Any]:
    return [part for content in sent["contents"] if content["role"] == "model" for part in content["parts"]]


@each_row("write", WRITES)
@each_row("client", CLIENTS)
def test_a_signed_image_returns_to_gemini_unchanged(client, write):
    """langchain-ai/langchain-google#1431"""
    body = write(client, made_by_gemini({"text": "Look:"}, SIGNED))
    sent, outgoing = sent_to("gemini", client, next_turn(client, body), GEMINI_3)
    assert model_parts(sent) == [{"text": "Look:"}, SIGNED]
    assert sent["contents"][-1] == {"role": "user", "parts": [{"text": SECOND}]}
    assert outgoing.dropped == ()


@each_row("write", WRITES)
def test_a_client_of_messages_gets_no_signature_of_an_image_that_it_does_not_get(write):
    """It can have as many megabytes as the image."""
    body = write("messages", made_by_gemini({"text": "Look:"}, SIGNED, {"text": "Bye"}))
    assert b"thinking" not in body
    assert [block.text for block in fold(read_events("messages", body)).blocks] == ["Look:", "Bye"]
    if write is stream_for:
        assert judge("messages", body).broken is None


@each_row("client", CLIENTS)
def test_each_image_gets_its_own_signature(client):
    other = {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQSkZJ"}, "thoughtSignature": "b3RoZXI="}
    body = whole_for(client, made_by_gemini(SIGNED, other))
    sent, _ = sent_to("gemini", client, next_turn(client, body), GEMINI_3)
    assert model_parts(sent) == [SIGNED, other]


def test_an_image_that_the_client_removed_does_not_shift_the_signatures():
    other = {"inlineData": {"mimeType": "image/jpeg", "data": "/9j/4AAQSkZJ"}, "thoughtSignature": "b3RoZXI="}
    body = next_turn("chat", whole_for("chat", made_by_gemini(SIGNED, other)))
    del body["messages"][1]["images"][0]
    assert model_parts(sent_to("gemini", "chat", body, GEMINI_3)[0]) == [other]


@each_row("client", ["chat", "responses", "converse", "interactions"])
def test_an_image_without_its_signature_gets_the_placeholder_that_google_documents(client):
    """Clients may send no reasoning back. Models before Gemini 3 need none."""
    body = whole_for(client, made_by_gemini({"inlineData": SIGNED["inlineData"]}))
    sent, outgoing = sent_to("gemini", client, next_turn(client, body), GEMINI_3)
    assert model_parts(sent) == [{**SIGNED, "thoughtSignature": PLACEHOLDER}]
    assert [path.rpartition(".")[2] for path in outgoing.dropped] == ["thoughtSignature"]
    older = attrs.evolve(GEMINI_3, quirks=Quirks())
    sent, outgoing = sent_to("gemini", client, next_turn(client, body), older)
    assert (model_parts(sent), outgoing.dropped) == ([{"inlineData": SIGNED["inlineData"]}], ())


@each_row("client", ["chat", "responses", "converse"])
def test_a_signature_of_another_account_is_not_sent(client):
    body = whole_for(client, made_by_gemini(SIGNED))
    to = attrs.evolve(GEMINI_3, issuer=Issuer("google", "other"))
    sent, _ = sent_to("gemini", client, next_turn(client, body), to)
    assert model_parts(sent) == [{**SIGNED, "thoughtSignature": PLACEHOLDER}]


@each_row("client, maker", product(CLIENTS, ITEMS))
def test_images_of_all_makers_reach_gemini(client, maker):
    events = read_events(maker, whole_for(maker, made_by_gemini(SIGNED)))
    sent, _ = sent_to("gemini", client, next_turn(client, whole_for(client, events)), GEMINI_3)
    assert [part["inlineData"] for part in model_parts(sent)] == [SIGNED["inlineData"]]


@each_row("client", CLIENTS)
def test_an_image_reaches_interactions(client):
    body = whole_for(client, made_by_gemini({"text": "Look:"}, SIGNED))
    sent, _ = sent_to("interactions", client, next_turn(client, body), Recipient("m", Issuer("p", "")))
    outputs = [step["content"] for step in sent["input"] if step["type"] == "model_output"]
    image = {"type": "image", "data": PNG, "mime_type": "image/png"}
    assert [content for contents in outputs for content in contents] == [{"type": "text", "text": "Look:"}, image]


@each_row("client", CLIENTS)
def test_an_image_reaches_a_chat_server_that_accepts_openrouters_form(client):
    body = whole_for(client, made_by_gemini({"text": "Look:"}, SIGNED))
    to = Recipient("m", Issuer("p", ""), Quirks(message_images=True))
    sent, _ = sent_to("chat", client, next_turn(client, body), to)
    assert sent["messages"][1]["content"] == "Look:"
    assert sent["messages"][1]["images"] == [{"index": 0, "type": "image_url", "image_url": {"url": URL}}]


def test_a_link_reaches_only_chat_servers_that_accept_images():
    link = {"type": "image_url", "image_url": {"url": "https://e.org/a.png"}}
    message = {"role": "assistant", "content": "Look:", "images": [link]}
    body = {"messages": [{"role": "user", "content": FIRST}, message, {"role": "user", "content": SECOND}]}
    to = Recipient("m", Issuer("p", ""), Quirks(message_images=True))
    assert sent_to("chat", "chat", body, to)[0]["messages"][1]["images"] == [{"index": 0, **link}]
    for provider in ("gemini", "interactions", "responses", "messages", "converse"):
        assert sent_to(provider, "chat", body, to)[1].dropped == ("messages[].images",)


PLACES = {
    "chat": "messages[].images", "responses": "input[]", "gemini": "contents[].parts[]",
    "converse": "messages[].content[]", "interactions": "input[].content[]",
}  # fmt: skip


@each_row("client, provider", product(CLIENTS, ["chat", "messages", "responses", "converse"]))
def test_other_providers_get_the_conversation_without_the_image(client, provider):
    """The loss is reported, and neither the image nor its signature is sent."""
    body = whole_for(client, made_by_gemini({"text": "Look:"}, SIGNED))
    _, outgoing = sent_to(provider, client, next_turn(client, body), Recipient("m", Issuer("p", "")))
    assert PNG not in outgoing.body.decode()
    assert all(text in outgoing.body.decode() for text in ("Look:", SECOND))
    assert PLACES[client] in outgoing.dropped


@each_row("images", ["x", [1], {"a": 1}])
def test_malformed_images_are_dropped_as_a_whole(images):
    body = {"messages": [{"role": "assistant", "content": "a", "images": images}, {"role": "user", "content": "b"}]}
    for provider in CODECS:
        assert sent_to(provider, "chat", body, Recipient("m", Issuer("p", "")))[1].dropped == ("messages[].images",)


def test_an_unknown_member_of_an_image_is_reported():
    body = next_turn("responses", whole_for("responses", made_by_gemini(SIGNED)))
    body["input"][2]["unheard"] = 1
    assert sent_to("gemini", "responses", body, GEMINI_3)[1].dropped == ("input[].unheard",)
    body = next_turn("chat", whole_for("chat", made_by_gemini(SIGNED)))
    body["messages"][1]["images"][0]["unheard"] = 1
    assert sent_to("gemini", "chat", body, GEMINI_3)[1].dropped == ("messages[].images.unheard",)


@each_row("client", CLIENTS)
def test_an_image_and_its_signature_count_as_one_image(client):
    """They count as millions of tokens otherwise."""
    large = {"inlineData": {"mimeType": "image/png", "data": "iVBO" * 100_000}, "thoughtSignature": "c2ln" * 100_000}
    body = next_turn(client, whole_for(client, made_by_gemini(large)))
    request = CODECS[client].read_request(body if client == "converse" else {"model": "m", **body})
    assert IMAGE < estimate(request, 4.0) < 3000


def test_a_draft_in_the_thoughts_of_gemini_counts_as_an_image():
    draft = {"inlineData": {"mimeType": "image/png", "data": "iVBO" * 100_000}, "thought": True}
    contents = [{"role": "user", "parts": [{"text": FIRST}]}, {"role": "model", "parts": [draft]}]
    assert IMAGE < estimate(CODECS["gemini"].read_request({"model": "m", "contents": contents}), 4.0) < 3000


# The Responses API


def test_the_byte_lane_removes_images_that_its_provider_does_not_know():
    """OpenAI refuses ids that are not its own."""
    body = next_turn("responses", whole_for("responses", made_by_gemini(SIGNED)))
    body["input"].insert(1, ITEMS["responses"])
    changed, lost = CODECS["responses"].restore(body, Issuer("p", ""))
    assert changed["input"] == [body["input"][0], ITEMS["responses"], body["input"][-1]]
    assert lost == ("input[]",)


def test_an_own_image_of_a_responses_provider_returns_to_it_with_its_id():
    body = {"input": [{"role": "user", "content": FIRST}, ITEMS["responses"], {"role": "user", "content": SECOND}]}
    sent, outgoing = sent_to("responses", "responses", body, Recipient("m", Issuer("p", "")))
    assert sent["input"][1] == ITEMS["responses"]
    assert outgoing.dropped == ()


@each_row("write", WRITES)
def test_a_stored_turn_continues_with_its_image(write):
    """``previous_response_id``"""
    earlier = prepare_input(
        [{"role": "user", "content": FIRST}, *items_of("responses", write("responses", made_by_gemini(SIGNED)))]
    )
    request = read_continuation({"model": "m", "previous_response_id": "resp_1", "input": SECOND}, earlier)
    outgoing = CODECS["gemini"].write_request(request, GEMINI_3)
    assert model_parts(json.loads(outgoing.body)) == [SIGNED]
    assert outgoing.dropped == ()


def test_the_reply_uses_the_account_that_returns():
    assert reply_for("chat").issuer == MAKER
