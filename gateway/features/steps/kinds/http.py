"""The kind ``http``: a service that speaks LiteLLM's generic guardrail API.

The request has the texts, images, tool calls and messages, and the names of the client and its group. The reply passes
or blocks them, or returns changed ones, whose changes are masks.
See https://docs.litellm.ai/docs/adding_provider/generic_guardrail_api"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from weakref import WeakKeyDictionary

import attrs
import msgspec

from configfile.keys import setting
from configfile.kinds import HeaderName, Secret, Url
from gateway.features.steps.kinds import KindContext
from gateway.features.steps.kinds.differences import changes_between
from gateway.features.steps.kinds.services import CheckingService, SentPiece
from gateway.features.steps.runner import UncheckedText
from gateway.http.offload import offload
from streams.events import APIS
from streams.surrogates import NOT_JSON
from trigate.steps import Check, Finding, Passage

PATH: Final = "/beta/litellm_basic_guardrail_api"

_LISTS: Final = ("texts", "tool_calls", "structured_messages", "images", "tools")
"""The members of a reply that may differ from the request."""

BLOCKED: Final = "blocked"
MASKED: Final = "masked"

ROLES: Final[Mapping[str, str]] = {
    "system": "system",
    "user": "user",
    "assistant": "assistant",
    "reasoning": "assistant",
    "tool_calls": "assistant",
    "tool_results": "tool",
}
"""The roles of structured messages by part."""


@attrs.frozen(repr=False)
class HttpSettings:
    """The settings of an ``http`` step."""

    url: Url = setting(f"The address of the service. The gateway adds `{PATH}`, unless the address ends with it.")
    key: Secret | None = setting("The service's key, sent as `x-api-key`.", None, secret=True)
    headers: dict[HeaderName, Secret] = setting("Other headers for the service.", factory=dict, secret=True)
    params: dict[str, Any] = setting(
        "Settings of the service, sent as `additional_provider_specific_params`.", factory=dict
    )


class HttpStep(CheckingService):
    """A step that sends texts to a service. Its labels are ``blocked`` and ``masked``; the service decides on the
    action."""

    sees_text_so_far: Final = True

    def __init__(self, settings: HttpSettings, context: KindContext) -> None:
        url = settings.url.rstrip("/")
        key = {} if settings.key is None else {"x-api-key": settings.key}
        super().__init__(url if url.endswith(PATH) else url + PATH, {**settings.headers, **key}, context)
        self._params = settings.params
        self._restores = context.restores
        self._held_back: WeakKeyDictionary[Passage, int] = WeakKeyDictionary()

    async def check_batch(self, check: Check, batch: Sequence[SentPiece]) -> Sequence[Finding]:
        request = GuardRequest(check, batch)
        reply = await self.post(request.content(self._params), request.size)
        found, held_back = await offload(request.size, request.read, reply)
        self._held_back.update(held_back)
        # Only the gateway's own placeholders are unique, so that their values can return.
        return [attrs.evolve(one, replacement=None) for one in found] if self._restores else found

    def held_back(self, passage: Passage) -> int:
        """Return ``stream_holdback_chars`` of the reply for ``passage``."""
        return self._held_back.pop(passage, 0)


class GuardRequest:
    """One request to the service, and the positions of its texts."""

    def __init__(self, check: Check, pieces: Sequence[SentPiece]) -> None:
        self._check = check
        self._pieces = pieces
        self.size = sum(len(one.text) + len(one.passage.data or b"") for one in pieces)
        self._calls = [one for one in pieces if one.passage.part == "tool_calls" and one.passage.tool is not None]
        self._images = {image: one for one in pieces if (image := _image(one.passage)) is not None}
        self._tools = [one for one in pieces if one.passage.part == "tools" and one.start == 0]
        self._tool_values = [_chat_tool(one.passage) for one in self._tools]
        is_conversation = check.api in APIS and check.at != "response"
        self._rows = [one for one in pieces if one.passage.part in ROLES] if is_conversation else []
        elsewhere = {id(one) for one in (*self._calls, *self._images.values(), *self._tools)}
        self._texts = [one for one in pieces if id(one) not in elsewhere and one.text and one.passage.part != "tools"]

    def content(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the JSON of the request."""
        check = self._check
        aliases = {"user_api_key_alias": check.client, "user_api_key_team_alias": check.group}
        return {
            "input_type": "response" if check.at == "response" else "request",
            "litellm_call_id": check.request_id,
            "litellm_trace_id": check.run or check.request_id,
            "model": check.model,
            "texts": [one.text for one in self._texts],
            "images": list(self._images) or None,
            "tools": self._tool_values or None,
            "tool_calls": [_chat_call(one) for one in self._calls] or None,
            "structured_messages": [_message(one) for one in self._rows] or None,
            "request_data": {name: value for name, value in aliases.items() if value is not None},
            "additional_provider_specific_params": params,
        }

    def read(self, reply: Any) -> tuple[list[Finding], dict[Passage, int]]:
        """Return the findings of a reply, and the characters that it holds back. Raises ``UncheckedText``."""
        action = reply.get("action") if isinstance(reply, dict) else None
        held_back = self._read_held_back(reply) if isinstance(reply, dict) else {}
        match action:
            case "NONE":
                return [], held_back
            case "BLOCKED":
                return [self._refusal(BLOCKED)], held_back
            case "GUARDRAIL_INTERVENED" if any(reply.get(name) for name in _LISTS):
                found = [*self._changes(reply)]
                if found or not reply.get("blocked_reason"):
                    return found, held_back
                raise UncheckedText("malformed", "the reply of the service has a reason, but changes nothing")
            case "GUARDRAIL_INTERVENED":
                raise UncheckedText("malformed", "the reply of the service has no texts")
        raise UncheckedText("malformed", "the reply of the service has no known action")

    def _changes(self, reply: Mapping[str, Any]) -> Iterator[Finding]:
        texts = self._list(reply, "texts", len(self._texts))
        for piece, text in zip(self._texts, texts or (), strict=False):
            if not isinstance(text, str):
                raise UncheckedText("malformed", "the reply of the service has a text that is no string")
            yield from _masks(piece, text)
        calls = self._list(reply, "tool_calls", len(self._calls))
        for piece, call in zip(self._calls, calls or (), strict=False):
            yield from self._changed_call(piece, call)
        rows = self._list(reply, "structured_messages", None) or ()
        if rows and len(rows) != len(self._rows):  # the service rewrites the conversation
            yield self._refusal(MASKED)
            return
        for piece, row in zip(self._rows, rows, strict=False):
            yield from self._changed_row(piece, row)
        for name, sent in (("images", list(self._images)), ("tools", self._tool_values)):
            if (self._list(reply, name, None) or sent) != sent:  # no step can change them
                yield self._refusal(MASKED)

    def _list(self, reply: Mapping[str, Any], name: str, length: int | None) -> list[Any] | None:
        """Return a list of the reply, ``None`` if it is absent. Raises ``UncheckedText`` for another length."""
        found = reply.get(name)
        if found is None or (isinstance(found, list) and (length is None or len(found) == length)):
            return found
        if found == [] and name != "texts":
            return None
        raise UncheckedText("malformed", f"`{name}` of the service's reply does not match the request")

    def _changed_call(self, piece: SentPiece, call: Any) -> Iterator[Finding]:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or function.get("name") != piece.passage.tool:
            yield self._refusal(MASKED)
        elif isinstance(arguments := function.get("arguments"), str):
            yield from _masks(piece, arguments)
        else:
            raise UncheckedText("malformed", "the reply of the service has a call without arguments")

    def _changed_row(self, piece: SentPiece, row: Any) -> Iterator[Finding]:
        if not isinstance(row, dict):
            raise UncheckedText("malformed", "the reply of the service has a message that is no object")
        sent = _message(piece)
        if all(row.get(name) == value for name, value in sent.items()):
            return
        calls, content = row.get("tool_calls"), row.get("content")
        if row.get("role") != sent["role"]:
            yield self._refusal(MASKED)
        elif "tool_calls" in sent and isinstance(calls, list) and len(calls) == 1:
            yield from self._changed_call(piece, calls[0])
        elif "tool_calls" not in sent and isinstance(content, str):
            yield from _masks(piece, content)
        else:
            yield self._refusal(MASKED)

    def _refusal(self, label: str) -> Finding:
        """Return a finding that refuses everything: it covers the text that the client does not have yet."""
        passage = max((one.passage for one in self._pieces), key=lambda one: len(one.text) - one.released_length)
        return Finding(label, passage, 0, len(passage.text), action="refuse")

    def _read_held_back(self, reply: Mapping[str, Any]) -> dict[Passage, int]:
        lengths = reply.get("stream_holdback_chars")
        if lengths is None:
            return {}
        if not isinstance(lengths, list):
            lengths = [lengths] * len(self._texts)
        if any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in lengths):
            raise UncheckedText("malformed", "the reply of the service has no lengths in stream_holdback_chars")
        pairs = zip(self._texts, lengths, strict=False)
        return {piece.passage: length for piece, length in pairs if piece.is_last and length}


