"""Seals in a client's own request: ours become their items, others are removed, and nothing else changes
(alphaXiv/agents#61, maximhq/bifrost#5892, spring-projects/spring-ai#6413)."""

import itertools
import json
from typing import Any

from providers.apis import CODECS
from providers.gemini.turns import PLACEHOLDER
from providers.neutral.codec import Recipient, Reply
from providers.neutral.request import Message, Parameter, Reasoning, ReasoningPart, Request, TextPart
from providers.neutral.seal import Issuer, Seal, seal, seal_in_base64
from streams.events import AnswerEnd, AnswerStart
from tests.support.block_events import call_events, thought_events
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.gemini_answers import call, text, thought_part
from tests.support.next_requests import returning_request

OURS, OTHER = Issuer("p", "a1"), Issuer("q", "b2")


def history(*turns: Any) -> dict[str, Any]:
    """Return a user's message and ``turns``, each the content of an assistant or a whole message."""
    messages = [turn if isinstance(turn, dict) else {"role": "assistant", "content": turn} for turn in turns]
    return {"messages": [{"role": "user", "content": "hi"}, *messages]}


def model(*parts: Any) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


# Chat
DETAILS = [{"type": "reasoning.text", "text": "t"}]


def turn_of(*details: Any, **members: Any) -> dict[str, Any]:
    return {"role": "assistant", **members, "reasoning_details": list(details)}


def sealed_detail(issuer: Issuer, api: str, item: Any) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": seal(issuer, api, item)}


