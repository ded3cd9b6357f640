"""A ``Request`` written as the request of a Converse provider, whichever API its client speaks."""

from typing import Any

import msgspec

from providers.converse.cache_points import CachePoints
from providers.converse.families import FAMILIES
from providers.converse.history import History
from providers.converse.settings import format_hint, own_fields, write_format, write_settings
from providers.converse.tools_out import tool_config
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.edits import losses_of, raised
from providers.neutral.fields import Drops
from providers.neutral.request import Request

_COUNTED = ("messages", "system", "toolConfig", "additionalModelRequestFields")
"""What ``CountTokens`` takes of a request."""


def write_request(request: Request, to: Recipient) -> Outgoing:
    """See ``Codec.write_request``."""
    body, drops = _write(request, to)
    more = raised(request.parameters.get("max_tokens"), body.get("inferenceConfig", {}).get("maxTokens"))
    return Outgoing(msgspec.json.encode(body), (), (*losses_of(drops.paths(), "translation"), *more))


def write_count_request(request: Request, to: Recipient) -> Outgoing | None:
    """See ``Codec.write_count``."""
    body, drops = _write(request, to)
    asked = {"input": {"converse": {name: body[name] for name in _COUNTED if name in body}}}
    return Outgoing(msgspec.json.encode(asked), (), losses_of(drops.paths(), "translation"))


def _write(request: Request, to: Recipient) -> tuple[dict[str, Any], Drops]:
    own = own_fields(request)
    drops = Drops(path for path in request.dropped if path.partition(".")[0] not in own)
    family = FAMILIES[to.quirks.bedrock_family]
    points = CachePoints(family.cached, drops)
    tools = tool_config(request, family, to, points, drops)
    history = History(request, to.issuer, family, points, drops)
    history.write()
    points.settle(tools["tools"] if tools else [], history.system, *(one["content"] for one in history.messages))
    format = None if request.api == "converse" else request.format
    if hint := format_hint(format, family, to.quirks, drops):
        history.system.append({"text": hint})

    body: dict[str, Any] = {"messages": history.messages}
    if history.system:
        body["system"] = history.system
    if tools is not None:
        body["toolConfig"] = tools
    write_settings(request, family, to.quirks, body, drops)
    write_format(format, family, to.quirks, body)
    _lay_over(body, own)
    for name in to.quirks.refused_fields:
        if body.pop(name, None) is not None:
            drops.add(name)
    return body, drops


def _lay_over(body: dict[str, Any], own: dict[str, Any]) -> None:
    """Put the client's own members of Bedrock in, which say more than what was translated."""
    for name, value in own.items():
        written = body.get(name)
        body[name] = {**written, **value} if isinstance(written, dict) and isinstance(value, dict) else value
