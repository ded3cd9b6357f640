"""The grammar of Chat Completions.

Each choice has a chunk with the role, deltas, and one chunk with ``finish_reason``; after all choices follow the usage
chunk, if requested, and ``[DONE]``. A failure is a chunk with ``error``, which ends the stream. Sources: OpenAI's
reference and the types of the openai package.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from providers.grammar.frames import DONE, FRAME_RULES, NO_ID, SSE_FRAMES
from providers.grammar.rules import Finding, Outcome, Rule, States, Stream, order_violation, table
from providers.grammar.shapes import Shape, elements, find_misfit, is_object, members, one_of, show, string_or_empty

SPEC = "OpenAI, Chat Completions reference"
TYPES = "types of the openai package"
OTHERS = "other servers of this API"
AZURE = "Azure: content filter chunks"

FRAMES = SSE_FRAMES

RULES: Mapping[str, Rule] = table(
    *FRAME_RULES,
    NO_ID,
    Rule("chat.frame.unnamed", "there is no event: line", SPEC, "Groq: event: error"),
    # The chunk
    Rule("chat.chunk.object", "object is chat.completion.chunk", SPEC, "Azure, Perplexity"),
    Rule("chat.chunk.shape", "a chunk has id, created, model and choices", "anomalyco/opencode#1298"),
    Rule("chat.chunk.id", "the id begins with chatcmpl-", SPEC, OTHERS),
    Rule("chat.chunk.same", "id, created and model are the same in every chunk", SPEC, AZURE),
    Rule("chat.choice.shape", "a choice has index and delta", TYPES),
    Rule("chat.choice.keys", "every choice has finish_reason, null before the end", "openai Node types", OTHERS),
    Rule("chat.choice.none", "only the usage chunk has no choices", "digitalocean/langchain-gradient#27", AZURE),
    Rule("chat.delta.shape", "content, reasoning and refusal are strings, tool_calls an array", TYPES,
         "Mistral: content is an array; others: null"),
    Rule("chat.delta.reasoning", "reasoning has one member name", "BerriAI/litellm#29600", OTHERS),
    # Order
    Rule("chat.role.first", "the first chunk of a choice has the role assistant", "Portkey-AI/gateway#1399", OTHERS),
    Rule("chat.role.once", "no later chunk has a role", "Portkey-AI/gateway#1000", "OpenRouter, Ollama, Perplexity"),
    Rule("chat.finish.once", "one chunk per choice has a finish_reason", SPEC, OTHERS),
    Rule("chat.finish.last", "nothing of a choice follows its finish_reason", SPEC, OTHERS),
    Rule("chat.finish.alone", "the chunk with the finish_reason has an empty delta", SPEC, "Mistral, Moonshot"),
    Rule("chat.finish.there", "every choice has its finish_reason before the usage chunk and the end",
         "OpenCode repeats the request forever without it", "Snowflake"),
    Rule("chat.done.last", "nothing follows [DONE], which comes once", SPEC),
    Rule("chat.error.last", "nothing follows an error, not even [DONE]", "BerriAI/litellm#40578"),
    Rule("chat.end", "the stream ends with [DONE] or an error", SPEC, "Perplexity, Hugging Face router"),
    # Ends
    Rule("chat.finish.known", "finish_reason is one of the API's five", "Portkey-AI/gateway#857", OTHERS),
    Rule("chat.finish.calls", "finish_reason is tool_calls instead of stop if there are calls, and never without "
                              "calls",
         "vercel/ai#12218", OTHERS),
    # Tool calls
    Rule("chat.tool.index", "calls have the indexes 0, 1, 2, … in each choice", "langchain-ai/langchain#34807",
         "Mistral: none; Ollama: all 0"),
    Rule("chat.tool.begin", "the first fragment of a call has name and arguments", "vercel/ai#9579"),
    Rule("chat.tool.type", "the first fragment of a call has its type", "vercel/ai#9579", "Mistral"),
    Rule("chat.tool.id", "a call has a unique id", "mcowger/plexus#691", "Google, Alibaba: empty"),
    Rule("chat.tool.repeat", "only the first fragment of a call has id, type and name", "langchain-ai/langchain#35281",
         OTHERS),
    Rule("chat.tool.json", "the joined arguments of a function are a JSON object", "su-kaka/gcli2api#406"),
    # Usage
    Rule("chat.usage.asked", "the usage chunk is sent if and only if the request "
                             "asks for it", "awslabs/llmeter#34", OTHERS),
    Rule("chat.usage.last", "the usage chunk comes once, and only [DONE] follows", SPEC),
    Rule("chat.usage.alone", "no other chunk has usage", "microsoft/foundry-local#905", "Mistral, DeepSeek"),
    Rule("chat.usage.ints", "token counts are integers ≥ 0, in the details too", "openai/openai-agents-python#760",
         "Databricks: null"),
    Rule("chat.usage.total", "total_tokens is prompt_tokens + completion_tokens", SPEC, "Google, xAI"),
    Rule("chat.usage.parts", "cached and reasoning tokens are part of their sums", "BerriAI/litellm#10667", OTHERS),
    # Errors and whole answers
    Rule("chat.error.shape", "an error is {error: {message, type, param, code}}", "openai SDKs", OTHERS),
    Rule("chat.error.code", "an error's code is text, not a number", "anthropics/claude-code#51700", "OpenRouter"),
    Rule("chat.whole.json", "the body is JSON", SPEC),
    Rule("chat.whole.shape", "an answer has id, object, created, model and choices with message", TYPES),
    Rule("chat.whole.object", "object is chat.completion, the id begins with chatcmpl-", SPEC, OTHERS),
    Rule("chat.whole.keys", "logprobs, content and refusal are present, possibly null",
         "openai Node types", OTHERS),
    Rule("chat.whole.calls", "tool_calls is absent, not empty or null, where there are none",
         "openai/openai-agents-python#2190", OTHERS),
)  # fmt: skip

# The states of the whole stream, then of each choice. An event that its state does not list breaks the rule in the
# table.
STATES: States = {
    "open": {"chunk": "open", "usage": "counted", "done": "complete", "error": "failed"},
    "counted": {"done": "complete", "error": "failed"},
    "complete": {},
    "failed": {},
}
MISPLACED: Mapping[tuple[str, str], str] = {
    ("counted", "*"): "chat.usage.last",
    ("complete", "*"): "chat.done.last",
    ("failed", "*"): "chat.error.last",
}
CHOICE_STATES: States = {
    "new": {"role": "saying"},
    "saying": {"delta": "saying", "finish": "finished"},
    "finished": {},
}
CHOICE_MISPLACED: Mapping[tuple[str, str], str] = {
    ("new", "*"): "chat.role.first",
    ("saying", "*"): "chat.role.once",
    ("finished", "finish"): "chat.finish.once",
    ("finished", "*"): "chat.finish.last",
}

CHUNK: Shape = {"id": "string", "created": "number", "model": "string", "choices": "array"}
CHOICE: Shape = {"index": "int", "delta": "object"}
DELTA: Shape = {
    "role?": one_of("assistant"), "content?": "string|null", "refusal?": "string|null", "tool_calls?": "array",
    "reasoning_content?": "string", "reasoning?": "string", "reasoning_details?": "array",
}  # fmt: skip
FINISH = one_of("stop", "length", "tool_calls", "content_filter", "function_call")
CUT_SHORT = ("length", "content_filter")  # arguments may then be incomplete
INPUT: Mapping[str, str] = {"function": "arguments", "custom": "input"}

USAGE: Mapping[str, Any] = {"prompt_tokens": "int", "completion_tokens": "int", "total_tokens": "int"}
DETAILS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "prompt_tokens_details": ("prompt_tokens", ("cached_tokens", "cache_write_tokens")),
    "completion_tokens_details": ("completion_tokens", ("reasoning_tokens",)),
}
DETAIL_COUNTS: Shape = {f"{part}?": {f"{name}?": "int" for name in names} for part, (_, names) in DETAILS.items()}
ERROR: Shape = {
    "error": {"message": "string", "type": "string", "param": "string|null", "code": "string|number|null"}
}  # fmt: skip
WHOLE: Shape = {
    "id": "string", "object": "string", "created": "number", "model": "string",
    "choices": [{"index": "int", "finish_reason": "string", "message": {"role": one_of("assistant")}}],
}  # fmt: skip
WHOLE_MESSAGE: Shape = {"content": "string|null", "refusal": "string|null", "annotations": "array"}
WHOLE_KEYS: Shape = {"choices": [{"logprobs": "any", "message": WHOLE_MESSAGE}]}


class CallState:
    """A tool call whose fragments are still arriving."""

    def __init__(self, id: str, kind: str) -> None:
        self.id = id
        self.kind = kind
        self.pieces: list[str] = []


class ChoiceState:
    """The state of one choice."""

    def __init__(self) -> None:
        self.position = "new"
        self.calls: list[CallState] = []


class ChatStream(Stream):
    """A ``Stream`` of Chat."""

    states, misplaced, end_rule, position = STATES, MISPLACED, "chat.end", "open"

    def __init__(self) -> None:
        self.head: Mapping[str, Any] | None = None
        self.choices: dict[int, ChoiceState] = {}

    def check_event(self, name: str | None, value: Any) -> Iterator[Finding]:
        if name is not None:
            yield "chat.frame.unnamed", f"event: {name}"
        kind = _kind_of(value)
        if kind in STATES[self.position]:
            state, self.position = self.position, STATES[self.position][kind]
        else:
            yield order_violation(MISPLACED, self.position, kind)
            return
        match kind:
            case "done":
                yield from self._check_unfinished()
                if self.include_usage and state != "counted":
                    yield "chat.usage.asked", "no usage chunk before [DONE]"
            case "error":
                yield from error(value)
            case _:
                yield from self._check_chunk(value, kind)

    def _check_unfinished(self) -> Iterator[Finding]:
        if not self.choices:
            yield "chat.finish.there", "no choice"
        for index, choice in self.choices.items():
            if choice.position != "finished":
                yield "chat.finish.there", f"choice {index} is in state {choice.position}"

    def _check_chunk(self, value: Mapping[str, Any], kind: str) -> Iterator[Finding]:
        yield from self._check_head(value)
        for choice in elements(value.get("choices")):
            if wrong := find_misfit(choice, CHOICE, "choice"):
                yield "chat.choice.shape", wrong
                continue
            yield from _check_choice(self.choices.setdefault(choice["index"], ChoiceState()), choice)
        if kind == "usage":
            yield from self._check_unfinished()
            if self.include_usage is False:
                yield "chat.usage.asked", "a usage chunk without a request for it"
        elif value.get("choices") == []:
            yield "chat.choice.none", "choices is empty and there is no usage"
        elif value.get("usage") is not None:
            yield "chat.usage.alone", "usage in a chunk with choices"
        yield from _check_usage(value.get("usage"))

    def _check_head(self, value: Mapping[str, Any]) -> Iterator[Finding]:
        if wrong := find_misfit(value, CHUNK):
            yield "chat.chunk.shape", wrong
            return
        if value.get("object") != "chat.completion.chunk":
            yield "chat.chunk.object", f"object {show(value.get('object'))}"
        if self.head is None:
            self.head = {name: value[name] for name in ("id", "created", "model")}
            if not value["id"].startswith("chatcmpl-"):
                yield "chat.chunk.id", f"id {show(value['id'])}"
        for name, first in self.head.items():
            if value[name] != first:
                yield "chat.chunk.same", f"{name} {show(value[name])} after {show(first)}"


def _kind_of(value: Any) -> str:
    if value == DONE:
        return "done"
    if value.get("error"):
        return "error"
    return "usage" if value.get("choices") == [] and isinstance(value.get("usage"), dict) else "chunk"


def _check_choice(state: ChoiceState, choice: Mapping[str, Any]) -> Iterator[Finding]:
    delta, reason = choice["delta"], choice.get("finish_reason")
    if "finish_reason" not in choice:
        yield "chat.choice.keys", "choice.finish_reason is missing"
    yield from _check_order(state, "role" in delta, reason is not None)
    if wrong := find_misfit(delta, DELTA, "delta"):
        yield "chat.delta.shape", wrong
    if delta.get("reasoning") and delta.get("reasoning_content"):
        yield "chat.delta.reasoning", "reasoning and reasoning_content"
    for fragment in elements(delta.get("tool_calls")):
        yield from _check_fragment(state, members(fragment))
    if reason is not None:
        if any(value for name, value in delta.items() if name != "role"):
            yield "chat.finish.alone", f"{', '.join(delta)} beside finish_reason"
        yield from _check_finish(reason, [(call.kind, "".join(call.pieces)) for call in state.calls])


def _check_order(state: ChoiceState, has_role: bool, has_reason: bool) -> Iterator[Finding]:
    """Check the order of chunks. A chunk may have both the role and the finish reason."""
    kinds = [kind for kind, here in (("role", has_role), ("finish", has_reason)) if here]
    for kind in kinds or ["delta"]:
        if kind not in CHOICE_STATES[state.position]:
            yield order_violation(CHOICE_MISPLACED, state.position, kind)
            if state.position == "new":
                state.position = CHOICE_STATES["saying"][kind]
        else:
            state.position = CHOICE_STATES[state.position][kind]


def _check_fragment(state: ChoiceState, fragment: Mapping[str, Any]) -> Iterator[Finding]:
    index, id = fragment.get("index"), string_or_empty(fragment.get("id"))
    kind = "custom" if "custom" in fragment and "function" not in fragment else "function"
    inner = members(fragment.get(kind))
    text = inner.get(INPUT[kind])
    known = state.calls[index] if isinstance(index, int) and 0 <= index < len(state.calls) else None
    if known is not None and (not id or id == known.id):
        call = known
        if repeated := [name for name in ("id", "type") if name in fragment] + ["name"] * ("name" in inner):
            yield "chat.tool.repeat", f"{', '.join(repeated)} again in a fragment of call {index}"
    else:
        if index != len(state.calls):
            yield "chat.tool.index", f"index {show(index)} where {len(state.calls)} is next"
        if not id and not inner.get("name") and state.calls:
            call = state.calls[-1]
        else:
            call = CallState(id, kind)
            yield from _check_first_fragment(state, fragment, call)
            state.calls.append(call)
    if isinstance(text, str):
        call.pieces.append(text)


def _check_first_fragment(state: ChoiceState, fragment: Mapping[str, Any], call: CallState) -> Iterator[Finding]:
    if not call.id or call.id in [other.id for other in state.calls]:
        yield "chat.tool.id", f"id {show(fragment.get('id'))}"
    if wrong := find_misfit(fragment, {"type": one_of(call.kind)}, "tool_call"):
        yield "chat.tool.type", wrong
    shape = {call.kind: {"name": "text", INPUT[call.kind]: "string"}}
    if wrong := find_misfit(fragment, shape, "tool_call"):
        yield "chat.tool.begin", wrong


def _check_finish(reason: Any, calls: list[tuple[str, str]]) -> Iterator[Finding]:
    """Check the rules for the end of a choice, streamed or not; ``calls`` are the kinds and inputs of its calls."""
    if not isinstance(reason, str) or reason not in FINISH:
        yield "chat.finish.known", f"finish_reason {show(reason)}"
    if (reason == "stop" and calls) or (reason == "tool_calls" and not calls):
        yield "chat.finish.calls", f"finish_reason {reason} with {len(calls)} calls"
    for kind, text in calls:
        if kind == "function" and reason not in CUT_SHORT and not is_object(text):
            yield "chat.tool.json", f"the arguments {show(text)}"


def _check_usage(usage: Any) -> Iterator[Finding]:
    if usage is None:
        return
    counted = {name: value for name, value in usage.items() if value is not None} if isinstance(usage, dict) else {}
    if wrong := find_misfit(usage, USAGE, "usage") or find_misfit(counted, DETAIL_COUNTS, "usage"):
        yield "chat.usage.ints", wrong
        return
    if usage["total_tokens"] != usage["prompt_tokens"] + usage["completion_tokens"]:
        yield "chat.usage.total", f"usage is {show({name: usage[name] for name in USAGE})}"
    for part, (whole, names) in DETAILS.items():
        counted = sum(members(usage.get(part)).get(name, 0) for name in names)
        if counted > usage[whole]:
            yield "chat.usage.parts", f"{part} add up to {counted} of {usage[whole]}"


def error(value: Any, api: str = "chat") -> Iterator[Finding]:
    """Check an error of OpenAI's APIs, whose rules have the same names in both."""
    if wrong := find_misfit(value, ERROR):
        yield f"{api}.error.shape", wrong
        return
    code = value["error"]["code"]
    if code is not None and (not isinstance(code, str) or code.isdecimal()):
        yield f"{api}.error.code", f"code {show(code)}"


