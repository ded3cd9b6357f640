"""The events of a Responses stream as they arrive."""

from typing import Any

import msgspec

from streams.surrogates import reading


class Wire(msgspec.Struct, gc=False):
    """The members of an event that are read; all others are skipped without building them. Nothing is taken on trust:
    real servers send ``null`` where the specification has a string."""

    type: Any = None
    delta: Any = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    item_id: Any = None
    text: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    logprobs: Any = None
    part: Any = None
    item: Any = None
    annotation: Any = None
    response: Any = None
    error: Any = None


decode = reading(msgspec.json.Decoder(Wire).decode)
