"""Adjacent text parts of a message: values are found at the seams of parts, where the joined text hides them."""

import json
import re
from typing import Any, Final

from gateway.features.steps.joined_texts import JoinedPassage
from gateway.features.steps.kinds.pii import PiiSettings, PiiStep
from gateway.features.steps.kinds.services import PIECE, pieces_of
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.runner import digests_of
from tests.support.each_row import each_row
from tests.support.gateway_thread import serve_module
from tests.support.harness import config, provider
from tests.support.step_providers import entries_of
from tests.support.upstreams import Raw, Script
from tests.support.wire_clients import ALL, body_of, path_of, text_of
from trigate.steps import Check, Passage

CARD: Final = "4111111111111111"
KEY: Final = "AKIAIOSFODNN7EXAMPL2"

PARTS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "a letter follows": ((f"card {CARD}", "Thanks"), CARD),
    "a digit follows": ((f"card {CARD}", "5 items"), CARD),
    "a digit precedes": (("order 7", f"{CARD} is it"), CARD),
    "a letter precedes": (("x", CARD), CARD),
    "both": (("x", CARD, "y"), CARD),
    "a key": ((f"key {KEY}", "Now do it"), KEY),
    "a pattern": (("x", "falcon-77", "1"), "falcon-77"),
    "a split value": (("card 41111111", "11111111 ends"), CARD),
}


def text_in(body: bytes) -> str:
    """Return ``body``, and its texts without the seams of parts."""
    text = body.decode()
    return text + "\n" + "".join(re.findall(r'"text": ?"([^"]*)"', text))


def parts_of(api: str, texts: tuple[str, ...]) -> list[dict[str, str]]:
    kind = {"responses": "input_text"}.get(api, "text")
    return [{"text": one} if api in ("gemini", "converse") else {"type": kind, "text": one} for one in texts]


def request_of(api: str, texts: tuple[str, ...], *, stream: bool) -> dict[str, Any]:
    body, parts = body_of(api, f"on-{api}", stream=stream), parts_of(api, texts)
    match api:
        case "gemini":
            body["contents"][0]["parts"] = parts
        case "responses":
            body["input"] = [{"role": "user", "content": parts}]
        case "interactions":
            body["input"] = [{"type": "user_input", "content": parts}]
        case _:
            body["messages"][0]["content"] = parts
    return body


@serve_module
def gateway(upstream):
    steps = [
        {"use": "pii", "with": {"labels": ["card"]}},
        {"use": "secrets", "action": "mask"},
        {"use": "regex", "at": ["request"], "action": "mask", "with": {"patterns": {"word": r"\bfalcon-[0-9]+\b"}}},
    ]
    return config(entries_of(upstream.url), steps=steps)


@each_row(
    ("api", "name", "stream"),
    [(api, name, (turn + place) % 2 == 0) for turn, api in enumerate(ALL) for place, name in enumerate(PARTS)],
)
def test_no_part_brings_a_value_to_the_provider(gateway, upstream, api, name, stream):
    texts, value = PARTS[name]
    upstream.script(Script(text="fine"))
    reply = gateway.request("POST", path_of(api, f"on-{api}", stream=stream), request_of(api, texts, stream=stream))
    assert reply.status == 200
    (seen,) = upstream.seen
    assert value not in text_in(seen.body)
    assert re.search(r"\[(CARD|WORD|AWS_ACCESS_KEY)_[0-9a-f]{10,}\]", seen.body.decode())


def message_of(texts: tuple[str, ...], size: int) -> Raw:
    """Return a streamed message with a block for each of ``texts``, in pieces of ``size`` characters."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**message, "usage": {"input_tokens": 1, "output_tokens": 1}}}
    ]
    for index, text in enumerate(texts):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        events += [
            {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}},
            *(
                {"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": one}}
                for one in pieces
            ),
            {"type": "content_block_stop", "index": index},
        ]
    events += [
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
        {"type": "message_stop"},
    ]
    lines = tuple(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events)
    return Raw(200, (("content-type", "text/event-stream"),), lines, "chunked")


@serve_module
def response_gateway(upstream):
    steps = [
        {"use": "pii", "at": ["response"], "action": "mask", "with": {"labels": ["card"]}},
        {"use": "secrets", "at": ["response"], "action": "mask"},
    ]
    return config([provider("anthropic/m", upstream.url + "/v1", ["messages"])], steps=steps)


@each_row(
    ("name", "size", "api"),
    [
        (name, size, ("messages", "chat")[(turn + place) % 2])
        for turn, name in enumerate(name for name in PARTS if name != "a pattern")
        for place, size in enumerate((1, 3, 16, 100))
    ],
)
def test_no_block_of_a_stream_brings_a_value_to_the_client(response_gateway, upstream, api, name, size):
    texts, value = PARTS[name]
    upstream.script(message_of((*texts, " and more."), size))
    reply = response_gateway.request("POST", path_of(api, "m", stream=True), body_of(api, "anthropic/m", stream=True))
    assert reply.status == 200
    text = text_of(api, reply.body, stream=True)
    kind = "AWS_ACCESS_KEY" if value == KEY else "CARD"
    masked = re.sub(rf"\[{kind}_[0-9a-f]{{10,}}\]", "#", text)
    assert masked == ("".join(texts) + " and more.").replace(value, "#")


def passage_of(*texts: str) -> Passage:
    body = json.dumps({"messages": [{"role": "user", "content": parts_of("chat", texts)}]})
    (passage,) = RequestTexts.of("chat", body.encode()).passages
    return passage


def test_parts_that_a_line_break_separates_are_searched_once():
    assert not isinstance(passage_of("a\n", "b"), JoinedPassage)
    assert not isinstance(passage_of("a", "\nb"), JoinedPassage)
    assert not isinstance(passage_of("a"), JoinedPassage)
    assert passage_of("a", "", "b").seams == (1,)


def test_a_finding_in_the_joined_text_and_in_a_part_counts_once():
    step = PiiStep(PiiSettings())
    found = step(Check("request", (passage_of(f"card {CARD} ", "ends"),)))
    assert [(one.label, one.start, one.end) for one in found] == [("card", 5, 21)]


def test_services_get_the_joined_text_and_each_part():
    passage = passage_of("ab", "c" * PIECE)
    texts = [(one.start, one.text) for one in pieces_of((passage,))]
    assert (0, passage.text[:PIECE]) in texts
    assert (0, "ab") in texts
    assert (2, "c" * PIECE) in texts


def test_a_clean_text_of_one_part_says_nothing_about_the_same_text_of_several():
    alone, joined = Passage("user", "", f"x{CARD}"), passage_of("x", CARD)
    assert digests_of("pii", (alone,)) != digests_of("pii", (joined,))
