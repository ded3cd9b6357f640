"""Repairs of a provider's tool calls, for Chat clients that get its bytes: SDKs would build other calls of them.

OpenAI's fragments have the number of their call, and only a call's first one has its id and name. Other servers give
all calls one number (ollama/ollama#15457, vercel/ai#14277) or none (openai/openai-python#2806), repeat id and name
(SillyTavern/SillyTavern#5948, NousResearch/hermes-agent#12230), or send no id. Some send arguments as an object
(ggml-org/llama.cpp#20198). Clients join such calls, or double their names. Some send the name after the first fragment,
which Vercel's SDK rejects (anomalyco/opencode#24137).

Other oddities are no faults: OpenAI itself ends an answer with a forced call with ``stop``.
"""

from typing import Any

import msgspec

from providers.chat.reading import Calls, parse_fragment
from providers.neutral.bounds import PLACE, PLACES, AnswerTooLarge, Budget
from providers.neutral.values import bounded_objects, load


class CallRepair:
    """A repair of the calls in one answer. ``faults`` are the repaired members."""

    def __init__(self) -> None:
        self.faults: dict[str, None] = {}
        self._calls: dict[Any, Calls] = {}  # by choice
        self._places = Budget(PLACES)
        self._nameless: dict[tuple[int, int], dict[str, Any]] = {}  # fragments before the name, by choice and call

    def __call__(self, data: bytes) -> bytes:
        """Return the JSON ``data`` of a chunk or a whole answer with repaired calls; the same object without faults."""
        if not (b'"tool_calls"' in data or self._nameless) or not isinstance(body := load(data), dict):
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
        if not isinstance(message, dict):
            return False
        index = choice.get("index")
        index = index if isinstance(index, int) else 0
        was = message.get("tool_calls")
        found = self._repair_calls(index, was, is_piece=is_piece) if isinstance(was, list) else []
        if is_piece and choice.get("finish_reason"):
            found += [self._nameless.pop(key) for key in [*self._nameless] if key[0] == index]
        if found == (was or []):
            return False
        message["tool_calls"] = found
        if not found:
            del message["tool_calls"]
        return True

    def _repair_calls(self, index: int, was: list[Any], *, is_piece: bool) -> list[Any]:
        """Return the calls of the choice ``index`` without faults, and without those that have no name yet."""
        if (calls := self._calls.get(index)) is None:
            self._places.spend(PLACE, "choices")
            calls = self._calls[index] = Calls(self._places, is_whole=not is_piece)
        found = [
            self._repair_fragment(calls, index, one, is_piece=is_piece) if isinstance(one, dict) else one for one in was
        ]
        return [one for one in found if one is not None]

    def _repair_fragment(
        self, calls: Calls, index: int, fragment: dict[str, Any], *, is_piece: bool
    ) -> dict[str, Any] | None:
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
        if not is_piece or (call.name and (index, call.number) not in self._nameless):
            return found
        first = self._nameless.pop((index, call.number), {})
        inner = {**_object(first, inner_name), **_object(found, inner_name)}
        inner[arguments] = f"{_object(first, inner_name).get(arguments) or ''}{text}"
        found = {**first, **found, inner_name: inner}
        if call.name:
            return found
        self.faults["tool_calls[].name"] = None
        self._places.spend(PLACE + len(text), "arguments without a name")
        self._nameless[index, call.number] = found
        return None

    def _put(self, holder: dict[str, Any], name: str, value: Any) -> None:
        """Set the member ``name``, or remove it with ``None``."""
        self.faults[f"tool_calls[].{name}"] = None
        if value is None:
            del holder[name]
        else:
            holder[name] = value


def _object(fragment: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the object ``name`` in a fragment, ``{}`` without one."""
    return inner if isinstance(inner := fragment.get(name), dict) else {}
