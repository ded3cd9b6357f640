"""The keys of features in the items of a configuration: entries, aliases, groups, clients and rules. The rows of advice
on unknown keys."""

from typing import Any, TypeVar

import attrs

from configfile.document import Path
from gateway.config.findings import Findings

H = TypeVar("H")


class ItemPart:
    """Keys of a feature in an item, with their checks."""

    def complete(self, item: Any, path: Path, config: Any, findings: Findings) -> "ItemPart":
        """Return the keys in their final form, and report mistakes in those of the ``item`` at ``path``.

        ``config`` is a ``Config`` with the root keys as the file has them, with ``None`` for invalid items of lists.
        Its ``entries`` are complete for a client or group, or empty if the names of some are unknown."""
        return self

    def within(self, config: Any) -> "ItemPart":
        """Return the keys of a stored client without what a later ``config`` does not permit, such as missing names."""
        return self

    def beyond_lead(self) -> tuple[str, str] | None:
        """Return the place of a key that a lead must not give to a client, and the reason for a sentence."""
        names = (name for name in attrs.fields_dict(type(self)) if self._is_given(name))  # type: ignore[arg-type]
        return next(((name, f"have no {name}: remove it") for name in names), None)

    def _is_given(self, name: str) -> bool:
        return bool(getattr(self, name) != getattr(type(self)(), name))


class ClientRights:
    """The base of classes with the rights of a client, to which features add keys."""


# Advice on unknown keys


@attrs.frozen(repr=False)
class Absent:
    """A feature that trigate lacks, with the advice for users of its keys.

    ``title`` is its name, ``says`` a clause with the alternative. ``keys`` (snake case, separated by spaces) select the
    advice in ``places``."""

    title: str
    says: str
    keys: str
    places: tuple[type, ...]

    @property
    def advice(self) -> str:
        acronym = self.title[:2].isupper()
        return f"trigate has no {self.title if acronym else self.title[0].lower() + self.title[1:]}: {self.says}"


@attrs.frozen(repr=False)
class Instead:
    """A clause that states what to write instead of ``keys``."""

    says: str
    keys: str
    places: tuple[type, ...]

    @property
    def advice(self) -> str:
        return self.says
