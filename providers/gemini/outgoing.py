"""Writer of a ``Request`` as the request for a Gemini provider."""

from typing import Any, Final

import msgspec

from providers.gemini.history import Contents
from providers.gemini.settings import format_hint, generation_config, is_enforced, is_own, own_fields
from providers.gemini.spellings import find_member
from providers.gemini.tools import write_tools
from providers.neutral.codec import Outgoing, Recipient
from providers.neutral.edits import losses_of
from providers.neutral.fields import Drops
from providers.neutral.formats import add_format_message
from providers.neutral.request import Request
from streams.errors import invalid

UNCACHED: Final = ("systemInstruction", "tools", "toolConfig")
"""Members that a request with ``cachedContent`` must not have, because the cache contains them."""

_COUNT_FIELDS: Final = ("contents", "systemInstruction", "tools", "toolConfig", "cachedContent")
_MODEL: Final = "models/"


def write_request(request: Request, to: Recipient) -> Outgoing:
    """Return the provider's request. See ``Codec.write_request``."""
    body, drops = _write(request, to)
    return _outgoing(body, drops)


def write_count_request(request: Request, to: Recipient) -> Outgoing:
    """Return a ``countTokens`` request with the prompt only. See ``Codec.write_count``."""
    body, drops = _write(request, to)
    counted = {name: value for name, value in body.items() if name in _COUNT_FIELDS}
    if to.quirks.wrapped_count:
        model = to.model if to.model.startswith(_MODEL) else _MODEL + to.model
        counted = {"generateContentRequest": {"model": model, **counted}}
    return _outgoing(counted, drops)


def check_cached_content(has: Any) -> None:
    """Raise a 400 for a member that is not allowed with ``cachedContent``; ``has(name)`` returns whether it is set."""
    for name in UNCACHED:
        if has(name):
            raise invalid(f"{name} cannot be combined with cachedContent, which already has it: remove it", name)


def _outgoing(body: dict[str, Any], drops: Drops) -> Outgoing:
    return Outgoing(msgspec.json.encode(body), (), losses_of(drops.paths(), "translation"))


def _write(request: Request, to: Recipient) -> tuple[dict[str, Any], Drops]:
    own = own_fields(request)
    drops = Drops(path for path in request.dropped if not is_own(path, request, own))
    config = find_member(request.source, "toolConfig") if request.api == "gemini" else None
    tools = write_tools(request, to.quirks, config or {}, drops)
    enforced = is_enforced(request.format, tools.functions, to.quirks)
    hint = None if request.format is None or enforced else format_hint(request.format, drops)
    contents = Contents(request, to, drops)
    contents.write(add_format_message(request.messages, hint))

    body: dict[str, Any] = {}
    if contents.system:
        body["systemInstruction"] = {"parts": contents.system}
    body["contents"] = contents.contents
    if tools.tools:
        body["tools"] = tools.tools
    if tools.config:
        body["toolConfig"] = tools.config
    if settings := generation_config(request, to.quirks, enforced, drops):
        body["generationConfig"] = settings
    body |= own
    if body.get("cachedContent"):
        check_cached_content(lambda name: name in body)
    drops.remove_members(body, to.quirks.refused_fields)
    return body, drops
