"""Recorded answers, written for clients of all APIs, streamed and whole.

The grammars hold, both forms agree, and only content without a place in an API is lost.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from providers.apis import CODECS
from providers.grammar import GRAMMARS, judge
from providers.neutral.codec import Reply
from providers.neutral.seal import is_sealed, unseal
from streams.events import ErrorInfo, Event
from streams.fold import ReasoningBlock, fold
from tests.support.common_parts import common_parts, whole_answer
from tests.support.examples import places
from tests.support.lanes import reply_for
from tests.support.provider_streams import read_either
from tests.support.recordings import ABSENT, CORPUS
from tests.support.strings import strings

FOLDERS = {
    "chat": "openai_chat", "messages": "anthropic_messages", "responses": "openai_responses", "gemini": "gemini",
    "converse": "bedrock_converse",
}  # fmt: skip
NOT_RECORDED = {"interactions"}
"""APIs without recordings."""
EACH = 10
"""Recordings of each API and form; with --fast fewer of them are tried."""
LARGEST = 60_000  # bytes of a recording

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=ABSENT)


def recordings(api: str) -> Iterator[Path]:
    folder = CORPUS / FOLDERS[api]
    for pattern in ("*.response.json", "*.response.sse", "*.response.eventstream"):
        found = [path for path in sorted(folder.glob(pattern)) if path.stat().st_size < LARGEST]
        yield from found[:: max(1, len(found) // EACH)]


def sealed_items(body: bytes) -> list[tuple[str, Any]]:
    """Return the providers' reasoning items in the seals of a whole answer, with their APIs."""
    found: list[tuple[str, Any]] = []
    for text in strings(json.loads(body)):
        if is_sealed(text) and (made := unseal(text)) is not None:
            items = made.item if isinstance(made.item, list) else [made.item]
            found += [(made.api, item) for item in items]
    return found


def asking_for_usage(reply: Reply) -> Reply:
    return attrs.evolve(reply, request=attrs.evolve(reply.request, include_usage=True))


def write_both(client: str, events: list[Event], reply: Reply) -> tuple[bytes, bytes]:
    """Return the stream and the whole answer for a client."""
    writer = CODECS[client].writer(reply)
    return b"".join(map(writer.send, events)), CODECS[client].write_answer(fold(events), reply)


@pytest.mark.parametrize("source", FOLDERS)
def test_every_recorded_answer_is_written_for_every_client(source):
    assert FOLDERS.keys() == CODECS.keys() - NOT_RECORDED
    tried, failed, mistakes = 0, 0, []
    for path in places(list(recordings(source)), by_default=3):
        events = read_either(CODECS[source], path.read_bytes())
        if (answer := whole_answer(events)) is None:
            assert isinstance(events[-1], ErrorInfo), path.name
            failed += 1
            continue
        tried += 1
        for client in CODECS:
            reply = asking_for_usage(reply_for(client))
            stream, whole = write_both(client, events, reply)
            states = [block.state for block in answer.blocks if isinstance(block, ReasoningBlock) and block.state]
            if client != source:
                sealed = sealed_items(whole)
                mistakes += [
                    (path.name, client, "whole", "reasoning", state.item, sealed)
                    for state in states
                    if not any(state.api == api and state.item.items() <= item.items() for api, item in sealed)
                ]
            for form, body in zip(("stream", "whole"), (stream, whole), strict=True):
                if client in GRAMMARS:
                    verdict = judge(client, body)
                    if verdict.broken is not None and client != source:
                        mistakes.append((path.name, client, form, verdict.broken.rule, verdict.broken.found))
                again = whole_answer(read_either(CODECS[client], body))
                assert again is not None, (path.name, client, form)
                wanted, got = common_parts(answer, client), common_parts(again, client)
                mistakes += [
                    (path.name, client, form, what, wanted[what], got[what])
                    for what in wanted
                    if wanted[what] is not None and wanted[what] != got[what]
                ]
    assert tried > failed
    assert not mistakes, "\n".join(str(one)[:400] for one in mistakes[:40]) + f"\n{len(mistakes)} in all"
