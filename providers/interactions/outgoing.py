"""Writer of a ``Request`` as the request for an Interactions provider."""

from typing import Any

import msgspec

from providers.gemini.settings import is_enforced
from providers.interactions.history import History
from providers.interactions.settings import (
    generation_config,
    is_own,
    own_fields,
    response_format,
    write_state,
)
from providers.interactions.tools import write_tools
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.edits import losses_of
from providers.neutral.fields import Drops
from providers.neutral.formats import add_format_message, format_instruction
from providers.neutral.request import Request


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the provider's request. See ``Codec.write_request``."""
    own = own_fields(request)
    drops = Drops(path for path in request.dropped if not is_own(path, request, own))
    tools = write_tools(request, to.quirks, drops)
    enforced, hint = is_enforced(request.format, tools.has_functions, to.quirks), None
    if request.format is not None and not enforced:
        drops.add(request.format.at)
        hint = format_instruction(request.format)
    history = History(request, to, drops)
    history.write(add_format_message(request.messages, hint))

    body: dict[str, Any] = {"model": to.model, "input": history.steps}
    if history.instructions:
        body["system_instruction"] = "\n\n".join(history.instructions)
    if tools.tools:
        body["tools"] = tools.tools
    if config := generation_config(request, to.quirks, tools.choice, drops):
        body["generation_config"] = config
    if request.format is not None and enforced:
        body["response_format"] = response_format(request.format, drops)
    write_state(request, body, drops)
    if request.stream:
        body["stream"] = True
    body |= own
    drops.remove_members(body, to.quirks.refused_fields)
    return Outgoing(msgspec.json.encode(body), (), losses_of(drops.paths(), "translation"))


def write_count_request(request: Request, to: Recipient) -> Outgoing | None:
    """Return ``None``, because the API counts no tokens. See ``Codec.write_count``."""
    return None
