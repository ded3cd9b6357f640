"""Scalar settings of all APIs in one table: the neutral name, each API's name, and the JSON type.

The table has only members with the same meaning in each API; codecs handle those with different shapes (tools,
reasoning, formats). Settings with the name ``""`` are dropped for that API. Source: the parameter types of the openai
and anthropic packages.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import attrs

from providers.neutral.fields import Drops, Fields, expect, join_path
from providers.neutral.request import Parameter, Request
from streams.errors import invalid
from streams.events import Api

CACHE_OPTIONS: Final = "prompt_cache_options"

_COLUMNS: Final = frozenset(("chat", "messages", "responses", "gemini", "converse", "interactions"))


@attrs.frozen(repr=False)
class Row:
    name: str
    kind: type
    chat: str = ""
    messages: str = ""
    responses: str = ""
    gemini: str = ""  # within generationConfig
    converse: str = ""  # within inferenceConfig
    interactions: str = ""  # within generation_config
    default: Any = None  # a value that equals omission, and is not reported as lost
    single: bool = False  # a string counts as a list of one, as for Chat's `stop`
    must: bool = False  # essential for the answer: unsupported, the request is refused
    selects_words: bool = False  # a part of the conversation, which the client alone sets

    def field(self, api: Api) -> str:
        """Return the field's name in ``api``, or ""."""
        return getattr(self, api, "") if api in _COLUMNS else ""


ROWS: tuple[Row, ...] = (
    Row(
        "max_tokens",
        int,
        "max_completion_tokens",
        "max_tokens",
        "max_output_tokens",
        "maxOutputTokens",
        "maxTokens",
        "max_output_tokens",
    ),
    Row("temperature", float, *("temperature",) * 6, default=1),
    Row("top_p", float, "top_p", "top_p", "top_p", "topP", "topP", "top_p", 1),
    Row("top_k", int, "", "top_k", "", "topK"),
    Row("stop", list, "stop", "stop_sequences", "", "stopSequences", "stopSequences", "stop_sequences", single=True),
    Row("seed", int, "seed", gemini="seed", interactions="seed"),
    Row("n", int, "n", gemini="candidateCount", default=1, must=True),
    Row("frequency_penalty", float, "frequency_penalty", "", "frequency_penalty", "frequencyPenalty", default=0),
    Row("presence_penalty", float, "presence_penalty", "", "presence_penalty", "presencePenalty", default=0),
    Row("logit_bias", dict, "logit_bias"),
    Row("logprobs", bool, "logprobs", gemini="responseLogprobs", default=False),
    Row("top_logprobs", int, "top_logprobs", "", "top_logprobs", "logprobs"),
    Row("modalities", list, "modalities", default=["text"]),
    Row("prediction", dict, "prediction"),
    Row("audio", dict, "audio"),
    Row("web_search_options", dict, "web_search_options"),
    Row("verbosity", str, "verbosity"),  # Responses: text.verbosity, in the codec
    Row("metadata", dict, "metadata", "", "metadata"),
    Row("moderation", dict, "moderation", "", "moderation"),
    Row("prompt_cache_key", str, "prompt_cache_key", "", "prompt_cache_key"),
    Row(CACHE_OPTIONS, dict, "prompt_cache_options", "", "prompt_cache_options"),
    Row("prompt_cache_retention", str, "prompt_cache_retention", "", "prompt_cache_retention"),
    Row("safety_identifier", str, "safety_identifier", "", "safety_identifier"),
    Row("service_tier", str, "service_tier", "service_tier", "service_tier", default="auto"),
    Row("store", bool, "store", "", "store"),
    Row("user", str, "user", "", "user"),
    Row("previous_response_id", str, "", "", "previous_response_id", must=True, selects_words=True),
    Row("conversation", object, "", "", "conversation", must=True, selects_words=True),
    Row("background", bool, "", "", "background", default=False, must=True),
    Row("prompt", dict, "", "", "prompt", must=True, selects_words=True),
    Row("include", list, "", "", "include", default=[]),
    Row("truncation", str, "", "", "truncation", default="disabled"),
    Row("max_tool_calls", int, "", "", "max_tool_calls"),
    Row("context_management", list, "", "", "context_management"),
    Row("guardrail", dict, must=True),  # Converse: guardrailConfig; it changes answers
    Row("sealed_summary", str, must=True),  # Messages: a compaction of the earlier turns, without readable text
    Row("prompt_variables", dict, must=True),  # Converse: promptVariables
)

