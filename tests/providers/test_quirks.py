"""Known limits of models and providers in requests of each API: unsupported members are dropped and reported."""

import json
from typing import Any

import attrs
import pytest

from providers.apis import CODECS
from providers.catalog.strict import fits_strict
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import Format, Message, Parameter, Reasoning, Request, TextPart, Tool
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from tests.support.apis import OLDER
from tests.support.cases import case
from tests.support.each_row import each_row

USER = Message("user", (TextPart("hi", "messages[0].content"),), "messages[0]")
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


def write_body(api: str, request: Request, **quirks: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body for a provider of ``api``, and the dropped paths."""
    outgoing = CODECS[api].write_request(request, Recipient("up", Issuer("p", "a"), Quirks(**quirks)))
    return json.loads(outgoing.body), outgoing.dropped


def request_with(client: Any = "chat", **fields: Any) -> Request:
    """Return a request with settings by their neutral names."""
    members = {name: fields.pop(name) for name in ("reasoning", "format", "tools") if name in fields}
    controls = {name: Parameter(value, name) for name, value in fields.items()}
    return Request(client, "m", (USER,), parameters=controls, **members)


SAMPLED: dict[str, dict[str, Any]] = {
    "chat": {"temperature": 0.3, "top_p": 1, "logprobs": True, "top_logprobs": 2, "presence_penalty": 0.5,
             "frequency_penalty": -1},
    "messages": {"temperature": 0.4, "top_k": 5, "top_p": 1},
    "responses": {"temperature": 0.3, "top_p": 1, "logprobs": True, "top_logprobs": 3},
}  # fmt: skip
EFFORTS = {None: None, "low": Reasoning("enabled", "low"), "none": Reasoning("disabled", "none")}


def test_sampling_settings_reach_only_models_that_accept_them():
    """The gateway reports each removal, except of a default (juspay/neurolink#1706, truefoundry/models#2122,
    Soju06/codex-lb#538)."""
    for sampling, effort, taken in [
        ("free", None, True), ("free", "low", True), ("never", None, False), ("never", "none", False),
        ("only_effort_none", None, False), ("only_effort_none", "low", False), ("only_effort_none", "none", True),
        ("unless_thinking", None, True), ("unless_thinking", "none", True), ("unless_thinking", "low", False),
    ]:  # fmt: skip
        for api in OLDER:
            with case((sampling, effort, taken, api)):
                asked = SAMPLED[api]
                request = request_with(**asked, reasoning=EFFORTS[effort])
                body, dropped = write_body(api, request, sampling=sampling)
                body |= {"logprobs": True} if "message.output_text.logprobs" in body.get("include", ()) else {}
                assert asked.keys() & body.keys() == (asked.keys() if taken else set())
                assert set(dropped) == (set() if taken else asked.keys() - {"top_p"})


FEW, SOME = ("low", "high"), ("none", "low", "medium", "high")
THINKER, LATER = ("minimal", "low", "medium", "high"), ("none", "low", "medium", "high", "xhigh")
LEVELS = (
    (Reasoning(effort="max"), SOME, "high", True),
    (Reasoning(effort="max"), LATER, "xhigh", True),
    (Reasoning(effort="max"), (), "max", False),
    (Reasoning(effort="xhigh"), THINKER, "high", True),
    (Reasoning(effort="high"), SOME, "high", False),
    (Reasoning(effort="medium"), THINKER, "medium", False),
    (Reasoning(effort="low"), ("medium", "high"), "medium", True),
    (Reasoning(effort="minimal"), SOME, "low", True),
    (Reasoning(effort="minimal"), LATER, "low", True),
    (Reasoning(budget=50_000), SOME, "high", True),
    (Reasoning(budget=31_999), THINKER, "high", True),
    (Reasoning(budget=2048), (), "low", False),
    (Reasoning(budget=2049), (), "medium", False),
    (Reasoning(budget=8192), (), "medium", False),
    (Reasoning(budget=24_000), (), "high", False),
    (Reasoning(budget=24_001), (), "xhigh", False),
    (Reasoning("adaptive", "low"), (), "low", False),
    (Reasoning(), (), None, False),
    (Reasoning("disabled"), SOME, "none", False),
    (Reasoning("disabled"), FEW, None, True),
    (Reasoning("disabled"), (), None, True),
    (Reasoning("disabled", "none"), (), "none", False),
    (Reasoning("disabled", "none"), FEW, None, True),
    (Reasoning("adaptive"), SOME, None, False),
)
"""The requested reasoning, the model's efforts, the effort that OpenAI's APIs receive, and whether it is reported."""


@each_row("api", OLDER)
def test_an_effort_that_the_model_lacks_becomes_the_nearest_lower_one_and_is_reported(api):
    """theopenco/llmgateway#2753, docker/docker-agent#2563, maximhq/bifrost#1479, liuw1535/antigravity2api-nodejs#149.
    Anthropic disables thinking with another member than `none`, and its lowest effort replaces the minimal one."""
    for reasoning, efforts, effort, named in LEVELS:
        with case((reasoning, efforts)):
            request = request_with(reasoning=attrs.evolve(reasoning, at="r"))
            body, dropped = write_body(api, request, efforts=efforts, adaptive_thinking=True)
            silent = api == "messages" and (reasoning.mode == "disabled" or reasoning.effort == "minimal")
            none = api == "messages" and effort == "none"
            assert effort_of(body) == (None if none else effort)
            assert dropped == (("r",) if named and not silent else ())


def effort_of(body: dict[str, Any]) -> str | None:
    said = body.get("reasoning") or body.get("output_config") or {}
    return body.get("reasoning_effort", said.get("effort"))


@each_row("api", OLDER)
def test_temperature_stays_if_both_sampling_settings_are_refused(api):
    """Claude 4.5 refuses the two together (truefoundry/models#2122, Soju06/codex-lb#538, juspay/neurolink#1706)."""
    both = request_with(temperature=0.3, top_p=0.9)
    body, dropped = write_body(api, both, one_of_temperature_top_p=True)
    assert (body["temperature"], "top_p" in body, dropped) == (0.3, False, ("top_p",))
    body, dropped = write_body(api, both)
    assert (body["temperature"], body["top_p"], dropped) == (0.3, 0.9, ())
    assert write_body(api, request_with(top_p=0.9), one_of_temperature_top_p=True)[0]["top_p"] == 0.9
    if api != "responses":  # which reports the loss of a default, too
        assert write_body(api, request_with(temperature=0.5, top_p=1), one_of_temperature_top_p=True)[1] == ()


@each_row(("api", "name"), [("chat", "store"), ("messages", "top_k"), ("responses", "store")])
def test_fields_that_the_provider_rejects_are_dropped_and_reported(api, name):
    """The provider's entry lists the fields (anthropics/claude-code#21612, decolua/9router#1468)."""
    body, dropped = write_body(api, request_with(**{name: 5}), refused_fields=(name, "metadata"))
    assert (name in body, dropped) == (False, (name,))


def test_settings_that_would_change_the_answer_are_a_400():
    """The gateway never returns one choice for two, nor a paid answer for a cache warm-up (decolua/9router#560)."""
    for api, name, value in [
        *((api, "n", 2) for api in OLDER),
        ("chat", "max_tokens", 0),
        ("responses", "max_tokens", 0),
    ]:
        with case((api, name, value)):
            with pytest.raises(GatewayError) as caught:
                write_body(api, request_with("messages" if api != "messages" else "chat", **{name: value}))
            assert (caught.value.info.status, caught.value.info.param) == (400, name)


def test_formats_and_tools_of_messages_are_strict_where_the_schema_may_be():
    """Messages' formats always bind, and have no `strict`; OpenAI's do where they are, and not every schema may be."""
    for schema, fits in [
        (CLOSED, True),
        ({**CLOSED, "properties": {"a": {"anyOf": [{"type": "string"}, {"type": "null"}]}}}, True),
        ({**CLOSED, "properties": {"a": {"anyOf": [CLOSED, {"type": "null"}]}}}, True),
        ({**CLOSED, "properties": {"a": {"type": ["string", "null"]}}}, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": CLOSED}}, True),
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "required": 3}, False),
        ({"type": "object"}, False),
        ({"type": "object", "properties": {"a": {}}, "required": ["a"]}, False),
        *(
            ({**CLOSED, "properties": {"a": inner}}, False)
            for inner in (
                {"type": "object"}, {"type": ["object", "null"]}, {"type": "array", "items": {"type": "object"}},
                {"oneOf": []}, {"allOf": [{"type": "string"}]}, {"anyOf": None}, {"type": "date"}, 3,
            )
        ),
        ({**CLOSED, "properties": 1}, False),
        ({"anyOf": [CLOSED]}, False),
        (True, False),
        (None, False),
    ]:  # fmt: skip
        with case((schema, fits)):
            assert fits_strict(schema) == fits
            tools = (Tool("f", schema=schema, strict=True, at="tools[0]"),)
            request = request_with("messages", format=Format("json_schema", schema=schema), tools=tools)
            for api in ("chat", "responses"):
                body, dropped = write_body(api, request)
                format = body["text"]["format"] if api == "responses" else body["response_format"]["json_schema"]
                written = {} if schema is None and api == "responses" else schema  # it requires one
                assert (format["name"], format.get("schema"), format.get("strict")) == (
                    "output",
                    written,
                    True if fits else None,
                )
                tool = body["tools"][0] if api == "responses" else body["tools"][0]["function"]
                assert bool(tool.get("strict")) == fits
                assert dropped == (() if fits else ("tools[].strict",))


def test_a_schema_nested_without_end_is_not_strict():
    schema: Any = {"type": "string"}
    for _ in range(2000):
        schema = {**CLOSED, "properties": {"a": schema}}
    assert not fits_strict(schema)
