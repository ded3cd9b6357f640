"""The checks of ``trigate doctor``: an HTTP request for each feature, and the required content of its response."""

from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

import attrs
import msgspec

from gateway.commands.compared_answers import read_answer
from gateway.commands.server_requests import Server, ServerRequest, ServerResponse
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.errors.failures import read_failure
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import Format, Message, Parameter, Reasoning, Request, TextPart, Tool, ToolChoice
from providers.neutral.seal import Issuer
from providers.recordings import answer_path
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo
from streams.fold import Answer, ReasoningBlock, TextBlock, ToolCallBlock
from streams.surrogates import decode_or

State: TypeAlias = Literal["ok", "absent", "failed", "skipped"]
"""``absent``: the response was good, but lacked the tested feature."""


@attrs.frozen
class CheckOutcome:
    """The result of testing one feature. ``says`` is a message; times are in milliseconds."""

    state: State
    says: str = ""
    ms: float | None = None
    first_byte_ms: float | None = None


@attrs.frozen
class Checkup:
    """The results for one model and API, by feature; ``names`` are the aliases and routes with this target."""

    model: str
    api: Api
    target: str
    lane: str
    outcomes: Mapping[str, CheckOutcome]
    names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The model with the aliases and routes that use it, for display."""
        return f"{self.model} ({', '.join(self.names)})" if self.names else self.model

    @property
    def good(self) -> bool:
        """Whether the model responds and streams. Other features are optional."""
        return all(self.outcomes[name].state == "ok" for name in NEEDED)

    @property
    def is_skipped(self) -> bool:
        """Whether no request was sent."""
        return all(outcome.state == "skipped" for outcome in self.outcomes.values())


@attrs.frozen
class ModelCheck:
    """A model by the name that a client of ``api`` uses, its target, and the aliases and routes that use it."""

    model: str
    api: Api
    target: Target
    names: tuple[str, ...] = ()


# Requests


@attrs.frozen
class Probe:
    """A request, and a function that returns what its answer lacks, "" for a good answer."""

    says: str
    missing: Callable[[Answer], str]
    stream: bool = False
    tools: tuple[Tool, ...] = ()
    reasoning: Reasoning | None = None
    format: Format | None = None
    max_tokens: int = 1000  # enough for models that always think


_CITY = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
_WEATHER = Tool("get_weather", "The weather in a city now", _CITY)


def _text_fault(answer: Answer) -> str:
    return "" if any(isinstance(block, TextBlock) for block in answer.blocks) else "the answer has no text"


def _tool_call_fault(answer: Answer) -> str:
    calls = [block for block in answer.blocks if isinstance(block, ToolCallBlock)]
    if not calls:
        return "the model did not call the tool"
    return "" if _has_city(calls[0].input) else "the tool call lacks its argument"


def _thinking_fault(answer: Answer) -> str:
    thought = any(isinstance(block, ReasoningBlock) for block in answer.blocks)
    return "" if thought or (answer.usage and answer.usage.reasoning) else "the answer has no thinking"


def _structure_fault(answer: Answer) -> str:
    text = "".join(block.text for block in answer.blocks if isinstance(block, TextBlock))
    return "" if _has_city(text) else "the answer does not match the JSON schema"


def _has_city(text: str) -> bool:
    value = decode_or(msgspec.json.decode, text, None)
    return isinstance(value, dict) and isinstance(value.get("city"), str)


PROBES: Mapping[str, Probe] = {
    "chat": Probe("Say hello.", _text_fault),
    "stream": Probe("Say hello.", _text_fault, stream=True),
    "tools": Probe("What is the weather in Oslo? Call the tool.", _tool_call_fault, stream=True, tools=(_WEATHER,)),
    "thinking": Probe("Which is larger, 9.11 or 9.9?", _thinking_fault, stream=True,
                      reasoning=Reasoning(effort="low"), max_tokens=4000),
    "schema": Probe("Name the capital of Norway.", _structure_fault,
                    format=Format("json_schema", "capital", _CITY, strict=True)),
}  # fmt: skip
NEEDED = ("chat", "stream")
COUNT = "count"
FEATURES = (*PROBES, COUNT)

# By default, OpenAI stores Responses requests, and Google interactions.
_UNSTORED = {"store": Parameter(False, "store")}
_CONTROLS: Mapping[Api, Mapping[str, Parameter]] = {"responses": _UNSTORED, "interactions": _UNSTORED}


def probe_request(probe: Probe, api: Api, model: str) -> Request:
    """Return the request of ``probe``, which asks for no storage."""
    return Request(
        api,
        model,
        (Message("user", (TextPart(probe.says),)),),
        stream=probe.stream,
        include_usage=probe.stream,
        tools=probe.tools,
        tool_choice=ToolChoice("auto") if probe.tools else None,
        reasoning=probe.reasoning,
        format=probe.format,
        parameters={**_CONTROLS.get(api, {}), "max_tokens": Parameter(probe.max_tokens, "max_tokens")},
    )


def written_request(name: str, api: Api, model: str, request: Request, quirks: Quirks | None = None) -> ServerRequest:
    """Return ``request`` in ``api``, under a ``name`` for the report."""
    outgoing = CODECS[api].write_request(request, Recipient(model, Issuer("", ""), quirks or Quirks()))
    path = answer_path(api, model, request.stream)
    return ServerRequest(name, path, outgoing.body, api, request.stream, headers=tuple(outgoing.headers))


# Sending


async def examine(server: Server, check: ModelCheck) -> Checkup:
    """Return the outcomes of all features of a model, which the gateway ``server`` serves."""
    outcomes: dict[str, CheckOutcome] = {}
    for feature in FEATURES:
        outcomes[feature] = _skipped_outcome(check, outcomes) or await _test(server, check, feature)
    return Checkup(check.model, check.api, check.target.name, check.target.lane, outcomes, check.names)


def _skipped_outcome(check: ModelCheck, outcomes: Mapping[str, CheckOutcome]) -> CheckOutcome | None:
    """Return the reason to skip the remaining features, ``None`` if there is none."""
    if check.target.entry.passthrough_auth:
        return CheckOutcome("skipped", "clients send their own keys to this provider (passthrough_auth)")
    if all(name in outcomes and outcomes[name].state == "failed" for name in NEEDED):
        return CheckOutcome("skipped", "")
    return None


async def _test(server: Server, check: ModelCheck, feature: str) -> CheckOutcome:
    """Send the request for ``feature``, and check its response."""
    if feature == COUNT:
        body = {"model": check.model, "messages": [{"role": "user", "content": "Say hello."}]}
        request = ServerRequest(COUNT, "/v1/messages/count_tokens", msgspec.json.encode(body))
    else:
        content = probe_request(PROBES[feature], check.api, check.model)
        request = written_request(feature, check.api, check.model, content, check.target.recipient.quirks)
    response = await server.send(request)
    if response.problem:
        return CheckOutcome("failed", response.problem, response.ms)
    try:
        if response.status != 200:
            raise GatewayError.of(_failure_of(response))
        if feature == COUNT:
            exact = "estimate" if response.header("x-trigate-estimated") else "exact"
            return CheckOutcome("ok", exact, response.ms)
        missing = PROBES[feature].missing(read_answer(check.api, response))
    except GatewayError as error:
        return CheckOutcome("failed", _error_message(error), response.ms)
    first = response.first_byte_ms if request.stream else None
    return CheckOutcome("absent" if missing else "ok", missing, response.ms, first)


def _failure_of(response: ServerResponse) -> ErrorInfo:
    failure = read_failure(response.status, response.body, response.headers)
    advice = _ADVICE.get((response.header("x-trigate-tried") or "").rpartition("=")[2])
    return (
        failure
        if advice is None or advice in failure.message
        else attrs.evolve(failure, message=f"{failure.message}; {advice}")
    )


def _error_message(error: GatewayError) -> str:
    info = error.info
    text = " ".join(info.message.split())
    return f"{info.status} {text}" if len(text) <= 300 else f"{info.status} {text[:299]}…"


_ADVICE: Final = {
    "bad_answer": "check that base_url is the address of its API",  # the response is often a web page
    "connection": "check that the server runs, and that base_url is its address",
}
"""Advice by the reason of a failed attempt."""
