"""The parts of a request that its provider has refused, where it may go without them."""

from collections.abc import Callable
from typing import Any

import attrs

from gateway.request.client_request import ClientRequest, without_betas
from gateway.request.prepared import Prepared
from gateway.routing.omissions import Omissions
from providers.errors.failures import refuses_reasoning
from providers.errors.rejected import BETA, Path, may_go, refused, without
from providers.neutral.fields import parsed
from streams.errors import GatewayError
from streams.events import ErrorInfo


def refused_parts(
    failed: ErrorInfo, prepared: Prepared, sent: ClientRequest, prepare: Callable[[Omissions], Prepared]
) -> Omissions:
    """The parts that ``failed`` names, as they stood in the body ``prepared`` and in the headers ``sent``; ``prepare``
    writes the same request without some of it."""
    named = [path for path in refused(failed) if path not in prepared.left.paths]
    found = (path for path in named if (_has_beta(sent, path) if path[0] == BETA else _has(prepared, path)))
    return Omissions(refuses_reasoning(failed) and _has_reasoning(prepared, prepare), tuple(found))


def _has_reasoning(prepared: Prepared, prepare: Callable[[Omissions], Prepared]) -> bool:
    """True if the request would be another one without the reasoning of earlier turns."""
    if prepared.left.reasoning:
        return False
    try:
        other = prepare(attrs.evolve(prepared.left, reasoning=True))
    except GatewayError:
        return False
    return other.outgoing.body != prepared.outgoing.body


def _has_beta(sent: ClientRequest, path: Path) -> bool:
    return bool(without_betas(sent, (path,))[1])


def _has(prepared: Prepared, path: Path) -> bool:
    """Whether the request has what ``path`` means, and can go without."""
    try:
        body = parsed(prepared.outgoing.body, dict[str, Any])
    except GatewayError:  # it has no members: it was passed on as it is
        return False
    _, places = without(body, path)
    return bool(places) and all(may_go(place, body) for place in places)
