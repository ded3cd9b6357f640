"""The seam of paths: what a feature serves besides conversations.

``Hooks.routes`` has a function of each feature that returns its routes. The kernel calls it once when it makes the app
of a configuration, with the ``Service`` of that configuration, and adds them to its ``RouteTable``.

- **Order.** The routes of the kernel precede those of features, which follow in the order of the features. A path
  without variables precedes all paths with variables; of several that match, the first one handles a request.
- **Handler.** It is called with the request, which the guard has checked, and by name with the variables of the path.
  It checks the client's key itself, if at all: before it has, it may not do work for the request. It must not raise:
  each failure is a response in the form that the path's clients read. It may wait. It starts tasks only in the nursery
  of ``incoming.scope``; a client that leaves cancels it.
- **Guard.** Pages of other sites can make browsers send requests without a key. ``Hooks.guarded`` has ``GuardedPaths``
  for the paths that need no key, keep one in the browser, or belong to a protocol that demands the check.
- **Unwanted.** ``Feature.unwanted_paths`` has paths of a feature that is not open, with advice for their clients.
- **Late code.** ``LateViews`` imports the code of handlers with the first request.
- **Adapters.** Each function in ``Hooks.adapters`` returns an ``Adapter``, which changes requests in the forms of other
  servers before anything else reads them, and may edit the headers of responses. Both are sync, and may not raise.
- **Errors.** The kernel answers other methods of a served path with 405 and ``allow``, and suggests the listed paths
  for an unknown one. Both need a client's key.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from gateway.http.headers import Adapter
from gateway.http.listener_rules import Use
from gateway.serving.route_table import READING, Handler


@attrs.frozen(eq=False, repr=False)
class HttpRoute:
    """A path with its methods and their handler.

    In ``path``, ``{id}`` matches one step; ``{model}``, ``{rest}`` and ``{deployment}`` match one or more. The error
    for an unknown path may suggest a path that ``is_listed``. Pages of the origins in ``cors`` may read the responses
    of a path that is ``for_programs``, and send it headers whose names begin with ``header_start``. ``uses`` are what
    the path is for: a listener may serve some uses only."""

    path: str
    handler: Handler
    methods: tuple[str, ...] = READING
    is_listed: bool = False
    for_programs: bool = False
    header_start: str = ""
    is_page: bool = False
    uses: tuple[Use, ...] = ("models",)


ALL_BELOW: Final = "/{rest}"
"""The end of a route for all paths below its start."""

MakeAdapter: TypeAlias = Callable[[Sequence[HttpRoute]], Adapter]
"""Returns an adapter of all requests, given the routes of features."""

RoutesOf: TypeAlias = Callable[[Any], Iterable[HttpRoute]]
"""Returns the routes for the ``Service`` of a configuration, which belongs to a room above this one."""
