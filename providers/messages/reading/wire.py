"""Deltas of a Messages stream as they arrive."""

import msgspec

from streams.surrogates import reading


class Delta(msgspec.Struct):
    """The members of a delta that are text; all others are skipped without building them."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None


class BlockDelta(msgspec.Struct):
    """A ``content_block_delta``, which nearly every event is."""

    type: str = ""
    index: int = 0
    delta: Delta | None = None


decode = reading(msgspec.json.Decoder(BlockDelta).decode)
