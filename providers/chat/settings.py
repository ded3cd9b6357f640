"""Writers of Chat Completions settings that need more than a renaming: effort, sampling, log probabilities, limits,
tiers."""

from collections.abc import Mapping
from typing import Any

from providers.catalog.effort import accepts_sampling, requested_level
from providers.neutral.choices import MOST, are_translated
from providers.neutral.codec import Recipient
from providers.neutral.fields import Drops, join_path
from providers.neutral.levels import known_level
from providers.neutral.parameters import BY_NAME, refuse_prewarm
from providers.neutral.quirks import Quirks
from providers.neutral.request import Parameter, Reasoning, Request
from streams.errors import invalid

SERVICE_TIERS = frozenset(("auto", "default", "flex", "scale", "priority", "fast"))
"""The tiers of OpenAI's Chat; other APIs' tiers have other meanings."""

HANDLED = (
    "max_tokens", "n", "stop", "service_tier", "temperature", "top_p", "logprobs", "top_logprobs", "modalities",
    "audio", "prompt_cache_options", "frequency_penalty", "presence_penalty", "logit_bias",
)  # fmt: skip
"""The settings that this module writes."""

SAMPLING = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "logit_bias")
"""The settings that OpenAI's reasoning models reject unless they have their defaults (oracle/ai-optimizer#240,
nextai-translator/nextai-translator#1781)."""

MAX_STOPS = 4
"""OpenAI's limit of stop strings; more are a 400."""

_RESPONSES_CACHE_OPTIONS = ("comparison_response_id",)  # members of Responses only


def write_settings(request: Request, to: Recipient, body: dict[str, Any], drops: Drops) -> None:
    """Write the settings of ``HANDLED`` and the effort into ``body``. Raises a 400 if one must not be dropped."""
    if request.reasoning is not None:
        _write_reasoning(request, request.reasoning, to.quirks, body, drops)
    _write_limits(request, to.quirks, body, drops)
    _write_sampling(request.parameters, to.quirks, body, drops)
    _write_logprobs(request.parameters, to.quirks, body, drops)
    _write_service(request, body, drops)
    _write_cache_options(request.parameters.get("prompt_cache_options"), body, drops)
    _drop_audio(request.parameters, drops)


def _write_reasoning(
    request: Request, reasoning: Reasoning, quirks: Quirks, body: dict[str, Any], drops: Drops
) -> None:
    effort = requested_level(reasoning)
    if effort is None and reasoning.mode == "disabled" and "none" in quirks.efforts:
        effort = "none"
    level = known_level(effort, quirks.efforts) if effort is not None and quirks.reasoning_effort else None
    if level is not None:
        body["reasoning_effort"] = level
    if level != effort:
        drops.add(*_reasoning_paths(request, reasoning))
    elif effort is None and reasoning.mode == "disabled":
        drops.add(*reasoning.places)
    if reasoning.summary is not None:
        drops.add(reasoning.summary.at)  # Chat leaves the visibility of reasoning to the provider


def _reasoning_paths(request: Request, reasoning: Reasoning) -> tuple[str, ...]:
    """Return the paths of the client's reasoning settings; Messages has one for thinking and one for effort."""
    if request.api == "messages" and reasoning.effort is not None and reasoning.effort_at is None:
        return reasoning.at, "output_config.effort"
    return reasoning.places


def _write_limits(request: Request, quirks: Quirks, body: dict[str, Any], drops: Drops) -> None:
    parameters = request.parameters
    if (limit := parameters.get("max_tokens")) is not None:
        body[quirks.max_tokens_field] = _token_limit(limit)
    if (n := parameters.get("n")) is not None and n.value != 1:
        if not are_translated(request.api, "chat", stream=request.stream) or not 0 < n.value <= MOST:
            raise invalid(f"{n.at} must be 1: the request is translated, which supports only one choice", n.at)
        body["n"] = n.value
    if (stop := parameters.get("stop")) is not None and stop.value:
        body["stop"] = stop.value[:MAX_STOPS]
        if len(stop.value) > MAX_STOPS:
            drops.add(stop.at)


def _token_limit(limit: Parameter) -> int:
    """Return the token limit.

    A limit of 0 (Messages' cache warming) is a 400, because a paid answer is no substitute.
    """
    if limit.value == 0:
        raise invalid(
            f"{limit.at} must be at least 1: this model's provider cannot warm a cache without a response", limit.at
        )
    return int(limit.value)


def _write_sampling(parameters: Mapping[str, Parameter], quirks: Quirks, body: dict[str, Any], drops: Drops) -> None:
    is_accepted = accepts_sampling(quirks, body.get("reasoning_effort"))
    for name in SAMPLING:
        parameter = parameters.get(name)
        if parameter is None:
            continue
        if is_accepted and not (name == "top_p" and quirks.one_of_temperature_top_p and "temperature" in body):
            body[name] = parameter.value
        elif parameter.value != BY_NAME[name].default:
            drops.add(parameter.at)


def _write_logprobs(parameters: Mapping[str, Parameter], quirks: Quirks, body: dict[str, Any], drops: Drops) -> None:
    """Write ``logprobs`` and ``top_logprobs``; the latter is rejected without the former."""
    effort, top = parameters.get("logprobs"), parameters.get("top_logprobs")
    if effort is not None and effort.value and accepts_sampling(quirks, body.get("reasoning_effort")):
        body["logprobs"] = True
        if top is not None:
            body["top_logprobs"] = top.value
        return
    for parameter in effort, top:
        if parameter is not None and parameter.value:
            drops.add(parameter.at)


def _write_service(request: Request, body: dict[str, Any], drops: Drops) -> None:
    tier = request.parameters.get("service_tier")
    if tier is None:
        return
    if request.api == "chat" or tier.value in SERVICE_TIERS:
        body["service_tier"] = tier.value
    else:
        drops.add(tier.at)


def _write_cache_options(options: Parameter | None, body: dict[str, Any], drops: Drops) -> None:
    """Write ``prompt_cache_options`` without members and values that only Responses has."""
    if options is None:
        return
    refuse_prewarm(options)
    kept = {name: value for name, value in options.value.items() if name not in (*_RESPONSES_CACHE_OPTIONS, "prewarm")}
    if kept.get("ttl") == "12h":
        del kept["ttl"]
    drops.add(*(join_path(options.at, name) for name in options.value if name not in kept and name != "prewarm"))
    if kept:
        body["prompt_cache_options"] = kept


def _drop_audio(parameters: Mapping[str, Parameter], drops: Drops) -> None:
    """Drop settings for spoken output, because a translated answer is text."""
    if (modalities := parameters.get("modalities")) is not None and modalities.value != BY_NAME["modalities"].default:
        drops.add(modalities.at)
    if (audio := parameters.get("audio")) is not None:
        drops.add(audio.at)