STREAM = ChatStream


def outcome(value: Any) -> Outcome | None:
    """Return the outcome that ``value`` shows; a ``finish_reason`` or ``[DONE]`` is enough, as some servers omit one.

    See ``Grammar.outcome``.
    """
    if value == DONE:
        return "complete"
    if members(value).get("error"):
        return "failed"
    choices = elements(members(value).get("choices"))
    return "complete" if any(members(choice).get("finish_reason") for choice in choices) else None


def whole(value: Any) -> Iterator[Finding]:
    """Check a ``ChatCompletion``, or the body of an error."""
    if members(value).get("error"):
        yield from error(value)
        return
    if wrong := find_misfit(value, WHOLE):
        yield "chat.whole.shape", wrong
        return
    if value["object"] != "chat.completion" or not value["id"].startswith("chatcmpl-"):
        yield "chat.whole.object", f"object {show(value['object'])}, id {show(value['id'])}"
    if wrong := find_misfit(value, WHOLE_KEYS):
        yield "chat.whole.keys", wrong
    for choice in value["choices"]:
        yield from _check_whole_choice(choice["message"], choice["finish_reason"])
    yield from _check_usage(value.get("usage"))


def _check_whole_choice(message: Mapping[str, Any], reason: str) -> Iterator[Finding]:
    if "tool_calls" in message and not message["tool_calls"]:
        yield "chat.whole.calls", f"tool_calls is {show(message['tool_calls'])}"
    state = ChoiceState()
    for fragment in elements(message.get("tool_calls")):
        yield from _check_fragment(state, {"index": len(state.calls), **members(fragment)})
    yield from _check_finish(reason, [(call.kind, "".join(call.pieces)) for call in state.calls])
