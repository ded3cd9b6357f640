"""Chat requests with tools for a model that reasons between its calls in the Responses API only.

OpenAI's models since GPT-5.2 return 400 in Chat: "Function tools with reasoning_effort are not supported …, use
/v1/responses" (openai/openai-openapi#541, BerriAI/litellm#34569, danny-avila/LibreChat#14355). Earlier ones lose their
reasoning before the last call (anomalyco/opencode#2480). These requests are translated; all others pass unchanged."""

import msgspec

from gateway.request.parse import Incoming
from gateway.routing.target import Target, with_api
from providers.catalog.effort import accepts_sampling
from streams.surrogates import NOT_JSON


def with_api_for_tools(incoming: Incoming, target: Target) -> Target:
    """Return ``target``, or the same model in Responses if only that API accepts the tools or keeps the reasoning."""
    if target.lane != "byte" or target.api != "chat":
        return target
    entry, quirks = target.entry, target.recipient.quirks
    if quirks.asked_in_responses == "by_responses_clients" or not entry.may_use_responses("chat", target.model):
        return target
    tools = incoming.members.get("tools")
    if tools is None or len(tools) <= len(b"null"):  # null or empty
        return target
    # Without reasoning it accepts sampling, and then also tools.
    return target if accepts_sampling(quirks, _reasoning_effort(incoming)) else with_api("responses", target)


def _reasoning_effort(incoming: Incoming) -> str | None:
    try:
        return msgspec.json.decode(incoming.members.get("reasoning_effort", b"null"), type=str | None)
    except NOT_JSON:
        return None
