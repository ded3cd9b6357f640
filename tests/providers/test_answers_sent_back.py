"""Answers that a client sends again with its next turn, directly or through its SDK.

Nothing is reported as lost in any API, and members that only answers have are not sent to a provider.
"""

import itertools
import json
from typing import Any

import anthropic
import openai

from providers.apis import CODECS
from providers.neutral.codec import Recipient, Reply
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from streams.events import AnswerEnd, AnswerStart, Event, Usage
from streams.fold import fold
from tests.support.apis import OLDER
from tests.support.block_events import call_events, text_events
from tests.support.each_row import each_row
from tests.support.next_requests import next_request
from tests.support.returned_answers import answer_items

ISSUER = Issuer("p", "")
SAID: list[Event] = [
    AnswerStart(), *text_events(0, "Let me see."), *call_events(1, '{"a":1}'), Usage(input=3, output=5),
    AnswerEnd("tool_calls"),
]  # fmt: skip
OF_ANSWERS = ("citations", "caller", "annotations", "refusal")


def answered(api: str) -> Any:
    return json.loads(CODECS[api].write_answer(fold(SAID), Reply(Request(api, "m", ()), ISSUER, created=5)))


def dump_model(model: Any) -> Any:
    return model.model_dump(mode="json", exclude_unset=True)


SDKS: dict[str, Any] = {
    "chat": openai.types.chat.ChatCompletion,
    "messages": anthropic.types.Message,
    "responses": openai.types.responses.Response,
}


@each_row("by_sdk, target, api", itertools.product([False, True], OLDER, OLDER))
def test_a_returned_answer_loses_nothing(by_sdk, target, api):
    answer = answered(api)
    if by_sdk:
        answer = dump_model(SDKS[api].model_validate(answer))
    body = json.dumps(answer).encode()
    call = CODECS[api].read_request(next_request(api, answer_items(api, body, streamed=False)))
    outgoing = CODECS[target].write_request(call, Recipient("m", ISSUER))
    assert outgoing.dropped == ()
    held = [name for name in OF_ANSWERS if f'"{name}"'.encode() in outgoing.body]
    assert held == (["annotations"] if target == "responses" else []), "Responses wants it of each text of an answer"
