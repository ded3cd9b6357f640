"""The check of the keys of a feature, once the models and clients of a configuration are known."""

from typing import Protocol

import attrs

from gateway.config.client_access import AccessNames
from gateway.config.entries import Entries
from gateway.config.findings import Findings
from gateway.config.settings import Config


@attrs.frozen(eq=False, repr=False)
class Building:
    """The ``findings`` so far, and the ``entries`` and other ``names`` that keys may refer to."""

    findings: Findings
    entries: Entries
    names: AccessNames


class BuildKeys(Protocol):
    """Completes the keys of a feature, and reports their mistakes to the findings. ``config`` is otherwise complete."""

    def __call__(self, config: Config, building: Building) -> Config: ...
