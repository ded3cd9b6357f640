"""The requests that a step applies to, by the ``for`` of its settings."""

from collections.abc import Collection

import attrs

from gateway.config.patterns import matches_one
from gateway.features.steps.settings import StepScope


@attrs.frozen(repr=False)
class ClientFacts:
    """The facts of a request that decide which steps apply.

    ``models`` are the configured name of the requested model, then the name that the client wrote; if there are none,
    it may be every model. ``endpoint`` is an endpoint's name, or the API of a conversation; "" may be each.
    ``requested`` are the steps that the client lists."""

    client: str | None = None
    group: str | None = None
    models: tuple[str, ...] = ()
    endpoint: str = ""
    requested: frozenset[str] = frozenset()


def is_in_scope(scope: StepScope, name: str, facts: ClientFacts) -> bool:
    """Return whether the step ``name`` with ``scope`` applies to a request, whichever entry serves it."""
    if scope.is_for_all:
        return True
    return (
        (not scope.on_request or name in facts.requested)
        and matches(scope.clients, (facts.client,))
        and matches(scope.groups, (facts.group,))
        and (not facts.models or matches(scope.models, facts.models))
        and (not facts.endpoint or matches(scope.endpoints, (facts.endpoint,)))
    )


def matches(patterns: tuple[str, ...] | None, names: Collection[str | None]) -> bool:
    """Return whether a request with ``names`` matches ``patterns``, in which ``!`` excludes.

    Every name can match, but only the first one, which a client cannot spell differently, can be excluded. An absent
    name matches only ``*``, and no pattern excludes it."""
    if patterns is None:
        return True
    known = [name for name in names if name is not None]
    excluding = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    including = [pattern for pattern in patterns if not pattern.startswith("!")]
    if known and matches_one(known[0], excluding):
        return False
    return not including or "*" in including or any(matches_one(name, including) for name in known)
