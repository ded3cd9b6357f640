"""The rejected parts of a request that can be omitted, and the rejections to remember."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from gateway.request.client_request import ClientRequest, without_betas
from gateway.request.prepared import Prepared
from gateway.routing.plan import Outcome
from gateway.routing.target import Omissions, Target
from providers.errors.failures import rejects_reasoning
from providers.errors.named_alone import find_sole_rejected
from providers.errors.protected import is_protected
from providers.errors.rejected import BETA, OTHER_API, ROUTE, Path, find_rejected, may_omit, remove_path
from providers.neutral.fields import parse_json
from streams.errors import GatewayError
from streams.events import ErrorInfo


def rejected_parts(
    error: ErrorInfo,
    prepared: Prepared,
    client_request: ClientRequest,
    target: Target,
    prepare: Callable[[Omissions], Prepared],
) -> Omissions:
    """Return the parts of a request that the provider's ``error`` rejects and that can be omitted.

    They are in the body ``prepared`` or the headers ``client_request``.

    ``prepare`` writes the same request with omissions. A member about privacy, safety, identity or storage is included
    only if the error names nothing else: otherwise a quotation of the client's text could remove it. The address or
    the API is included if the provider of ``target`` has another one."""
    sole_rejected = find_sole_rejected(error)
    named = [path for path in find_rejected(error) if path not in prepared.omissions.paths]
    named = [path for path in named if (path,) == sole_rejected or not is_protected(path)]
    if (elsewhere := next((path for path in named if _is_elsewhere(path, target)), None)) is not None:
        return Omissions(paths=(elsewhere,))
    found = (
        path for path in named if (_has_beta(client_request, path) if path[0] == BETA else _can_omit(prepared, path))
    )
    return Omissions(rejects_reasoning(error) and _has_reasoning(prepared, prepare), tuple(found))


def learned_paths(outcomes: Sequence[Outcome], target: Target) -> tuple[Path, ...]:
    """Return the paths to remember after a success of ``target`` that followed ``outcomes``.

    Each earlier rejection must have named a single path, and its repetition must have omitted only that. Members about
    privacy, safety, identity or storage are never remembered."""
    refusals = [outcome for outcome in outcomes if outcome.target is target and outcome.refused]
    if any(outcome.refused != Omissions(paths=find_sole_rejected(outcome.error)) for outcome in refusals):
        return ()
    return tuple(path for outcome in refusals for path in outcome.refused.paths if not is_protected(path))


def _is_elsewhere(path: Path, target: Target) -> bool:
    """Return whether ``path`` rejects the address or the API, and the provider of ``target`` has another one."""
    if path == ROUTE:
        return target.alternative_url is not None
    if path[0] != OTHER_API or target.endpoint_place is not None:  # other endpoints exist in one API
        return False
    return path[1] != target.api and path[1] in target.row.other_apis


def _has_reasoning(prepared: Prepared, prepare: Callable[[Omissions], Prepared]) -> bool:
    """Return whether the request contains reasoning of earlier turns."""
    if prepared.omissions.reasoning:
        return False
    try:
        other = prepare(attrs.evolve(prepared.omissions, reasoning=True))
    except GatewayError:
        return False
    return other.outgoing.body != prepared.outgoing.body


def _has_beta(client_request: ClientRequest, path: Path) -> bool:
    return bool(without_betas(client_request, (path,))[1])


def _can_omit(prepared: Prepared, path: Path) -> bool:
    """Return whether the request contains ``path`` and can be sent without it."""
    try:
        body = parse_json(prepared.outgoing.body, dict[str, Any])
    except GatewayError:  # it has no members: it was forwarded unchanged
        return False
    _, places = remove_path(body, path)
    return bool(places) and all(may_omit(place, body) for place in places)
