"""The check of the keys of a feature, once the models and clients of a configuration are known."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from configfile.document import Path
from configfile.stored_secrets import StoredSecret
from gateway.config.findings import Findings
from gateway.config.settings import Config
from gateway.config_files.client_access import AccessNames
from gateway.config_files.entries import Entries


@attrs.frozen(eq=False, repr=False)
class Building:
    """The ``findings`` so far, the ``entries`` and other ``names`` that keys may refer to, and the places of secrets
    in stores."""

    findings: Findings
    entries: Entries
    names: AccessNames
    stored: Sequence[tuple[Path, StoredSecret]]


class BuildKeys(Protocol):
    """Completes the keys of a feature, and reports their mistakes to the findings. ``config`` is otherwise complete."""

    def __call__(self, config: Config, building: Building) -> Config: ...
