"""The additions of features to requests, as tuples that are fixed when a configuration is opened."""

from collections.abc import Callable, Iterable

import attrs

from gateway.access.page_guard import GuardedPaths
from gateway.ledger.figures import Figures
from gateway.seams.edit_sent import BeginEdits, EditSent
from gateway.seams.kept import KeptObjects
from gateway.seams.observe import Observe, ObserveAttempt
from gateway.seams.plan import FindReadable, PlanStep, RequestChecks
from gateway.seams.request_forms import RequestForms
from gateway.seams.response_forms import FormsOf
from gateway.seams.route import MakeAdapter, RoutesOf
from gateway.seams.wrap_origin import WrapOrigin
from gateway.upstream.request import CredentialSource


@attrs.frozen(eq=False, repr=False)
class Hooks:
    """The additions to requests of one feature, or of all of them in their order.

    Each attribute is a tuple for one seam, whose module has the contract. The kernel loops over it; without a feature
    the loop is empty.

    - ``request_forms`` (``gateway.seams.request_forms``): members for other routers, of one feature
    - ``kept`` (``gateway.seams.kept``): objects that providers store, of one feature
    - ``before_turns``, ``after_turns``, ``request_checks`` (``gateway.seams.plan``): requests before they are sent
    - ``begin_edits``, ``edit_sent`` (``gateway.seams.edit_sent``): what providers receive
    - ``wrap_origin`` (``gateway.seams.wrap_origin``): where responses come from
    - ``observe``, ``observe_attempts`` (``gateway.seams.observe``): what learns about exchanges
    - ``find_readable`` (``gateway.seams.plan``): what prefers targets
    - ``report`` (``gateway.ledger.figures``): figures that metrics take
    - ``records_run``: true if the feature needs ``Record.run``
    - ``credentials`` (``gateway.seams.secrets``): sources of credentials, with the names of their entries
    - ``response_forms`` (``gateway.seams.response_forms``): errors and headers for certain programs
    - ``routes``, ``guarded``, ``adapters`` (``gateway.seams.route``): paths, and changes of all requests"""

    credentials: tuple[tuple[str, CredentialSource], ...] = ()
    request_forms: tuple[RequestForms, ...] = ()
    kept: tuple[KeptObjects, ...] = ()
    before_turns: tuple[PlanStep, ...] = ()
    after_turns: tuple[PlanStep, ...] = ()
    request_checks: tuple[RequestChecks, ...] = ()
    begin_edits: tuple[BeginEdits, ...] = ()
    edit_sent: tuple[EditSent, ...] = ()
    wrap_origin: tuple[WrapOrigin, ...] = ()
    observe: tuple[Observe, ...] = ()
    observe_attempts: tuple[ObserveAttempt, ...] = ()
    find_readable: tuple[FindReadable, ...] = ()
    response_forms: tuple[FormsOf, ...] = ()
    report: tuple[Callable[[Figures], object], ...] = ()
    records_run: tuple[bool, ...] = ()
    routes: tuple[RoutesOf, ...] = ()
    guarded: tuple[GuardedPaths, ...] = ()
    adapters: tuple[MakeAdapter, ...] = ()


NO_HOOKS = Hooks()


def combine(hooks: Iterable[Hooks]) -> Hooks:
    """Return the hooks of several features as one, in the order of ``hooks``."""
    made = tuple(hooks)
    fields = attrs.fields(Hooks)
    return Hooks(**{field.name: tuple(one for each in made for one in getattr(each, field.name)) for field in fields})
