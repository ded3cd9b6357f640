"""The seam of forms: the errors and headers that the program of a request expects in place of those of its API.

The kernel calls each function of ``Hooks.response_forms`` in the order of the features, when it has admitted a request
whose endpoint has no forms of its own. It passes the allowances, the API, and the client's name. The function returns
``None`` for a request that keeps the forms of its API; the first other result applies. It may not wait or raise. The
forms are used for each response that is an error, and for the headers of each response, and may not raise either. An
error within a stream keeps the form of its API."""

from collections.abc import Callable
from typing import TypeAlias

from gateway.allowances.allowances import Allowances
from gateway.ledger.record import ResponseForms
from streams.events import Api

FormsOf: TypeAlias = Callable[[Allowances, Api, "str | None"], ResponseForms | None]