def _masks(piece: SentPiece, text: str) -> Iterator[Finding]:
    """Yield a mask for each span that the service changed."""
    for start, end, replacement in changes_between(piece.text, text):
        yield Finding(MASKED, piece.passage, piece.start + start, piece.start + end, replacement, "mask")


def _image(passage: Passage) -> str | None:
    """Return the picture of a passage: a URL, or a data URL where the step gets bytes."""
    if passage.part != "media":
        return None
    if passage.data is not None:
        return f"data:{passage.media_type};base64,{base64.b64encode(passage.data).decode()}"
    return passage.text if passage.text.startswith(("http://", "https://")) else None


def _chat_tool(passage: Passage) -> Any:
    """Return a definition in the form of Chat Completions; those of unknown form stay unchanged."""
    try:
        value = msgspec.json.decode(passage.text)
    except NOT_JSON:
        return {"type": "function", "function": {"name": passage.tool or "", "description": passage.text}}
    if not isinstance(value, dict) or "function" in value or "name" not in value:
        return value
    schema = next((value[name] for name in ("input_schema", "parameters") if name in value), None)
    if schema is None:
        return value
    known = {name: value[name] for name in ("name", "description", "strict") if name in value}
    return {"type": "function", "function": {**known, "parameters": schema}}


def _chat_call(piece: SentPiece) -> dict[str, Any]:
    passage = piece.passage
    return {"id": passage.path, "type": "function", "function": {"name": passage.tool, "arguments": piece.text}}


def _message(piece: SentPiece) -> dict[str, Any]:
    """Return a text as a message of Chat Completions."""
    passage = piece.passage
    role = ROLES[passage.part]
    if passage.part == "tool_calls" and passage.tool is not None:
        return {"role": role, "content": None, "tool_calls": [_chat_call(piece)]}
    if role == "tool":
        return {"role": role, "tool_call_id": passage.path, "name": passage.tool, "content": piece.text}
    return {"role": role, "content": piece.text}