# Messages
TEXT = {"type": "text", "text": "a"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
BOTH = [THOUGHT, {"type": "redacted_thinking", "data": "x"}]


def redacted_block(data: str) -> dict[str, Any]:
    return {"type": "redacted_thinking", "data": data}


def thinking(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "hm", "signature": signature}


# Responses
ITEM = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
LATER = {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gBBB"}
SAID = {"role": "user", "content": "tg1.not a seal"}


def item(content: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_tg", "summary": [], "encrypted_content": content}


# Converse
SIGNED, REDACTED = {"reasoningText": {"text": "hm", "signature": "c2ln"}}, {"redactedContent": "AAEC"}
OWN = {"reasoningText": {"text": "own", "signature": "EqkE"}}


def content_with(*reasoning: Any) -> list[dict[str, Any]]:
    return [*({"reasoningContent": one} for one in reasoning), {"text": "b"}]


def signed_reasoning(signature: str) -> dict[str, Any]:
    return {"reasoningText": {"text": "x", "signature": signature}}


# Gemini
TOOL = {"toolCall": {"id": "t"}, "thoughtSignature": "s"}
SIGNATURE = seal_in_base64(OURS, "gemini", {"part": "functionCall", "id": "x", "signature": "A+/="})
IN_URLS = SIGNATURE.replace("+", "-").replace("/", "_").rstrip("=")
SNAKE = {"function_call": {"name": "f"}}
FOREIGN = (
    seal_in_base64(OTHER, "gemini", {"part": "functionCall", "signature": "s"}),
    seal_in_base64(OURS, "messages", {"type": "thinking"}),
    "dGcxL!!",
    seal_in_base64(OURS, "gemini", {"part": "functionCall"}),
)


def mixed_turn(mark: str) -> dict[str, Any]:
    return model(text("a"), thought_part("hm"), thought_part("so"), call("f", signature=mark), text("b"))


# Interactions
STEP = {"type": "thought", "signature": "c2ln", "summary": [{"type": "text", "text": "hm"}]}
SEARCHED = {"type": "google_search_call", "id": "s", "arguments": {"queries": ["a"]}, "signature": "c2ln"}
OUTPUT = {"type": "model_output", "content": [{"type": "text", "text": "b"}]}


def thought_step(signature: str) -> dict[str, Any]:
    return {"type": "thought", "signature": signature}


Body = dict[str, Any]
RESTORED: dict[str, list[tuple[Body, Body, tuple[str, ...]]]] = {
    "chat": [
        (
            history(
                turn_of(sealed_detail(OURS, "chat", [{"reasoning_details": DETAILS}])),
                turn_of(sealed_detail(OTHER, "messages", [{"type": "thinking"}]), content="a", reasoning_content="hm"),
                turn_of(sealed_detail(OURS, "chat", {"field": "reasoning"}), reasoning_content="hm"),
                turn_of(*DETAILS, {"data": "tg1.broken"}, "odd"),
            ),
            history(
                turn_of(*DETAILS), {"role": "assistant", "content": "a"}, {"role": "assistant", "reasoning": "hm"},
                turn_of(*DETAILS, "odd"),
            ),
            ("messages[].reasoning_details[]", "messages[].reasoning_content"),
        ),
    ],
    "messages": [
        (history([redacted_block(seal(OURS, "messages", THOUGHT)), TEXT]), history([THOUGHT, TEXT]), ()),
        (history([redacted_block(seal(OURS, "messages", BOTH)), TEXT]), history([*BOTH, TEXT]), ()),
        (history([thinking(seal(OURS, "messages", THOUGHT))]), history([THOUGHT]), ()),
        # No message is left empty (openclaw/openclaw#88020)
        (history([thinking(seal(OTHER, "messages", THOUGHT))]), history(), ("messages[].content[]",)),
        (history([thinking(seal(OURS, "chat", {}))]), history(), ("messages[].content[]",)),
        (history([thinking("tg1.broken")]), history(), ("messages[].content[]",)),
    ],
    "responses": [
        ({"input": [item(seal(OURS, "responses", ITEM))]}, {"input": [ITEM]}, ()),
        (
            {"input": [
                item(seal(OURS, "responses", ITEM)), item(seal(OTHER, "responses", ITEM)),
                item(seal(OURS, "messages", {"type": "thinking"})), LATER, SAID,
            ]},
            {"input": [ITEM, LATER, SAID]},
            ("input[]",),
        ),
    ],
    "gemini": [
        *(({"contents": [model(call("f", signature=mark))]}, {"contents": [model(call("f", signature="A+/="))]}, ())
          for mark in (
              SIGNATURE, IN_URLS, seal(OURS, "gemini", {"part": "functionCall", "signature": "A+/="}),
          )),
        (
            {"contents": [model(text("", seal_in_base64(OURS, "gemini", {"part": "toolCall", "native": TOOL})))]},
            {"contents": [model(TOOL)]},
            (),
        ),
        (
            {"contents": [model({**SNAKE, "thought_signature": SIGNATURE})]},
            {"contents": [model({**SNAKE, "thought_signature": "A+/="})]},
            (),
        ),
        (
            {"contents": {"parts": [call("f", signature=SIGNATURE)]}},
            {"contents": [{"parts": [call("f", signature="A+/=")]}]},
            (),
        ),
        *(({"contents": [mixed_turn(mark)]}, {"contents": [model(text("a"), call("f"), text("b"))]},
           ("contents[].parts[].thoughtSignature",)) for mark in FOREIGN),
        *(({"contents": [model(text("a"), thought_part("hm"), thought_part("", mark))]},
           {"contents": [model(text("a"))]},
           ("contents[].parts[].thoughtSignature",)) for mark in FOREIGN),
        (
            {"contents": [model(thought_part("", FOREIGN[0])), model(text("x"))]},
            {"contents": [model(text("x"))]},
            ("contents[].parts[].thoughtSignature",),
        ),
    ],
    "converse": [
        (
            history(content_with(
                signed_reasoning(seal(OURS, "converse", SIGNED)),
                {"redactedContent": seal_in_base64(OURS, "converse", REDACTED)},
                signed_reasoning(seal(OTHER, "messages", {"type": "thinking"})), OWN,
            )),
            history(content_with(SIGNED, REDACTED, OWN)),
            ("messages[].content[]",),
        ),
        (history([{"reasoningContent": signed_reasoning("tg1.broken")}]), history(), ("messages[].content[]",)),
    ],
    "interactions": [
        (
            {"input": [thought_step(seal_in_base64(OURS, "interactions", STEP)), OUTPUT]},
            {"input": [STEP, OUTPUT]},
            (),
        ),
        (
            {"input": [thought_step(seal_in_base64(OURS, "interactions", [STEP, SEARCHED])), OUTPUT]},
            {"input": [STEP, SEARCHED, OUTPUT]},
            (),
        ),
        *(
            ({"input": [thought_step(mark), OUTPUT]}, {"input": [OUTPUT]}, ("input[].signature",))
            for mark in (
                seal_in_base64(OTHER, "interactions", STEP), seal_in_base64(OURS, "messages", {"type": "thinking"}),
                seal_in_base64(OURS, "interactions", {"type": "function_call"}), "dGcxL!!",
            )
        ),
    ],
}  # fmt: skip
"""The client's body, the provider's body, and the dropped paths."""
WITHOUT_SEALS: dict[str, list[Body]] = {
    "chat": [
        {},
        {"messages": 3},
        {"messages": [None, {"reasoning_details": 1}, {"reasoning_details": [{"data": "gAAA"}]}]},
    ],
    "messages": [
        history([THOUGHT, {"type": "text", "text": "tg1."}]), {"messages": "odd"}, {"messages": [1, {"content": [2]}]},
    ],
    "responses": [{"input": [LATER, SAID]}, {"input": "tg1.x"}],
    "gemini": [
        {"contents": contents}
        for contents in ([model(call("f", signature="c2ln"))], "text", None, [{}], [5], [{"parts": [None, 5]}])
    ],
    "converse": [history(content_with(SIGNED)), {"messages": "x"}],
    "interactions": [
        {"input": [thought_step("c2ln"), OUTPUT, "x", 5]}, {"input": "tg1.x"}, {"input": {"type": "text"}},
    ],
}  # fmt: skip


@each_row("api", CODECS)
def test_our_seals_become_their_content_and_foreign_ones_are_dropped(api):
    for body, expected, lost in RESTORED[api]:
        with case(body):
            before = json.dumps(body)
            assert CODECS[api].restore({"model": "m", **body}, OURS) == (expected, lost)
            assert json.dumps(body) == before


@each_row("api", CODECS)
def test_a_request_without_seals_stays_unchanged(api):
    for body in WITHOUT_SEALS[api]:
        with case(body):
            assert CODECS[api].restore(body, OURS) == ({}, ())


def test_rejected_reasoning_is_dropped():
    """Gemini: signatures go; a call that had one gets what Google documents for those without."""
    turn = model(thought_part("hm", "s"), text("a", "s"), text("", "s"), call("f", signature="s"), call("g"))
    kept = model(text("a"), call("f", signature=PLACEHOLDER), call("g"))
    for api, body, expected, lost in (
        ("gemini", {"contents": [turn]}, {"contents": [kept]}, ("contents[].parts[]",)),
        ("gemini", {"contents": [model(text("a"))]}, {}, ()),
        ("converse", history(content_with(SIGNED, REDACTED)), history(content_with()), ("messages[].content[]",)),
        ("converse", history(content_with()), {}, ()),
    ):
        with case((api, body)):
            assert CODECS[api].without_reasoning(body) == (expected, lost)


RETURNED: dict[str, list[tuple[Any, Any]]] = {
    "chat": [({"field": "reasoning_content"}, {"reasoning_content": "hm"}), ({"reasoning_details": DETAILS}, DETAILS)],
    "messages": [(THOUGHT, THOUGHT), (BOTH[1], BOTH[1]), (BOTH, BOTH)],
    "responses": [(ITEM, ITEM), ([ITEM, LATER], [ITEM, LATER])],
    "gemini": [
        ({"part": "thought", "signature": "c2ln"}, {"thought": True, "thoughtSignature": "c2ln"}),
    ],
    "converse": [
        (one, {"reasoningContent": one})
        for one in (SIGNED, REDACTED, {"reasoningText": {"text": "", "signature": "s"}})
    ],
    "interactions": [(STEP, STEP), ([STEP, SEARCHED], [STEP, SEARCHED])],
}  # fmt: skip
"""By API, items in seals, and the provider's own words that return to it."""
FORGED: dict[str, list[Any]] = {
    "chat": [{"field": "role"}],
    "messages": [TEXT, None],
    "responses": [],
    "gemini": [
        {"part": "toolCall", "native": {"text": "x"}}, {"part": "functionCall", "native": {"functionCall": {}}},
        {"part": 5}, {"signature": "s"}, [], "x", 5,
    ],
    "converse": [["x"]],
    "interactions": [{"type": "function_call"}],
}  # fmt: skip


def provider_request(api: str, reasoning: ReasoningPart) -> tuple[str, tuple[str, ...]]:
    """Return the provider's request with a history of ``reasoning`` and a text, and the dropped paths."""
    asked = Message("user", (TextPart("hi"),))
    turn = Message("assistant", (reasoning, TextPart("a")))
    client = "chat" if api == "messages" else "messages"
    outgoing = CODECS[api].write_request(Request(client, "m", (asked, turn, asked)), Recipient("m", OURS))
    return outgoing.body.decode(), outgoing.dropped


@each_row("api", CODECS)
def test_reasoning_returns_to_its_author_unchanged_and_to_no_other(api):
    """Else the next turn is refused (anthropics/anthropic-sdk-python#1598, openclaw/openclaw#92201, #88020,
    maximhq/bifrost#6342, #5892, openai/codex#8145, Yeachan-Heo/gajae-code#4247)."""
    plain, _ = provider_request(api, ReasoningPart(""))
    for item, own in RETURNED[api]:
        body, dropped = provider_request(api, ReasoningPart("hm", Seal(OURS, api, item), at="a"))
        with case((item, body)):
            assert json.dumps(own, separators=(",", ":"))[1:-1] in body
            assert dropped == ()
    item = RETURNED[api][0][0]
    other = "messages" if api == "chat" else "chat"
    seals = [
        Seal(OTHER, api, item),
        Seal(OURS, other, RETURNED[other][0][0]),
        *(Seal(OURS, api, one) for one in FORGED[api]),
    ]
    for part in (
        *(ReasoningPart("hm", one, at="a") for one in seals),
        ReasoningPart("hm", native={"type": "x"}, at="a"),
    ):
        with case(part):
            assert provider_request(api, part) == (plain, ("a",))


@each_row("api, client", itertools.product(CODECS, CODECS))
def test_reasoning_returns_to_its_author_from_clients_of_every_api(api, client):
    """In the member in which it came, word for word (alphaXiv/agents#61, anomalyco/opencode#24722,
    NousResearch/hermes-agent#36260, RooCodeInc/Roo-Code#11238)."""
    for item, own in RETURNED[api]:
        if isinstance(item, list):
            continue
        words = [] if "hm" not in json.dumps(own) else ["hm"]
        thought = thought_events(0, *words, api=api, item=item)
        events = [AnswerStart(), *thought, *call_events(1, "{}", id="c"), AnswerEnd("tool_calls")]
        for streamed in (False, True):
            with case((item, streamed)):
                asked = Request(client, "m", (), reasoning=Reasoning("adaptive", summary=Parameter("auto")))
                body = returning_request(client, events, Reply(asked, OURS, 1), streamed=streamed)
                request = CODECS[client].read_request(body)
                same, other = (CODECS[api].write_request(request, Recipient("m", issuer)) for issuer in (OURS, OTHER))
                needle = json.dumps(own, sort_keys=True)[1:-1]
                assert needle in json.dumps(json.loads(same.body), sort_keys=True)
                assert needle not in json.dumps(json.loads(other.body), sort_keys=True) or client == api
                assert b"tg1." not in same.body + other.body
                assert same.dropped == ()
