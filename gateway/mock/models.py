"""The stand-in provider's models: one for each fault, with a number behind some of their names."""

import re
from collections.abc import Mapping
from typing import Final

from gateway.mock.failures import FAILURES
from gateway.mock.faults import FAULTS, Fault
from streams.errors import GatewayError

PREFIX: Final = "fault/"
MODELS: Final[Mapping[str, Fault]] = {**FAULTS, **FAILURES}
"""All faults, by name."""


def fault_of(model: str) -> tuple[str, Fault, int] | None:
    """The name, the row and the number that ``model`` asks for; ``None`` for a model without a fault. Gateways take the
    first part of a name off, so the name of a fault will do without it.

    Raises ``GatewayError`` (404) for a fault that there is not."""
    name = model.removeprefix(PREFIX)
    found = re.fullmatch(r"(.+?)(?:-(\d{1,4}))?", name)
    for stem, number in ((name, None), found.groups() if found else ("", None)):
        fault = MODELS.get(stem)
        if fault is not None and (number is None or fault.number is not None):
            return stem, fault, int(number or fault.number or 0)
    if model.startswith(PREFIX):
        raise GatewayError("not_found", f"there is no {model}; there are {', '.join(listed())}", param="model")
    return None


def listed() -> dict[str, str]:
    """The models, each with its description."""
    return {
        f"{PREFIX}{name}" + (f"-{fault.number}" if fault.number else ""): fault.says for name, fault in MODELS.items()
    }
