"""Parts that call a function of the client's: whole, or with arguments in pieces (``willContinue``)."""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.gemini.reading.partial_arguments import PartialArguments
from providers.gemini.reading.unfinished import UnfinishedAnswer
from providers.neutral.bounds import PLACE
from streams.errors import GatewayError
from streams.events import BlockEnd, Event, ToolCallDelta, ToolCallStart


def call(answer: UnfinishedAnswer, part: Mapping[str, Any], signature: str) -> list[Event]:
    """The events of a ``functionCall`` part. Raises ``GatewayError`` for a piece of a call that has not begun: it is
    not an argument of the next one (BerriAI/litellm#23815)."""
    item = part["functionCall"]
    if not isinstance(item, dict):
        return []
    if not item.get("name"):
        return _go_on(answer, item)
    answer.places.spend(PLACE, "tool calls")
    id = answer.call_id(item.get("id"))
    state = {"part": "functionCall", "id": id, "signature": signature}
    events = answer.sign_block(state) if signature else answer.end_block()
    number = answer.new_block()
    events.append(ToolCallStart(number, id, str(item["name"])))
    if item.get("willContinue") or "partialArgs" in item:
        answer.number = number
        answer.arguments = PartialArguments(answer.held, answer.keeps)
        answer.arguments.begin(item.get("args"))
        answer.arguments.add(item.get("partialArgs"))
        return events if item.get("willContinue") else [*events, *answer.end_block()]
    args = item.get("args")
    text = msgspec.json.encode(args if isinstance(args, dict) else {}).decode()
    return [*events, ToolCallDelta(number, text), BlockEnd(number)]


def _go_on(answer: UnfinishedAnswer, item: Mapping[str, Any]) -> list[Event]:
    """A further piece of the call that is open. One without any member only says that it was the last."""
    if answer.arguments is None:
        if not item:
            return []
        message = "the provider sent a piece of a call that has not begun"
        raise GatewayError("upstream", message, reason="bad_answer")
    answer.arguments.add(item.get("partialArgs"))
    return [] if item.get("willContinue") else answer.end_block()
