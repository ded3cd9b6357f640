"""The texts of a multipart form: its fields, their unknown names and the names of files, such as a picture's prompt."""

from collections.abc import Collection, Iterable, Sequence

import attrs

from gateway.steps.json_texts import KeyMasked, splice
from gateway.steps.masks import PassageEdit
from gateway.steps.tables import table_for
from trigate.steps import PARTS, Part, Passage


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
    """The passages of a form's fields, in their order."""

    def __init__(self, fields: Sequence[FormField], passages: Sequence[tuple[int, Passage]]) -> None:
        self.passages: Sequence[Passage] = tuple(passage for _, passage in passages)
        self._fields = fields
        self._indexes = {passage: index for index, passage in passages}

    @classmethod
    def of(cls, endpoint: str, fields: Sequence[FormField], parts: Collection[str] = PARTS) -> "FormTexts":
        """Return the texts of a form for ``endpoint`` that belong to ``parts``."""
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
        return cls(fields, [(index, passage) for index, passage in found if passage.part in parts])

    def replace(self, edits: Iterable[PassageEdit]) -> tuple[FormField, ...]:
        """Return the fields with each span replaced. Raises ``KeyMasked`` for the name of a field or a file."""
        by_field: dict[int, list[tuple[int, int, str]]] = {}
        for passage, start, end, text in edits:
            if isinstance(passage, FieldName):
                raise KeyMasked(text)
            by_field.setdefault(self._indexes[passage], []).append((start, end, text))
        fields = list(self._fields)
        for index, spans in by_field.items():
            if fields[index].file_name is not None:
                raise KeyMasked(spans[0][2])
            text = splice(fields[index].value.decode("utf-8", "replace"), sorted(spans))
            fields[index] = attrs.evolve(fields[index], value=text.encode("utf-8", "replace"))
        return tuple(fields)
