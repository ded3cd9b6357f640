"""Writers of output items and response objects for Responses clients.

Used for the last events of a stream, the end of a forwarded stream, and whole answers. Every member that the openai
package requires is written, as ``null`` if allowed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from providers.errors.failures import KIND_OF_WORD, OPENAI_CODE, OPENAI_TYPE
from providers.neutral.arguments import arguments_object
from providers.neutral.codec import Reply, complete_usage
from providers.neutral.ends import WRITTEN
from providers.neutral.made_images import made_images
from providers.neutral.seal import Issuer, seal
from providers.neutral.texts import CIPHERTEXT
from providers.neutral.token_usage import OPENAI_TIERS, tier_for_client
from providers.neutral.values import as_object, as_objects
from providers.responses import last_number
from providers.responses.tools import ENCRYPTED_ARGUMENTS, DeclaredTool, is_client_search, own_id
from streams import sse
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Api,
    Citation,
    ErrorInfo,
    ErrorKind,
    ReasoningState,
    ToolCallStart,
    Usage,
)
from streams.fold import ToolCallBlock
from streams.surrogates import NOT_JSON

ECHO: Mapping[str, Any] = {
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}

# Without state storage these always apply, whatever the request's values: nothing can be retrieved by id later.
NOT_STORED: Mapping[str, Any] = {"background": False, "previous_response_id": None, "store": False}


def failed_events(error: ErrorInfo, begin: AnswerStart, events: int) -> bytes:
    """Return the end of a failed stream from the sequence number ``events`` on; an empty stream also starts first."""
    if events:
        return end_events(events, _bare_response(begin, _failure(error)))
    created = {"type": "response.created", "sequence_number": 0, "response": _bare_response(begin, None)}
    return sse.event("response.created", created) + end_events(1, _bare_response(begin, _failure(error)))


def end_events(number: int, response: Mapping[str, Any]) -> bytes:
    """Return the terminal event of ``response`` with the sequence number ``number``.

    A failure has ``error`` first, as at OpenAI: the SDKs, and many programs over them, ignore ``response.failed``
    (langchain-ai/langchain#39039), and Codex ignores ``error``.
    """
    first = b""
    if response["status"] == "failed":
        first, number = _error_event(number, response["error"]), number + 1
    return first + _last_event(number, response)


def repeated_error(reported: bytes, error: ErrorInfo, begin: AnswerStart) -> bytes:
    """Return ``response.failed`` after a provider's ``error``. See ``Codec.repeated_error``."""
    return _last_event(last_number(reported) + 1, _bare_response(begin, _failure(error)))


def _last_event(number: int, response: Mapping[str, Any]) -> bytes:
    name = f"response.{response['status']}"
    return sse.event(name, {"type": name, "sequence_number": number, "response": response})


def report_failure(raw: bytes, data: bytes, error: ErrorInfo, events: int) -> bytes:
    """Return what reports a provider's failure to a client. See ``Codec.report_failure``."""
    try:
        members = _MEMBERS(data)
        kind, number = (msgspec.json.decode(members.get(name, b"null")) for name in ("type", "sequence_number"))
    except NOT_JSON:
        members, kind, number = {}, None, None
    if members.get("error", b"null") != b"null":
        return raw
    first = _error_event(number if isinstance(number, int) else events, _failure(error))
    if kind == "error":  # a flat one, as in the types of the SDKs, for which they do not raise
        return first
    return first + (sse.event(kind, {**members, "sequence_number": number + 1}) if isinstance(number, int) else raw)


_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _failure(error: ErrorInfo) -> Mapping[str, str]:
    return {"code": error.code or OPENAI_CODE.get(error.kind, "server_error"), "message": error.message}


def _error_event(number: int, failure: Mapping[str, str]) -> bytes:
    kind = KIND_OF_WORD.get(failure["code"], "upstream")
    error = {"type": OPENAI_TYPE[kind], "code": failure["code"], "message": failure["message"], "param": None}
    return sse.event("error", {"type": "error", "sequence_number": number, "error": error})


def _bare_response(begin: AnswerStart, error: Mapping[str, str] | None) -> Mapping[str, Any]:
    """Return a response object with every member that clients expect."""
    return {
        "id": begin.id or "resp_unknown",
        "object": "response",
        "created_at": begin.created or 0,
        "status": "in_progress" if error is None else "failed",
        "completed_at": None,
        "error": error,
        "incomplete_details": None,
        "model": begin.model,
        "output": [],
        "usage": None,
        **ECHO,
        **NOT_STORED,
    }


Object: TypeAlias = dict[str, Any]

DEFAULT_FORMAT_NAME = "output"  # the name of a format without one
IMAGE_CALL = "image_generation_call"
_IMAGE_FORMATS = ("png", "webp", "jpeg", "gif")
NO_ARGUMENTS = "{}"  # clients parse the arguments, even of a call without any (su-kaka/gcli2api#406)

# Reasons of this API only, written back unchanged.
OWN_INCOMPLETE_REASONS = ("max_messages", "steered")

# `response.error.code` has fewer values than the error of a status (`ResponseError` of the openai package).
CODE_OF_KIND: Mapping[ErrorKind, str] = {"rate_limited": "rate_limit_exceeded", "invalid_request": "invalid_prompt"}

INTERRUPTED = ErrorInfo("upstream", "the answer ended before it was complete")


@attrs.frozen(eq=False, repr=False)
class ResponseTemplate:
    """The members that all response objects of one answer share."""

    id: str
    created: int
    model: str
    echo: Mapping[str, Any]
    input_estimate: int

    @classmethod
    def of(cls, reply: Reply) -> "ResponseTemplate":
        id = reply.id or own_id("resp_")
        return cls(id, reply.created, reply.request.model, _echoed_members(reply), reply.input_estimate)

    def response(
        self,
        status: str,
        output: Iterable[Any] = (),
        usage: Usage | None = None,
        error: Object | None = None,
        incomplete: str | None = None,
    ) -> Object:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "completed_at": self.created if status == "completed" else None,
            "error": error,
            "incomplete_details": None if incomplete is None else {"reason": incomplete},
            "model": self.model,
            "output": list(output),
            "usage": None if usage is None else usage_object(usage),
            **self.echo,
            **({} if (tier := tier_for_client(usage, OPENAI_TIERS)) is None else {"service_tier": tier}),
        }

    def finished_response(self, end: AnswerEnd, output: Sequence[Any], usage: Usage | None) -> Object:
        """Return the response object of a complete answer.

        Usage that the provider did not send is estimated. Without it, OpenCode repeats the request forever, and with 0
        input tokens Codex never compacts (duolahypercho/codex-router#95).
        """
        status, word = final_status(end)
        counted = complete_usage(usage, self.input_estimate, sum(map(_written_length, output)))
        response = self.response(status, output, counted, incomplete=word)
        if end.moderation is not None:
            response["moderation"] = end.moderation
        return response

    def failed_response(self, error: ErrorInfo, output: Sequence[Any], usage: Usage | None) -> Object:
        """Return the response object of an answer that broke off."""
        code = error.code or CODE_OF_KIND.get(error.kind) or OPENAI_CODE["upstream"]
        return self.response("failed", output, usage, error={"code": code, "message": error.message})

    def interrupted_response(
        self, status: str, error: ErrorInfo | None, output: Sequence[Any], usage: Usage | None
    ) -> Object:
        """Return the response object of an answer that was cancelled or not finished.

        An incomplete one has no reason, because none of the API's reasons fits.
        """
        if status == "failed":
            return self.failed_response(error or INTERRUPTED, output, usage)
        return self.response(status, output, usage)


