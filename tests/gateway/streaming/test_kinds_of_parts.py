"""Each kind of part that the SDKs of Google and Amazon know, also one that a model never sends, breaks no answer."""

import json
from collections.abc import Mapping
from typing import Any

from providers.apis import CODECS
from providers.grammar import judge
from streams.fold import fold
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.lanes import reply_for, whole_lane
from tests.support.sdk_fields import samples

PATHS = {"gemini": "contents[].parts[]", "converse": "messages[].content[]"}
UNKNOWN = {"somethingNew": {"a": 1}}


def kinds(api: str) -> Mapping[str, dict[str, Any]]:
    """Return the smallest part of each kind in the SDK's types, and an unknown one."""
    found = {"unknown": UNKNOWN}
    for sample in samples(api):
        if sample.path == PATHS[api]:
            turns = sample.with_field["contents" if api == "gemini" else "messages"]
            found[sample.kinds[-1]] = turns[-1]["parts" if api == "gemini" else "content"][0]
    return found


def answer_with(api: str, part: dict[str, Any]) -> bytes:
    content = [{"text": "Hello"}, part]
    if api == "gemini":
        return json.dumps({"candidates": [{"content": {"parts": content}, "finishReason": "STOP"}]}).encode()
    message = {"role": "assistant", "content": content}
    return json.dumps({"output": {"message": message}, "stopReason": "end_turn", "usage": {}}).encode()


@each_row(("api", "client"), [(api, client) for api in PATHS for client in CODECS if client != api])
def test_every_kind_of_part_leaves_the_rest_of_the_answer(api, client):
    for kind, part in kinds(api).items():
        body = answer_with(api, part)
        whole = CODECS[client].write_answer(fold(CODECS[api].read_answer(body)), reply_for(client))
        lane = whole_lane(api, client)
        stream = lane.feed(body) + lane.end()
        with case(kind):
            assert (judge(client, whole).broken, b"Hello" in whole) == (None, True)
            verdict = judge(client, stream, streamed=True)
            assert (verdict.broken, verdict.outcome, b"Hello" in stream) == (None, "complete", True)
