"""Reader of a Responses client's request into a ``Request``.

Source: the parameter types of the openai package (``openai/types/responses/response_create_params.py``).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from providers.neutral.fields import Drops, Fields
from providers.neutral.request import Parameter, Request
from providers.responses import REPLACED
from providers.responses.compaction import compaction_request, is_compaction
from providers.responses.history import History
from providers.responses.settings import read_format, read_reasoning, read_settings, read_tool_choice, read_tools
from providers.responses.tools import new_tools


def read_request(body: Mapping[str, Any]) -> Request:
    """Return a client's request; a compaction becomes a request for a summary.

    Raises a 400 ``GatewayError`` with the path of an invalid member.
    """
    call = _read(body, ())
    return compaction_request(call) if is_compaction(body) else call


def read_continuation(body: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Request:
    """Return a client's request that continues after the ``earlier`` items, as ``read_request`` does.

    The items replace ``previous_response_id`` and ``conversation``. Paths to earlier items start with
    ``previous.input``; other paths stay. The ``source`` of the result has all items as its input.
    """
    call = _read(body, earlier)
    own = body.get("input")
    if isinstance(own, str):
        own = [{"role": "user", "content": own}]
    source = {**body, "input": [*earlier, *(own or ())]}
    controls = {name: control for name, control in call.parameters.items() if name not in REPLACED}
    call = attrs.evolve(call, source=source, parameters=controls)
    return compaction_request(call) if is_compaction(body) else call


def _read(body: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> Request:
    fields = Fields(body)
    drops = Drops()
    _read_stream_options(fields, drops)
    history = History(drops)
    history.read(fields, earlier)
    tools = (*read_tools(fields, drops), *history.tools)
    tools = (*tools, *new_tools(tools, history.found_tools))
    controls = read_settings(fields)
    format = None
    if (text := fields.object("text")) is not None:
        format = read_format(text, drops)
        if (verbosity := text.string("verbosity")) is not None:
            controls["verbosity"] = Parameter(verbosity, text.path("verbosity"))
        drops.add_unread(text)
    reasoning = read_reasoning(fields, drops)
    parallel = fields.boolean("parallel_tool_calls")
    model, stream = fields.string("model") or "", fields.boolean("stream") or False
    choice = read_tool_choice(fields, drops)
    drops.add_unread(fields)
    return Request(
        api="responses",
        model=model,
        messages=history.messages(),
        stream=stream,
        tools=tools,
        tool_choice=choice,
        parallel_tools=None if parallel is None else Parameter(parallel, "parallel_tool_calls"),
        reasoning=history.reasoning or reasoning,
        format=history.format or format,
        parameters=controls,
        source=body,
        dropped=drops.paths(),
    )


def _read_stream_options(fields: Fields, drops: Drops) -> None:
    """Read ``stream_options``; the gateway does not pad streams, so that request is dropped and reported."""
    options = fields.object("stream_options")
    if options is None:
        return
    if options.boolean("include_obfuscation"):
        drops.add(options.path("include_obfuscation"))
    drops.add_unread(options)
