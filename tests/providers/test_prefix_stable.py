"""Translated requests of a conversation begin with those of earlier turns, so that providers' prompt caches serve them.

For each client API and provider API, the blocks of a turn's request are the first blocks of the next turn's request:
the same bytes, except for cache marks. Only an instruction about one request's format follows the conversation.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import cycle, pairwise, product
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.apis import CODECS
from providers.neutral.codec import Recipient, Reply
from providers.neutral.draft import Draft
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, Event, Usage
from tests.support import client_turns
from tests.support.block_events import call_events, text_events, thought_events
from tests.support.cases import case
from tests.support.client_turns import ClientInput, Setting
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.recorded_requests import Request, requests
from tests.support.recordings import ABSENT, CORPUS
from tests.support.repository import ROOT
from tests.support.returned_answers import calls_of, history_items
from tests.support.sent_blocks import content_forms, hints, sent_blocks

PAIRS = [(client, provider) for client in CODECS for provider in CODECS]


def some_pairs(first: int) -> list[tuple[str, str]]:
    """Return each API with two others on both sides, because no code is for a pair of APIs."""
    apis = [*CODECS]
    return [
        (client, provider) for client, provider in PAIRS if (apis.index(client) + apis.index(provider)) % 3 == first
    ]


ISSUER, OTHER = Issuer("p", "account"), Issuer("other", "account")
TURNED = Quirks(
    structured_output=False, mixed_tools=False, signed_calls=True, cache_breakpoints=True, bedrock_family="claude",
    reasoning_replay="every_message", developer_role=False, media_in_results=False,
)  # fmt: skip
QUIRKS = (Quirks(), TURNED, attrs.evolve(TURNED, bedrock_family="other", signed_calls=False))

ARGUMENTS = ("{}", '{"b": 1.0, "a": 1e2}', '{"path":"\\u00e9/\\n","n":[1,{"z":null,"a":-0.0}]}', "")
"""Arguments whose order, numbers and escapes a decoder and encoder would change."""


def reasoning_item(api: str, text: str) -> Any:
    """Return the reasoning item that a provider of ``api`` issues."""
    signature = base64.b64encode(text.encode()).decode()
    return {
        "chat": {"field": "reasoning_content"},
        "messages": {"type": "thinking", "thinking": text, "signature": signature},
        "responses": {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": signature},
        "gemini": {"part": "text", "signature": signature},
        "converse": {"reasoningText": {"text": text, "signature": signature}},
        "interactions": {"type": "thought", "signature": signature, "summary": [{"type": "text", "text": text}]},
    }[api]


def reasoning_text(api: str, turn: int) -> bytes:
    """Return the part of a turn's reasoning item that its provider needs back unchanged."""
    text = f"Let me see {turn}."
    return text.encode() if api == "chat" else base64.b64encode(text.encode())


@attrs.frozen
class Answered:
    """The model's part of a turn."""

    thinks: bool = False
    text: str = "Hi."
    arguments: tuple[str, ...] = ()
    streamed: bool = False
    by_other: bool = False

    def events(self, api: str, turn: int) -> list[Event]:
        found: list[Event] = [AnswerStart(f"answer_{turn}", "m")]
        if self.thinks:
            text = f"Let me see {turn}."
            found += thought_events(0, text[:6], text[6:], api=api, item=reasoning_item(api, text))
        if self.text:
            found += text_events(1, *self.text.partition(" "))
        for at, arguments in enumerate(self.arguments):
            half = len(arguments) // 2
            found += call_events(2 + at, arguments[:half], arguments[half:], id=f"call_{turn}_{at}")
        return [*found, Usage(input=9, output=9), AnswerEnd("tool_calls" if self.arguments else "stop")]


def conversation(
    client: str, provider: str, quirks: Quirks, setting: Setting, turns: list[tuple[ClientInput, Answered]]
) -> Iterator[bytes]:
    """Yield the request that a provider gets in each turn. Answers come from it, or from another issuer of its API."""
    history: list[Any] = []
    calls: list[tuple[str, str]] = []
    for number, (said, answered) in enumerate(turns):
        history += client_turns.items(client, said, calls)
        request = CODECS[client].read_request(client_turns.body(client, setting, history, said.has_format))
        yield CODECS[provider].write_request(request, Recipient("m", ISSUER, quirks, quirks)).body
        reply = Reply(attrs.evolve(request, model="m"), OTHER if answered.by_other else ISSUER, 1, id=f"id_{number}")
        items = history_items(client, answered.events(provider, number), reply, answered.streamed)
        history += items
        calls = calls_of(client, items)