def final_status(end: AnswerEnd) -> tuple[str, str | None]:
    """Return the status of an answer with this end, and the reason if it is incomplete."""
    word = WRITTEN["responses"][end.reason]
    if not word:
        return "completed", None
    return "incomplete", end.raw if end.raw in OWN_INCOMPLETE_REASONS else word


OWN_TOOLS = ("function", "custom", "namespace")
"""Types of tools that the client runs itself; a provider may lack any other type."""


def _echoed_members(reply: Reply) -> Object:
    source = _sent_members(reply) if reply.request.api == "responses" else {}
    echo = {name: default if source.get(name) is None else source[name] for name, default in ECHO.items()}
    echo["reasoning"] = ECHO["reasoning"] | echo["reasoning"]
    echo["text"] = _echoed_text(echo["text"])
    echo["tool_choice"] = _echoed_choice(echo["tool_choice"])
    echo["tools"] = [_echoed_tool(tool) for tool in echo["tools"]]
    echo |= {**NOT_STORED, **reply.state}
    # Instructions and tools may be long and occur in three events, so they are encoded once.
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in echo.items()}


def _sent_members(reply: Reply) -> Mapping[str, Any]:
    """Return the members of the request that the provider received.

    Two members are independent of the provider: ``metadata`` is the client's label for the response, and
    ``reasoning.summary`` is honoured by the gateway, which writes every API's thoughts as summaries.
    """
    source = reply.request.source
    for path in reply.unsent:
        if path == "tools[]":  # the path does not identify the tools; the client's own are always sent
            tools = [t for t in source.get("tools") or () if t.get("type") in OWN_TOOLS or is_client_search(t)]
            source = {**source, "tools": tools}
        name, _, member = path.partition(".")
        if name == "metadata" or path == "reasoning.summary" or name not in source or name not in ECHO:
            continue
        kept = {} if not member else {name: {key: value for key, value in source[name].items() if key != member}}
        source = {**{other: value for other, value in source.items() if other != name}, **kept}
    return source


