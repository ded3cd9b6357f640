"""A Chat client's tools for a model that thinks between its calls in the Responses API alone.

OpenAI's models from GPT-5.2 on answer 400 in Chat: "Function tools with reasoning_effort are not supported …, use
/v1/responses" (openai/openai-openapi#541, BerriAI/litellm#34569, danny-avila/LibreChat#14355), and those before them
forget there what they thought before the last call (anomalyco/opencode#2480). Such a request is translated; every other
one of the same client and model passes as it is.
"""

import msgspec

from gateway.request.parse import Incoming
from gateway.routing.target import Target, asked_in
from providers.catalog.sampling import accepts_sampling


def where_tools_are_taken(incoming: Incoming, target: Target) -> Target:
    """``target``, or the same model asked in Responses, where that API alone takes the request's tools or keeps what is
    thought between their calls."""
    if target.lane != "byte" or target.api != "chat":
        return target
    entry, quirks = target.entry, target.recipient.quirks
    if quirks.asked_in_responses == "by_responses_clients" or not entry.may_ask_in_responses("chat", target.model):
        return target
    tools = incoming.members.get("tools")
    if tools is None or len(tools) <= len(b"null"):  # that, or none
        return target
    # It takes sampling when it does not think, and then it takes tools too.
    return target if accepts_sampling(quirks, _effort(incoming)) else asked_in("responses", target)


def _effort(incoming: Incoming) -> str | None:
    try:
        return msgspec.json.decode(incoming.members.get("reasoning_effort", b"null"), type=str | None)
    except msgspec.MsgspecError:
        return None
