"""The rows of advice on unknown keys."""

import attrs


@attrs.frozen(repr=False)
class Absent:
    """A feature that trigate lacks, with the advice for users of its keys.

    ``title`` is its name, ``says`` a clause with the alternative. ``keys`` (snake case, separated by spaces) select the
    advice in ``places``, as does any key that contains one of ``words``."""

    title: str
    says: str
    keys: str
    places: tuple[type, ...]
    words: str = ""

    @property
    def advice(self) -> str:
        acronym = self.title[:2].isupper()
        return f"trigate has no {self.title if acronym else self.title[0].lower() + self.title[1:]}: {self.says}"


@attrs.frozen(repr=False)
class Instead:
    """A clause that states what to write instead of ``keys``, or of any key that contains one of ``words``."""

    says: str
    keys: str
    places: tuple[type, ...]
    words: str = ""

    @property
    def advice(self) -> str:
        return self.says