def check_prefixes(provider: str, bodies: list[bytes]) -> None:
    """Assert that the blocks of each request begin with those of the request before."""
    for earlier, later in pairwise(sent_blocks(provider, body) for body in bodies):
        assert later[: len(earlier)] == earlier
    if any(b'"cache_control"' in body for body in bodies):
        for first, second in pairwise(content_forms(provider, body) for body in bodies):
            assert second[: len(first)] == first


WORDS = st.sampled_from(["Hello", "List the files. ", 'é\u2028"quoted"', "{}", "<system>x</system>"])
SAID = st.builds(
    ClientInput,
    texts=st.lists(WORDS, min_size=1, max_size=2).map(tuple),
    image=st.booleans(),
    note=st.sampled_from(["", "", "The date has changed."]),
    results=st.sampled_from(["", "a.py\nb.py", '{"b": 1, "a": 2}']),
    has_format=st.booleans(),
)
ANSWERED = st.builds(
    Answered,
    thinks=st.booleans(),
    text=st.sampled_from(["", "Hi.", "I see two files. "]),
    arguments=st.lists(st.sampled_from(ARGUMENTS), max_size=2).map(tuple),
    streamed=st.booleans(),
    by_other=st.booleans(),
).filter(lambda answered: answered.text or answered.arguments)
SETTINGS = st.builds(
    Setting,
    system=st.lists(WORDS, max_size=2).map(tuple),
    tools=st.just(("f",)) | st.just(("g", "f", "e")),
    schema=st.sampled_from([
        {"type": "object", "properties": {}},
        {"properties": {"z": {"type": "integer", "maximum": 1e3}, "a": {"const": "é"}}, "type": "object"},
    ]),
    marks=st.booleans(),
)  # fmt: skip


@pytest.mark.parametrize(("client", "provider"), some_pairs(0))
@settings(max_examples=examples(25))  # of each pair
@given(
    quirks=st.sampled_from(QUIRKS), setting=SETTINGS, turns=st.lists(st.tuples(SAID, ANSWERED), min_size=2, max_size=5)
)
def test_each_turn_begins_with_the_turn_before(client, provider, quirks, setting, turns):
    check_prefixes(provider, list(conversation(client, provider, quirks, setting, turns)))


@pytest.mark.parametrize(("client", "provider"), some_pairs(1))
@settings(max_examples=examples(25))
@given(setting=SETTINGS, turns=st.lists(st.tuples(SAID, ANSWERED), min_size=2, max_size=4))
def test_a_streamed_answer_returns_as_a_whole_one(client, provider, setting, turns):
    requests = [
        list(conversation(client, provider, Quirks(), setting, [
            (said, attrs.evolve(answered, streamed=streamed)) for said, answered in turns
        ]))
        for streamed in (False, True)
    ]  # fmt: skip
    assert sent_blocks(provider, requests[0][-1]) == sent_blocks(provider, requests[1][-1])


def test_a_format_follows_the_conversation():
    """At the end of the instructions, it would change the prefix of every request with another format."""
    tried = 0
    for client, provider in PAIRS:
        for quirks in QUIRKS:
            turns = [(ClientInput(has_format=number != 1), Answered()) for number in range(4)]
            with case((client, provider, quirks)):
                bodies = list(conversation(client, provider, quirks, Setting(("Be brief.",), ("f",)), turns))
                check_prefixes(provider, bodies)
                found = [hints(provider, body) for body in bodies]
                assert found in ([[-1], [], [-1], [-1]], [[]] * 4)
                tried += bool(found[0])
    assert tried >= 10


