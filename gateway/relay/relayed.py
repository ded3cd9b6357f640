"""A relayed request: what an endpoint makes of what a client has asked it for."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import attrs

from gateway.endpoints.border import Admit, by_key
from gateway.exchange.planned import PlannedRequest
from gateway.relay.answers import AnswerFilter
from gateway.routing.target import Target
from providers.apis import CODECS
from providers.endpoints.endpoint import EndpointName
from streams.events import AnswerStart, ErrorInfo

if TYPE_CHECKING:
    from gateway.http.response import Response
    from gateway.relay.relaying import Relaying

LastEvent: TypeAlias = Callable[[ErrorInfo], bytes]
"""The event with which a stream ends in failure, in the words of its client."""


def openai_error(failed: ErrorInfo) -> bytes:
    """The ``LastEvent`` of OpenAI's endpoints."""
    return CODECS["chat"].last_event(failed, AnswerStart(), 0)


def nothing_further(target: Target) -> Sequence[bytes]:
    """The rest of a request that is sent as one."""
    return ()


OnWhole: TypeAlias = Callable[[], Awaitable[object]]
"""Is awaited once, when the answer is whole: before a short one goes to the client, behind the last piece of any other.
It raises nothing."""


@attrs.frozen(eq=False)
class RelayedRequest:
    """``planned`` goes to providers; the answer of the target that is asked goes to the client through what ``filter``
    makes, one for each attempt. Of a stream that has failed the client is told by ``last_event``; any other answer is
    cut. ``further`` are the bodies of requests that follow the first of an attempt, one by one; the filter takes all
    answers, and is told the head of each. ``on_whole`` is what is to be done once its answer is whole. Once
    its provider has the whole request, an answer that is ``read_on`` is read to its end though its client has left: it
    tells what was made, or what that has cost."""

    planned: PlannedRequest
    filter: Callable[[Target], AnswerFilter]
    last_event: LastEvent = openai_error
    on_whole: OnWhole | None = None
    further: Callable[[Target], Sequence[bytes]] = nothing_further
    read_on: bool = False


ReadRequest: TypeAlias = "Callable[[Relaying, Mapping[str, str]], Awaitable[RelayedRequest | Response]]"
"""Reads a request, with what its path names: ``{"id": …}``. What no provider is asked for it answers itself. Raises
``GatewayError``."""


@attrs.frozen
class RelayRoute:
    """What is asked at ``path`` by ``method``. ``{id}`` in it stands for a step of the path, ``{model}`` for one or
    more; two of one name get numbers: ``id``, ``id2``."""

    endpoint: EndpointName
    method: str
    path: str
    read: ReadRequest
    admit: Admit = by_key
