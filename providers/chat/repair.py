"""Repairs of a provider's tool calls, for Chat clients that get its bytes: SDKs would build other calls of them.

OpenAI's fragments have the number of their call, and only a call's first one has its id and name. Other servers give
all calls one number (ollama/ollama#15457, vercel/ai#14277) or none (openai/openai-python#2806), repeat id and name
(SillyTavern/SillyTavern#5948, NousResearch/hermes-agent#12230), or send no id. Some send arguments as an object
(ggml-org/llama.cpp#20198). Clients join such calls, or double their names.

Other oddities are no faults: OpenAI itself ends an answer with a forced call with ``stop``.
"""

from typing import Any

import msgspec

from providers.chat.reading import Calls, parse_fragment
from providers.neutral.bounds import ANSWER, PLACE, AnswerBudgets, AnswerTooLarge
from providers.neutral.values import bounded_objects, load


class CallRepair:
    """A repair of the calls in one answer. ``faults`` are the repaired members."""

    def __init__(self) -> None:
        self.faults: dict[str, None] = {}
        self._calls: dict[Any, Calls] = {}  # by choice
        self._places = AnswerBudgets(ANSWER).places

    def __call__(self, data: bytes) -> bytes:
        """Return the JSON ``data`` of a chunk or a whole answer with repaired calls; the same object without faults."""
        if b'"tool_calls"' not in data or not isinstance(body := load(data), dict):
            return data
        try:
            changed = [self._repair_choice(choice) for choice in bounded_objects(body.get("choices"))]
        except AnswerTooLarge:  # the reader of the answer reports it
            return data
        return msgspec.json.encode(body) if any(changed) else data

    def _repair_choice(self, choice: dict[str, Any]) -> bool:
        """Repair the calls of ``choice`` in their place, and return whether any had a fault."""
        is_piece = isinstance(choice.get("delta"), dict)
        message = choice["delta"] if is_piece else choice.get("message")
        if not isinstance(message, dict) or not isinstance(message.get("tool_calls"), list):
            return False
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        if (calls := self._calls.get(index)) is None:
            self._places.spend(PLACE, "choices")
            calls = self._calls[index] = Calls(self._places, is_whole=not is_piece)
        was = message["tool_calls"]
        message["tool_calls"] = [
            self._repair_fragment(calls, one, is_piece=is_piece) if isinstance(one, dict) else one for one in was
        ]
        return bool(message["tool_calls"] != was)

    def _repair_fragment(self, calls: Calls, fragment: dict[str, Any], *, is_piece: bool) -> dict[str, Any]:
        kind, name, text = parse_fragment(fragment)
        if not (name or text or fragment.get("id")):
            return fragment
        count = len(calls)
        call = calls.find(fragment, name, text)
        is_first = len(calls) > count
        found = dict(fragment)
        if is_piece and fragment.get("index") != call.number:
            self._put(found, "index", call.number)
        if is_first and fragment.get("id") != call.id:
            self._put(found, "id", call.id)
        elif not is_first and fragment.get("id"):
            self._put(found, "id", None)
        inner_name, arguments = ("custom", "input") if kind == "custom" else ("function", "arguments")
        if isinstance(inner := fragment.get(inner_name), dict):
            found[inner_name] = inner = dict(inner)
            if name and name == call.name:
                self._put(inner, "name", None)
            if inner.get(arguments) is not None and not isinstance(inner[arguments], str):
                self._put(inner, arguments, text or "{}")
        # As in the reader: later fragments without an id may begin another call.
        call.name = call.name or name
        call.arguments.add(text)
        return found

    def _put(self, holder: dict[str, Any], name: str, value: Any) -> None:
        """Set the member ``name``, or remove it with ``None``."""
        self.faults[f"tool_calls[].{name}"] = None
        if value is None:
            del holder[name]
        else:
            holder[name] = value