def _echoed_tool(tool: Object) -> Object:
    """Return a tool of the request with the members that the types and Open Responses require."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, **tool, "strict": bool(tool.get("strict"))}


def _echoed_text(text: Object) -> Object:
    """Return ``text`` of the request with the required members of its format."""
    members = {name: value for name, value in text.items() if value is not None}
    format = members.get("format") or ECHO["text"]["format"]
    if format.get("type") == "json_schema":
        name = format.get("name") or DEFAULT_FORMAT_NAME
        format = {"description": None, **format, "name": name, "strict": bool(format.get("strict"))}
    return {**members, "format": format}


def _echoed_choice(choice: Any) -> Any:
    """Return ``tool_choice`` of the request with the ``mode`` that a list of allowed tools requires."""
    if not isinstance(choice, dict) or choice.get("type") != "allowed_tools":
        return choice
    return {**choice, "mode": choice.get("mode") or "auto"}


def _written_length(value: Any) -> int:
    """Return the number of characters that the model wrote in an output item."""
    item = as_object(value)
    parts = (*as_objects(item.get("content")), *as_objects(item.get("summary")))
    texts = [item.get("arguments"), item.get("input"), *(part.get("text") or part.get("refusal") for part in parts)]
    return sum(len(text) for text in texts if isinstance(text, str))


def usage_object(usage: Usage) -> Object:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": min(usage.reasoning or 0, usage.output)},
        "total_tokens": usage.prompt + usage.output,
    }


# Items


def message_item(
    id: str, content: Sequence[Object] = (), status: str = "completed", phase: str | None = None
) -> Object:
    """Return a message item.

    ``phase`` must come from the provider: with an invented one, the openai package does not parse structured output
    (``parse_response`` of its ``lib/_parsing/_responses.py``).
    """
    item: Object = {"id": id, "type": "message", "status": status, "role": "assistant", "content": list(content)}
    return item if phase is None else item | {"phase": phase}


def text_part(text: str = "", annotations: Sequence[Object] = (), logprobs: Sequence[Object] = ()) -> Object:
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": list(logprobs)}


def token_logprobs(logprobs: Any) -> list[Object]:
    """Return log probabilities in this API's form: ``bytes`` may be ``null`` in Chat but not here."""
    found = [token for token in logprobs if isinstance(token, dict)] if isinstance(logprobs, list | tuple) else []
    return [{**_token_object(token), "top_logprobs": list(map(_token_object, as_objects(token.get("top_logprobs"))))}
            for token in found]  # fmt: skip


def _token_object(token: Object) -> Object:
    return {**token, "bytes": token.get("bytes") or []}


def refusal_part(text: str = "") -> Object:
    return {"type": "refusal", "refusal": text}


def summary_part(text: str = "") -> Object:
    return {"type": "summary_text", "text": text}


