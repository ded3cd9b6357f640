"""The parts of the HTTP API that other features add to it."""

from collections.abc import Iterable
from typing import Final

from gateway.seams.running import Running

_PACKAGE: Final = "gateway.features.admin"
SERVING: Final = f"{_PACKAGE}.serving"
_MODULES: Final = (
    SERVING,
    *(f"{_PACKAGE}.{name}" for name in (
        "own", "keys", "groups", "raises", "audit_list", "usage", "litellm",
    )),
)  # fmt: skip


class ApiPart(Running):
    """An open feature with additions to the HTTP API: ``PART`` of ``module``, an ``ApiCalls``.

    The API's first request imports it, with the modules of its handlers."""

    def __init__(self, module: str, handlers: tuple[str, ...]) -> None:
        self.module = module
        self.modules = (module, *handlers)


def parts_in(features: Iterable[Running]) -> list[ApiPart]:
    """Return the parts among the open ``features``."""
    return [one for one in features if isinstance(one, ApiPart)]


def api_modules(features: Iterable[Running]) -> tuple[str, ...]:
    """Return the modules that a request needs; ``serving`` finds the handlers in them."""
    return (*_MODULES, *(module for part in parts_in(features) for module in part.modules))
