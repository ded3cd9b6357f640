"""The requests that are repetitions: the same members of the same key, but for the form of the answer."""

from collections.abc import Callable, Collection, Iterator
from typing import Final

import trio

from gateway.conversations.provider_turn import ProviderTurn
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.target_request import TargetRequest
from gateway.exchange.walk import Walk
from gateway.features.answer_cache.interface import (
    AnswerCache,
    CachedOrigin,
    CacheLookup,
    CacheUse,
    ConversationAnswers,
)
from gateway.request.parse import Incoming
from gateway.request.repeatable import is_in_background
from gateway.upstream.http11 import BodySource

FORM_MEMBERS: Final = ("stream", "stream_options")
"""Members of requests that only select the form of the answer."""

_SCOPE: Final = CacheUse(ttl=0.0)


class RepeatedConversations(ConversationAnswers):
    """The rules for answers that repeated requests join."""

    def may_be_cached(self, target_request: TargetRequest, use: CacheUse, max_size: int) -> bool:
        """Return whether a repetition of ``target_request`` may join its answer.

        It may not if the gateway would add the turn to a conversation twice."""
        incoming, turn = target_request.request.incoming, target_request.request.turn
        if target_request.choices != 1 or turn.background is not None or is_in_background(incoming):
            return False
        return isinstance(turn, ProviderTurn) or bytes(incoming.members.get("conversation", b"null")) == b"null"

    def judge(self, target_request: TargetRequest, content_type: str) -> Callable[[bytes], bool]:
        return lambda body: False

    def with_own_members(
        self, target_request: TargetRequest, body: BodySource, content_type: str, event_limit: int
    ) -> BodySource:
        return body  # both requests have the same members


def members_of(incoming: Incoming, sent: bytes, excluded: Collection[str]) -> Iterator[bytes]:
    """Yield the received members without those of the answer's form: a ``BodyParts`` that decodes nothing."""
    for name in sorted(incoming.members.keys() - FORM_MEMBERS):
        yield name.encode()
        yield bytes(incoming.members[name])


def joined_origin(cache: AnswerCache, walk: Walk, relayed: object, nursery: trio.Nursery) -> AnswerOrigin:
    """Return ``walk`` with an origin that joins kept answers around it, which may continue without their clients;
    requests to other endpoints have none."""
    if relayed is not None:
        return walk
    context = walk.context
    holder = context.service.admission.holder(context.client_request.client, context.client_request.headers)
    kind = RepeatedConversations()
    lookup = CacheLookup(context, cache, _SCOPE, f"key {holder}", holder, kind, members_of)
    return CachedOrigin(walk, lookup, nursery)