@each_row("provider", ["messages", "converse", "gemini"])
def test_instructions_alone_are_a_message_in_the_first_turn_only(provider: str):
    """A documented exception (docs/translation.md): from the second turn on, each turn begins with the one before."""
    history: list[dict[str, Any]] = [{"role": "system", "content": "Be brief, please."}]
    bodies = []
    for turn in range(4):
        request = CODECS["chat"].read_request({"model": "m", "messages": history})
        bodies.append(CODECS[provider].write_request(request, Recipient("m", ISSUER, Quirks(), Quirks())).body)
        history += [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": f"More {turn}"}]
    check_prefixes(provider, bodies[1:])
    starts = [sent_blocks(provider, body)[0].partition(b" ")[0] for body in bodies]
    assert starts[0] != starts[1] == starts[2] == starts[3]


def test_reasoning_returns_unchanged_to_its_issuer_after_an_answer_of_another_one():
    turns = [
        (ClientInput(), Answered(thinks=True, arguments=('{"a": 1}',))),
        (ClientInput(), Answered(thinks=True, by_other=True)),
        (ClientInput(), Answered(thinks=True)),
        (ClientInput(), Answered()),
    ]
    for client, provider in PAIRS:
        with case((client, provider)):
            bodies = list(conversation(client, provider, TURNED, Setting(tools=("f",)), turns))
            check_prefixes(provider, bodies)
            found = [reasoning_text(provider, number) in bodies[-1] for number in range(3)]
            assert (found[0], found[2]) == (True, True)
            assert not found[1] or client == provider  # not sealed without a translation: the provider judges it


def test_arguments_keep_their_bytes_or_are_the_same_from_the_first_request_on():
    """Clients of Messages, Gemini and Converse send objects, whose spelling is theirs."""
    turns = [
        (ClientInput(), Answered(arguments=ARGUMENTS[1:3])),
        (ClientInput(), Answered()),
        (ClientInput(), Answered()),
    ]
    for client, provider in PAIRS:
        with case((client, provider)):
            first, second = list(conversation(client, provider, Quirks(), Setting(tools=("f",)), turns))[1:]
            calls = [block for block in sent_blocks(provider, first) if b"call_0_" in block or b"functionCall" in block]
            assert calls
            assert [block for block in calls if block not in sent_blocks(provider, second)] == []
            if client in ("chat", "responses"):
                as_text = provider in ("chat", "responses")
                for text in ARGUMENTS[1:3]:
                    assert (msgspec.json.encode(text) if as_text else text.encode()) in first


def test_found_tools_follow_the_tools_of_earlier_requests():
    """A client of Messages sends deferred tools at their usual positions, and refers to those that it has found."""
    later = [{"name": name, "input_schema": {"type": "object"}, "defer_loading": True} for name in ("a", "b")]
    tools = [later[0], {"name": "search", "input_schema": {"type": "object"}}, later[1]]

    def search(name: str, id: str) -> list[Any]:
        call = {"type": "tool_use", "id": id, "name": "search", "input": {}}
        result = {"type": "tool_result", "tool_use_id": id, "content": [{"type": "tool_reference", "tool_name": name}]}
        return [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]

    history = [{"role": "user", "content": "Hello"}, *search("b", "c1"), *search("a", "c2")]
    wanted = {1: ["search"], 3: ["search", "b"], 5: ["search", "b", "a"]}
    for length, names in wanted.items():
        body = {"model": "m", "max_tokens": 9, "tools": tools, "messages": history[:length]}
        assert [tool.name for tool in CODECS["messages"].read_request(body).tools] == names
        draft = Draft.of(msgspec.json.encode(body))
        CODECS["messages"].adapt(draft, Recipient("m", ISSUER, Quirks(deferred_tools="found")))
        assert [tool["name"] for tool in json.loads(draft.encode())["tools"]] == names


# Recorded conversations

HISTORY = {"chat": "messages", "messages": "messages", "responses": "input"}
RECORDED = [one for one in requests() if isinstance(one.body.get(HISTORY[one.api]), list)]


def is_models(api: str, item: Any) -> bool:
    """Return whether ``item`` of a history is the model's."""
    type = item.get("type", "message")
    if api == "responses" and type != "message":
        return not str(type).endswith("_output") and type != "item_reference"
    return bool(item.get("role") == "assistant")


def turns_of(recorded: Request) -> list[dict[str, Any]]:
    """Return the requests of the turns in a recorded request: its history up to each of the model's messages."""
    name, body = HISTORY[recorded.api], recorded.body
    history = body[name]
    ends = [
        at for at in range(1, len(history))
        if is_models(recorded.api, history[at]) and not is_models(recorded.api, history[at - 1])
    ]  # fmt: skip
    return [{**body, name: history[:end]} for end in (*ends, len(history))]


def split_tools(blocks: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Return the tools, each of them if they are in one block, and the other blocks."""
    blocks = [block for block in blocks if b'"defer_loading":true' not in block]  # not in the provider's prefix
    tools = [block for block in blocks if block.startswith(b"tools ")]
    if len(tools) == 1 and (declared := json.loads(tools[0][6:]).get("functionDeclarations")):
        return [msgspec.json.encode(tool) for tool in declared], blocks[1:]
    return tools, blocks[len(tools) :]


@pytest.mark.skipif(not CORPUS.exists(), reason=ABSENT)
@each_row("provider", CODECS)
def test_recorded_conversations_begin_with_their_earlier_turns(provider):
    """Tools that a client's search has found are added after the others.

    Requests without tools get placeholders for called tools in Converse, which requires them; their recordings are of a
    summary, and not of a conversation."""
    tried = 0
    for recorded, quirks in zip(RECORDED, cycle(QUIRKS), strict=False):
        if provider == "converse" and not recorded.body.get("tools"):
            continue
        earlier: tuple[list[bytes], list[bytes]] = ([], [])
        for body in turns_of(recorded):
            try:
                request = CODECS[recorded.api].read_request(body)
                sent = CODECS[provider].write_request(request, Recipient("m", ISSUER, quirks, quirks)).body
            except GatewayError:  # media that the provider lacks
                break
            tools, rest = split_tools(sent_blocks(provider, sent))
            with case((recorded.key, quirks)):
                assert tools[: len(earlier[0])] == earlier[0]
                assert rest[: len(earlier[1])] == earlier[1]
            tried += bool(earlier[1])
            earlier = tools, rest
    assert tried >= 3


def without_marks(value: Any) -> Any:
    """Return JSON without cache marks and Claude Code's billing line, with texts as lists."""
    if isinstance(value, list):
        return [without_marks(one) for one in value if not str(value and one).startswith(BILLING)]
    if not isinstance(value, dict):
        return value
    found = {name: without_marks(one) for name, one in value.items() if name != "cache_control"}
    if isinstance(found.get("content"), str) and "role" in found:
        found["content"] = [{"type": "text", "text": found["content"]}]
    return found


BILLING = "{'type': 'text', 'text': 'x-anthropic-billing-header"


def continues(earlier: Request, later: Request) -> bool:
    """Return whether ``later`` is the next turn of the conversation of ``earlier``, except for marks."""
    if earlier.api != later.api:
        return False
    first, second = without_marks(earlier.body), without_marks(later.body)
    name = HISTORY[earlier.api]
    begin, whole = first.get(name), second.get(name)
    if not isinstance(begin, list) or not isinstance(whole, list) or len(whole) <= len(begin):
        return False
    fixed = ("system", "instructions", "tools", "reasoning", "thinking", "response_format", "tool_choice", "text")
    return whole[: len(begin)] == begin and all(first.get(one) == second.get(one) for one in fixed)


@pytest.mark.skipif(not CORPUS.exists(), reason=ABSENT)
def test_recorded_turns_of_programs_begin_with_the_turns_before():
    """Programs and SDKs, with marks that they move themselves; each turn that only adds to the one before."""
    programs: set[str] = set()
    found = [one for one in requests() if "/" in one.key]
    for earlier, later in product(found, found):
        if earlier.key.partition("/")[0] != later.key.partition("/")[0] or not continues(earlier, later):
            continue
        programs.add(earlier.key.partition("/")[0])
        for provider, quirks in product(CODECS, QUIRKS):
            if provider == "converse" and not earlier.body.get("tools"):
                continue
            with case((earlier.key, later.key, provider, quirks)):
                recipient = Recipient("m", ISSUER, quirks, quirks)
                read = CODECS[earlier.api].read_request
                bodies = [CODECS[provider].write_request(read(one.body), recipient).body for one in (earlier, later)]
                check_prefixes(provider, bodies)
    assert programs >= {"codex", "claude-code-opus", "claude-agent-sdk", "anthropic-python", "openai-agents-chat"}


# Restarts


def digest_of_conversations() -> str:
    """Return a digest of one conversation's requests in all pairs."""
    said = ClientInput(("Hello", "there"), image=True, note="The date has changed.", has_format=True)
    turns = [(said, Answered(True, arguments=ARGUMENTS)), (said, Answered(True, by_other=True)), (said, Answered())]
    digest = hashlib.sha256()
    for client, provider in PAIRS:
        for body in conversation(client, provider, TURNED, Setting(("Be brief.",), ("g", "f", "e")), turns):
            digest.update(body)
    return digest.hexdigest()


@pytest.mark.process
def test_another_process_sends_the_same_bytes():
    """A worker or a restart has another order of sets and hashes (coder/aibridge#49: tools in the order of a map)."""
    code = "from tests.providers.test_prefix_stable import digest_of_conversations as d; print(d())"
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
        capture_output=True, text=True,
    )  # fmt: skip
    assert found.stdout.strip() == digest_of_conversations()
