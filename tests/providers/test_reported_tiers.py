"""The service tier that a provider reports, in the answers for clients of other APIs."""

import json

from providers.apis import CODECS
from streams.events import AnswerEnd, AnswerStart, BlockEnd, Event, TextDelta, Usage
from streams.fold import fold
from tests.support.each_row import each_row
from tests.support.lanes import reply_for

TIERS = ("default", "standard", "STANDARD", "flex", "priority", "reserved", "ultrafast", "priority eu", None)
"""As providers report them. ``priority eu`` is Anthropic's, with a region."""

NAMED = {
    "chat": ("default", "default", "default", "flex", "priority", None, None, None, None),
    "responses": ("default", "default", "default", "flex", "priority", "auto", "ultrafast", "auto", "auto"),
    "converse": ("default", "default", "default", "flex", "priority", "reserved", None, None, None),
    "interactions": ("standard", "standard", "standard", "flex", "priority", None, None, None, None),
}
"""The tiers in the words of each client's API. Responses always have one."""


def tier_in(client, answer):
    return (answer.get("serviceTier") or {}).get("type") if client == "converse" else answer.get("service_tier")


@each_row("client", NAMED)
def test_the_tier_of_an_answer_reaches_clients_of_other_apis(client):
    codec, reply = CODECS[client], reply_for(client)
    for tier, named in zip(TIERS, NAMED[client], strict=True):
        events: list[Event] = [
            AnswerStart(), TextDelta(0, "a"), BlockEnd(0), Usage(input=1, output=1, tier=tier),
            AnswerEnd("stop"),
        ]  # fmt: skip
        assert tier_in(client, json.loads(codec.write_answer(fold(events), reply))) == named, tier
        stream = codec.wire.framing.parse_all(b"".join(map(codec.writer(reply).send, events)))
        values = [json.loads(data) for _, data in stream if data != b"[DONE]"]
        last = [value.get("response", value.get("interaction", value)) for value in values][-1]
        assert tier_in(client, last) == named, tier