def reasoning_item(id: str, text: str = "", sealed: str | None = None, status: str = "completed") -> Object:
    """Return a reasoning item. OpenAI's have no ``status``, but Open Responses requires one for every item."""
    summary = [summary_part(text)] if text else []
    item: Object = {"id": id, "type": "reasoning", "status": status, "summary": summary}
    if sealed is not None:
        item["encrypted_content"] = sealed
    return item


def sealed_text(issuer: Issuer, state: ReasoningState) -> str:
    """Return the provider's reasoning as sealed ``encrypted_content``."""
    return seal(issuer, state.api, state.item)


def native_reasoning(state: ReasoningState | None, *, kept: bool) -> Object | None:
    """Return the provider's own reasoning item to forward unchanged, or ``None``.

    The provider verifies ``encrypted_content`` on the next turn and ends the conversation if that fails
    (openai/codex#8145 shows the error), so nothing in the item may change. An answer that is ``kept`` under the
    gateway's id has it sealed instead: the next turn may go to another provider, and two stored items may not share an
    id, which some servers repeat.
    """
    if kept or state is None or state.api != "responses" or not isinstance(state.item, dict):
        return None
    return state.item if state.item.get("id") else None


_ENCRYPTED_ARGUMENT = re.compile(rf'"{CIPHERTEXT}"')


def call_item(id: str, call_id: str, tool: DeclaredTool, input: str = "", status: str = "completed") -> Object:
    if tool.is_search:
        return {
            "id": id, "type": "tool_search_call", "status": status, "call_id": call_id, "execution": "client",
            "arguments": arguments_object(input),
        }  # fmt: skip
    item: Object = {"id": id, "type": "function_call", "status": status, "call_id": call_id, "name": tool.name}
    if tool.kind == "custom":
        item |= {"type": "custom_tool_call", "input": input}
    else:
        item["arguments"] = input
        if tool.encrypted and status != "in_progress" and not _ENCRYPTED_ARGUMENT.search(input):
            # Otherwise Codex passes the text on as ciphertext, which OpenAI rejects (openai/codex#37858).
            item[ENCRYPTED_ARGUMENTS] = []
    if tool.namespace is not None:
        item["namespace"] = tool.namespace
    return item


def image_items(api: Api, item: Any) -> list[Object]:
    """Return items for the images in a native item of another ``api``, as if a hosted tool had made them.

    ``output_format`` has a few values, so that clients find the format of others by the image's first bytes.
    """
    found: list[Object] = []
    for image in made_images(api, item):
        made: Object = {"id": own_id("ig_"), "type": IMAGE_CALL, "status": "completed", "result": image.data}
        found.append(made | ({"output_format": image.format} if image.format in _IMAGE_FORMATS else {}))
    return found


def announced_image(item: Object) -> Object:
    """Return the item of an image before its content: an event with the content follows."""
    return {**item, "status": "in_progress", "result": None}


def annotation(cited: Citation, length: int) -> Object | None:
    """Return a citation of a text of ``length`` characters in this API's form, or ``None`` if it cannot express it."""
    item = cited.item
    if not isinstance(item, dict) or cited.api == "responses":
        return item if isinstance(item, dict) else None
    link = item.get("url_citation") if cited.api == "chat" else item
    if not isinstance(link, dict) or not isinstance(link.get("url"), str):
        return None
    start, end = link.get("start_index"), link.get("end_index")
    return {
        "type": "url_citation",
        "url": link["url"],
        "title": link.get("title") or "",
        "start_index": start if isinstance(start, int) else 0,
        "end_index": end if isinstance(end, int) else length,
    }


def find_called_tool(
    begin: ToolCallStart | ToolCallBlock, tools: Mapping[str, DeclaredTool]
) -> tuple[DeclaredTool, bool]:
    """Return the called tool as the client declared it, and whether its input is wrapped in JSON."""
    tool = tools.get(begin.name) or DeclaredTool(begin.name, kind=begin.kind)
    return tool, tool.kind == "custom" and begin.kind == "function"


def annotations(cited: Sequence[Citation], length: int) -> list[Object]:
    return [note for one in cited if (note := annotation(one, length)) is not None]
