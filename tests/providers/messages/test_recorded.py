"""Recorded answers of providers of all three APIs for Messages clients."""

import json
from functools import cache

import anthropic.types as sdk
import pytest

from providers.apis import CODECS
from providers.messages import MESSAGES
from streams.events import ErrorInfo, Usage
from streams.fold import fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.examples import places
from tests.support.messages_streams import check_grammar, read, reply, sdk_message
from tests.support.messages_streams import write as tell
from tests.support.provider_streams import read_either
from tests.support.repository import SHARED

RECORDED = pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traffic (../shared) is not here")
CORPUS = SHARED / "corpus" / "anthropic_messages"
STREAMS = sorted(CORPUS.glob("*.response.sse"))
BETA_STREAMS = (b'"compaction"', b'"fallback"', b"mcp_", b"advisor_")
"""In streams with blocks that the plain types of the SDK do not know."""
PLAIN_STREAMS = [path for path in STREAMS if not any(mark in path.read_bytes() for mark in BETA_STREAMS)]
FOLDERS = {"chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses"}


@RECORDED
@each_row("path", PLAIN_STREAMS or [None])
def test_the_sdk_reads_our_stream_like_the_recorded_one(path):
    data = path.read_bytes()
    before, after = sdk_message(data + b"\n\n", strict=False), sdk_message(tell(read(data)))
    given = [block.to_dict() for block in before.content if block.type != "text" or block.text]
    assert [_plain(block.to_dict()) for block in after.content] == list(map(_plain, given))
    assert (after.stop_reason, after.stop_sequence) == (before.stop_reason, before.stop_sequence)
    assert after.stop_details == before.stop_details
    assert after.usage.output_tokens == before.usage.output_tokens
    assert after.usage.input_tokens == before.usage.input_tokens
    assert after.usage.cache_creation == before.usage.cache_creation


def _plain(block):
    """Return a block without its optional members."""
    block = {name: value for name, value in block.items() if name not in ("caller", "parsed_output")}
    return block if block.get("citations") else {name: block[name] for name in block if name != "citations"}


# All three APIs


def stable_message(value):
    """Return a message without its id and empty members."""
    if isinstance(value, dict):
        kept = {name: stable_message(item) for name, item in value.items() if item is not None}
        return {name: item for name, item in kept.items() if name not in ("id", "parsed_output")} | (
            {"id": value["id"]} if value.get("type") == "tool_use" else {}
        )
    return [stable_message(item) for item in value] if isinstance(value, list) else value


BETA = ("compaction", "fallback", "mcp_tool_use", "mcp_tool_result", "mcp_tool_listing", "advisor_tool_result")


@cache
def _plain_answers():
    """Return the recorded answers of every API that fit the SDK's plain types.

    They are whole, have only known blocks, and no arguments truncated by a token limit.
    """
    found = []
    for api, folder in FOLDERS.items():
        for path in sorted((SHARED / "corpus" / folder).glob("*.response.*")):
            if not isinstance((events := read_either(CODECS[api], path.read_bytes()))[-1], ErrorInfo):
                blocks = json.loads(MESSAGES.write_answer(fold(events), reply()))["content"]
                if not any(block["type"] in BETA or "_raw" in str(block.get("input", "")) for block in blocks):
                    found.append((api, path))
    return found


def test_the_sdk_rebuilds_from_our_stream_exactly_our_whole_answer():
    """Whatever API the provider spoke: what streams and what does not are the same message (agentjido/req_llm#763)."""
    for api, path in places(_plain_answers(), by_default=3):
        with case((api, path)):
            events = read_either(CODECS[api], path.read_bytes())
            whole = json.loads(MESSAGES.write_answer(fold(events), reply()))
            data = tell(events)
            check_grammar(data)
            rebuilt = stable_message(sdk_message(data).to_dict())
            counts = [event.cache_write for event in events if isinstance(event, Usage)]
            if counts and counts[0] != counts[-1]:
                # The count grew after the start, and deltas do not state its lifetime.
                rebuilt["usage"].pop("cache_creation")
            assert rebuilt == stable_message(whole)
            assert sdk.Message.model_validate(whole).content or not whole["content"]
