"""The tracker's data about an attempt: its request, its prompts, its parent, and its result."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec

from gateway.features.prompt_caches.memory import ExchangeEnd, KnownConversation, Packed
from gateway.features.prompt_caches.packed_blocks import ROLE_NUMBERS
from gateway.features.prompt_caches.prompts import Anchor, PromptDigest
from gateway.features.prompt_caches.situations import Boundary, Situation
from gateway.features.prompt_caches.structures import MutableStructure, Structure
from gateway.features.prompt_caches.written_boundaries import PlannedBoundary
from gateway.ledger.prompt_cache import CacheVerdict
from providers.catalog.prompt_caching import CachedSection, CachingRow
from streams.events import Api, Usage

_LAST: Final = 2
"""The anchors at the end of a prompt that are read with it."""

_ASSISTANT: Final = ROLE_NUMBERS["assistant"]

HEADER: Final = "header:"
"""The beginning of a header's name among the settings of a row."""

Members: TypeAlias = Mapping[str, msgspec.Raw]


class SentRequest(Structure, frozen=True):
    """The parts of an attempt's request on which the caching of its prompt depends.

    ``client`` is the client whose earlier exchanges count. ``body`` is the sent body or its members, ``headers`` are
    the sent ones in lower case. ``client_members`` are those of the client's request in ``client_api``, or a
    function for them; ``None`` if they were sent unchanged but for the model. Their history begins with
    ``client_earlier`` stored items. ``account`` identifies the server, the
    credential and the model, ``target`` is the entry's name, ``session`` the client program's name for its session,
    ``sent`` the time on the memory's clock. ``is_diagnosed``: its entry requests diagnoses, for which the next request
    needs its response's id."""

    client: str
    api: Api
    body: bytes | Members
    headers: Mapping[str, str]
    row: CachingRow | None
    account: bytes
    target: str
    sent: float
    client_api: Api
    client_members: Members | Callable[[], Members] | None = None
    requested_model: str | None = None
    session: str | None = None
    edits: tuple[str, ...] = ()
    move: str = ""
    is_diagnosed: bool = False
    client_earlier: int = 0

    @property
    def key_headers(self) -> tuple[str | None, ...]:
        """The headers that are in the provider's key."""
        names = () if self.row is None else _header_names(self.row.settings)
        return tuple([self.headers.get(name) for name in names])


@lru_cache(maxsize=256)
def _header_names(settings: tuple[tuple[str, CachedSection], ...]) -> tuple[str, ...]:
    """Return the names of the headers among the settings of a row."""
    return tuple(name.removeprefix(HEADER) for name, _ in settings if name.startswith(HEADER))


class ReadPrompts(Structure, frozen=True):
    """The prompt of a request as sent, and as the client wrote it, with everything that takes longer for larger ones.

    ``anchors`` are the last two of the client's prompt, the last first; ``anchor`` is the last one up to its deepest
    boundary, ``None`` without one. ``members`` are those of the sent body, ``client_members`` those of the client's.
    ``packed`` is ``None`` if the prompt has too many tools to be remembered. ``key_headers`` are those of the
    request."""

    row: CachingRow | None
    members: Members
    client_members: Members
    prompt: PromptDigest
    client_prompt: PromptDigest | None
    anchors: tuple[Anchor, ...]
    anchor: Anchor | None
    boundaries: tuple[PlannedBoundary, ...]
    packed: Packed | None
    key_headers: tuple[str | None, ...]

    @property
    def until(self) -> int:
        """The position in the prompt as sent after which its text may change: the deepest boundary that it leaves."""
        return self.boundaries[-1].position if self.boundaries else self.prompt.end

    @property
    def other_anchor(self) -> Anchor | None:
        """Another anchor of the newest message, if the client marks none of its blocks: its last text may change."""
        own = self.own
        if len(self.anchors) < _LAST or own.history.marks:
            return None
        return self.anchors[1] if self.anchors[1].position > own.roles.rfind(_ASSISTANT) else None

    @property
    def stable(self) -> bytes:
        """The prefix of tools and system texts."""
        return self.prompt.prefix(self.prompt.history_start) or b""

    def belongs_to(self, sent: SentRequest) -> bool:
        """Return whether these are the prompts of ``sent``, which was read before it was sent."""
        is_same = sent.client_members is None and self.members is sent.body and self.row is sent.row
        return is_same and self.key_headers == sent.key_headers

    @property
    def own(self) -> PromptDigest:
        """The prompt as the client wrote it."""
        return self.client_prompt or self.prompt


class FoundParent(Structure, frozen=True):
    """The exchange that a request continues, at ``end`` of its conversation.

    ``is_similar``: the request has another conversation, with almost the same tools and system texts. ``end`` is then
    the end of these. ``packed`` are its prompts in the memory."""

    id: bytes
    conversation: KnownConversation
    prompt: PromptDigest
    client_prompt: PromptDigest | None
    end: ExchangeEnd
    packed: Packed
    is_compacted: bool = False
    is_similar: bool = False

    @property
    def own(self) -> PromptDigest:
        """The prompt as the client wrote it."""
        return self.client_prompt or self.prompt

    @property
    def is_latest(self) -> bool:
        """Whether the conversation has no later exchange."""
        return self.end is self.conversation.ends[-1]


class FollowedExchange(MutableStructure, gc=True):
    """The attempts of one exchange, which have the same parent and write the same conversation."""

    owner: bytes
    parent: FoundParent | None = None
    id: bytes | None = None
    """The conversation that the exchange writes."""
    sent: float = 0.0
    """When its first attempt was sent, by which the conversation finds its end."""
    writer: "FollowedAttempt | None" = None
    """The attempt whose prompt the conversation has."""


class FollowedAttempt(MutableStructure, gc=True):
    """An attempt whose prompt was read, with everything that its verdict depends on.

    ``planned`` are the boundaries that it leaves if it succeeds, ``head`` is when its successful response began.
    ``compared_with`` is a digest of the response's id with which the provider compares it, b"" without one.
    ``is_unkeyed``: its provider advises a cache key, and it has none.
    ``verdict`` is that for ``usage``."""

    exchange: FollowedExchange
    row: CachingRow | None
    prompt: PromptDigest
    client_prompt: PromptDigest | None
    situation: Situation
    account: bytes
    planned: tuple[PlannedBoundary, ...]
    packed: Packed | None
    boundaries: tuple[Boundary, ...] = ()
    head: float | None = None
    compared_with: bytes = b""
    is_diagnosed: bool = False
    is_unkeyed: bool = False
    verdict: CacheVerdict | None = None
    usage: Usage | None = None
