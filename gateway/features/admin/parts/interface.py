"""The parts of the HTTP API that other features add to it."""

from collections.abc import Iterable

from gateway.seams.running import Running


class ApiPart(Running):
    """An open feature with additions to the HTTP API: ``PART`` of ``module``, an ``ApiCalls``.

    The API's first request imports it, with the modules of its handlers."""

    def __init__(self, module: str, handlers: tuple[str, ...]) -> None:
        self.module = module
        self.modules = (module, *handlers)


def parts_in(features: Iterable[Running]) -> list[ApiPart]:
    """Return the parts among the open ``features``."""
    return [one for one in features if isinstance(one, ApiPart)]