_NAMED: Final[Mapping[str, Sequence[tuple[Row, str]]]] = {
    api: tuple((row, name) for row in ROWS if (name := row.field(api))) for api in sorted(_COLUMNS)
}
"""The settings that each API has, with its names."""

MODERATION: Final = "moderation"
"""OpenAI's setting to have the request and the answer scored, or blocked, in Chat and Responses."""

BY_NAME: Mapping[str, Row] = {row.name: row for row in ROWS}


def read_parameters(fields: Fields, api: Api) -> dict[str, Parameter]:
    """Read the settings in ``fields`` by neutral name. Raises a 400 for a wrong type."""
    found = {}
    for row, name in _NAMED[api]:
        if (value := fields.value(name)) is not None:
            path = fields.path(name)
            if row.single and isinstance(value, str):
                value = [value]
            found[row.name] = Parameter(value if row.kind is object else expect(value, row.kind, path), path)
    return found


def write_parameters(
    request: Request, api: Api, body: dict[str, Any], drops: Drops, skip: tuple[str, ...] = ()
) -> None:
    """Write the settings of ``request`` into ``body`` with ``api``'s names, and report unsupported ones.

    The codec writes those in ``skip`` itself. Raises a 400 for an essential setting that is unsupported.
    """
    for name, control in request.parameters.items():
        row = BY_NAME[name]
        if name in skip:
            continue
        if field := row.field(api):
            body[field] = control.value
        elif control.value == row.default:
            continue
        elif name == MODERATION:
            refuse_lost_block(control.value, control.at)
            drops.add(control.at)
        elif name == CACHE_OPTIONS:
            refuse_prewarm(control)
            drops.add(control.at)
        elif row.must:
            raise invalid(f"{control.at} is not supported by this model's provider: remove it", control.at)
        else:
            drops.add(control.at)


def refuse_prewarm(options: Parameter) -> None:
    """Raise a 400 if a cache is to be warmed without an answer, because a paid answer is no substitute."""
    if options.value.get("prewarm"):
        at = join_path(options.at, "prewarm")
        raise invalid(f"{at}: this model's provider cannot warm a cache without a response; remove it", at)


def refuse_lost_block(value: Any, at: str = MODERATION) -> None:
    """Raise a 400 if the setting ``value`` must not be dropped, because it blocks contents.

    Source: ``ModerationPolicy`` of the openai package.
    """
    policy = value.get("policy") if isinstance(value, Mapping) else None
    modes = policy.values() if isinstance(policy, Mapping) else ()
    if any(isinstance(one, Mapping) and one.get("mode") == "block" for one in modes):
        message = "this model's provider has no moderation that blocks; remove the policy, or choose another model"
        raise invalid(f"{at}.policy: {message}", f"{at}.policy")


def drop_moderation(body: dict[str, Any], refused: Collection[str], is_known: bool, drops: Drops) -> None:
    """Remove ``moderation`` from a written ``body`` if the provider refuses or does not know it.

    Raises a 400 if it blocks contents.
    """
    if MODERATION in body and (not is_known or MODERATION in refused):
        refuse_lost_block(body.pop(MODERATION))
        drops.add(MODERATION)


def stop_strings(stop: Parameter | None, drops: Drops) -> list[str]:
    """Return the stop strings that Messages and Converse accept.

    White space alone would be a 400, so it is dropped and reported.
    """
    if stop is None:
        return []
    stops = [text for text in stop.value if isinstance(text, str) and text.strip()]
    if len(stops) < len(stop.value):
        drops.add(stop.at)
    return stops
