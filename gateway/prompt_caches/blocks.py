"""Reader of requests as blocks, for five APIs."""

from collections.abc import Mapping

import msgspec

from gateway.prompt_caches.prompts import Anchor, PromptDigest
from providers.catalog.prompt_caching import CachingRow
from streams.events import Api


class BlockMemo:
    """The blocks of messages that were read before, by the process's own hash of their bytes.

    The owner keeps one for each client key, so that no client learns from another's requests how long reading takes.
    Only one thread uses it at a time. It is bounded to ``most`` conversations, the least recently used out first."""

    def __init__(self, most: int = 64) -> None:
        self._most = most


def read_prompt(
    api: Api,
    body: bytes | Mapping[str, msgspec.Raw],
    row: CachingRow | None,
    key: bytes,
    *,
    headers: Mapping[str, str] | None = None,
    memo: BlockMemo | None = None,
) -> PromptDigest | None:
    """Return the prompt in a request's ``body``, its bytes or its top-level members, or ``None`` if it has none.

    ``key`` are 32 random bytes, the key of all digests; the workers of a machine share it. ``row`` decides which
    members are in ``PromptDigest.settings``, and which parts are ignored. ``headers`` (lower case) are those of the
    request as sent. Linear in the body's size; text that ``memo`` knows is hashed once and not parsed."""
    raise NotImplementedError


def continue_prompt(parent: PromptDigest, new: PromptDigest, key: bytes) -> PromptDigest:
    """Return ``new``, which has only a turn's new messages, after the messages that its provider keeps from ``parent``.

    For ``previous_response_id``, threads and the turns of a websocket. Sections that ``new`` does not repeat, such as
    tools, are those of ``parent``."""
    raise NotImplementedError


def anchors(prompt: PromptDigest, key: bytes, most: int = 16) -> tuple[Anchor, ...]:
    """Return the anchors of ``prompt``, the last first: at most ``most`` from the end, then the first user message.

    The first one is the anchor by which the memory registers the exchange. Blocks below 32 bytes are none; the tool
    results of one message count as one block."""
    raise NotImplementedError


def boundary_positions(prompt: PromptDigest, row: CachingRow | None) -> tuple[int, ...]:
    """Return the positions where a successful request with ``prompt`` leaves entries that the memory registers.

    At most: end of tools, end of system, the marked blocks, and the end of the prompt; of a row that needs marks, only
    the marked blocks."""
    raise NotImplementedError


def lookup_positions(prompt: PromptDigest, row: CachingRow | None) -> tuple[int, ...]:
    """Return the positions where the provider searches for an entry, the deepest first, for ``PromptDigest.prefix``.

    Without marks or a limited lookup: end of tools, end of system, and each message's end, at most 64 from the end."""
    raise NotImplementedError


def pack(prompt: PromptDigest, most: int) -> bytes:
    """Return ``prompt`` in at most ``most`` bytes, for the memory: all tools and system texts while they fit, and of
    the messages' blocks the first 32 and the last 224, or fewer."""
    raise NotImplementedError


def unpack(data: bytes, key: bytes) -> PromptDigest:
    """Return the prompt that ``pack`` wrote."""
    raise NotImplementedError
