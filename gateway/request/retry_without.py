"""A request that its provider has refused for something that it can go without, tried once more without it."""

from collections.abc import Callable
from typing import Any

import attrs

from gateway.request.client_request import ClientRequest, without_betas
from gateway.request.parse import Incoming
from gateway.request.prepare import prepare_without
from gateway.request.prepared import Prepared
from gateway.routing.omissions import Omissions
from gateway.routing.target import Target
from providers.errors.failures import refuses_reasoning
from providers.errors.rejected import BETA, Path, may_go, refused, without
from providers.neutral.fields import parsed
from streams.events import ErrorInfo

MOST = 5
"""Second tries of one request. Providers name one member at a time (anthropics/claude-code#21612)."""


def retry_without(
    prepared: Prepared, asked: ClientRequest, incoming: Incoming, target: Target, failed: ErrorInfo
) -> Prepared | None:
    """The request without what ``failed`` says that the provider does not take; ``None`` if it says no such thing, or
    nothing would be different. Raises ``GatewayError`` (400) for what the provider cannot honour."""
    for cure in _CURES:
        left = cure(prepared, asked, failed)
        if left is None or left == prepared.left:
            continue
        other = prepare_without(prepared, incoming, target, left)
        if other.outgoing.body != prepared.outgoing.body or left.paths != prepared.left.paths:
            return other
    return None


def _without_reasoning(prepared: Prepared, asked: ClientRequest, failed: ErrorInfo) -> Omissions | None:
    return attrs.evolve(prepared.left, reasoning=True) if refuses_reasoning(failed) else None


def _without_refused(prepared: Prepared, asked: ClientRequest, failed: ErrorInfo) -> Omissions | None:
    """Without the members and betas that the provider names, where they are in the request and may go."""
    named = [path for path in refused(failed) if path not in prepared.left.paths]
    found = [path for path in named if (_has_beta(asked, path) if path[0] == BETA else _has(prepared, path))]
    return attrs.evolve(prepared.left, paths=(*prepared.left.paths, *found)) if found else None


def _has_beta(asked: ClientRequest, path: Path) -> bool:
    return bool(without_betas(asked, (path,))[1])


def _has(prepared: Prepared, path: Path) -> bool:
    """Whether the request has what ``path`` means, and can go without."""
    body = parsed(prepared.outgoing.body, dict[str, Any])
    _, places = without(body, path)
    return bool(places) and all(may_go(place, body) for place in places)


_CURES: tuple[Callable[[Prepared, ClientRequest, ErrorInfo], Omissions | None], ...] = (
    _without_reasoning,
    _without_refused,
)
