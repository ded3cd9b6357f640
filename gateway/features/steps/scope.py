"""The requests that a step applies to, by the ``for`` of its settings."""

import attrs

from gateway.config.patterns import matches
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
