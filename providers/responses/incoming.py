"""A Responses client's request as a ``Call``.

Source: the parameter types of the openai package (``openai/types/responses/response_create_params.py``).
"""

from collections.abc import Mapping
from typing import Any

from providers.call import Call, Control
from providers.fields import Drops, Fields
from providers.responses.history import History
from providers.responses.settings import read_format, read_reasoning, read_settings, read_tool_choice, read_tools


def read_request(body: Mapping[str, Any]) -> Call:
    """Raises a 400 ``GatewayError`` that names the place for what the API does not allow."""
    fields = Fields(body)
    drops = Drops()
    _read_stream_options(fields, drops)
    history = History(drops)
    history.read(fields)
    tools = (*read_tools(fields, drops), *history.tools)
    controls = read_settings(fields)
    format = None
    if (text := fields.object("text")) is not None:
        format = read_format(text, drops)
        if (verbosity := text.string("verbosity")) is not None:
            controls["verbosity"] = Control(verbosity, text.path("verbosity"))
        drops.rest(text)
    reasoning = read_reasoning(fields, drops)
    parallel = fields.boolean("parallel_tool_calls")
    model, stream = fields.string("model") or "", fields.boolean("stream") or False
    choice = read_tool_choice(fields, drops)
    drops.rest(fields)
    return Call(
        api="responses",
        model=model,
        turns=history.turns(),
        stream=stream,
        tools=tools,
        tool_choice=choice,
        parallel_tools=None if parallel is None else Control(parallel, "parallel_tool_calls"),
        reasoning=history.reasoning or reasoning,
        format=history.format or format,
        controls=controls,
        source=body,
        dropped=drops.paths(),
    )


def _read_stream_options(fields: Fields, drops: Drops) -> None:
    """Nothing that is written here is padded against eavesdroppers: who asks for that is told."""
    options = fields.object("stream_options")
    if options is None:
        return
    if options.boolean("include_obfuscation"):
        drops.add(options.path("include_obfuscation"))
    drops.rest(options)
