"""The texts of a multipart form: its fields, their unknown names and the names of files, such as a picture's prompt."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

import attrs

from gateway.features.steps.json_texts import KeyMasked, splice
from gateway.features.steps.masks import PassageEdit
from gateway.features.steps.tables import table_for
from trigate.steps import Part, Passage

NOTHING: Final[Mapping[str, Part | None]] = {}


@attrs.frozen
class FormField:
    """A field of a form, or a file, whose ``value`` is not read."""

    name: str
    value: bytes = b""
    file_name: str | None = None


@attrs.frozen(eq=False)
class FieldName(Passage):
    """The unknown name of a field."""


class FormTexts:
    """The passages of the ``fields`` of a form for ``endpoint``, in their order. No step can read the ``unreadable``
    ones."""

    def __init__(
        self, endpoint: str, fields: Sequence[FormField], unreadable: Mapping[str, Part | None] = NOTHING
    ) -> None:
        self.fields = fields
        self.unreadable = unreadable
        self._endpoint = endpoint
        known = table_for(endpoint).shape.members or {}
        found: list[tuple[int, Passage]] = []
        for index, field in enumerate(fields):
            shape = known.get(field.name.removesuffix("[]"))
            part: Part = "other" if shape is None else shape.leaf.part or "other"
            if shape is None:
                found.append((index, FieldName("other", "name", field.name)))
            if field.file_name is not None:
                found.append((index, Passage("media", field.name, field.file_name)))
            elif shape is None or shape.leaf.kind not in ("exempt", "held", "data"):
                found.append((index, Passage(part, field.name, field.value.decode("utf-8", "replace"))))
        self.passages: Sequence[Passage] = tuple(passage for _, passage in found)
        self._indexes = {passage: index for index, passage in found}

    def is_latest(self, passage: Passage) -> bool:
        return True

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        return type(self)(self._endpoint, self.replace(edits), self.unreadable)

    def replace(self, edits: Iterable[PassageEdit]) -> tuple[FormField, ...]:
        """Return the fields with each span replaced. Raises ``KeyMasked`` for the name of a field or a file."""
        by_field: dict[int, list[tuple[int, int, str]]] = {}
        for passage, start, end, text in edits:
            if isinstance(passage, FieldName):
                raise KeyMasked(text)
            by_field.setdefault(self._indexes[passage], []).append((start, end, text))
        fields = list(self.fields)
        for index, spans in by_field.items():
            if fields[index].file_name is not None:
                raise KeyMasked(spans[0][2])
            text = splice(fields[index].value.decode("utf-8", "replace"), sorted(spans))
            fields[index] = attrs.evolve(fields[index], value=text.encode("utf-8", "replace"))
        return tuple(fields)
