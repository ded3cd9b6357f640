"""A request for embeddings in no API's words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import attrs
import msgspec

from providers.endpoints.embeddings.purposes import Purpose
from providers.neutral.edits import Edit, losses_of

VectorType: TypeAlias = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]
"""The numbers of a vector. ``base64`` is the other form of ``float``."""

Setting: TypeAlias = Literal["dimensions", "types", "purpose", "title", "truncate"]


@attrs.frozen
class EmbeddedImage:
    """A picture among the inputs: a data URL or an address."""

    url: str


@attrs.frozen
class TokenIds:
    """An input as ids of a tokenizer's: a JSON array of integers."""

    ids: msgspec.Raw


@attrs.frozen
class EmbeddedContent:
    """An input that makes one vector: texts and pictures. ``title`` is the document's."""

    parts: tuple[str | EmbeddedImage, ...]
    title: str | None = None

    @property
    def text(self) -> str | None:
        """All of it as one text, ``None`` if there is a picture in it."""
        return "".join(map(str, self.parts)) if all(isinstance(part, str) for part in self.parts) else None


EmbeddingInput: TypeAlias = EmbeddedContent | TokenIds


@attrs.frozen
class EmbeddingRequest:
    """``types`` are the forms in which the client wants each vector. ``places`` are the client's names for settings
    that it has said, ``dropped`` the paths of what no other API has a word for."""

    inputs: tuple[EmbeddingInput, ...]
    types: tuple[VectorType, ...] = ("float",)
    dimensions: int | None = None
    purpose: Purpose | None = None
    truncate: str | None = None
    """Cohere's word: ``NONE``, ``START`` or ``END``."""
    places: Mapping[Setting, str] = MappingProxyType({})
    dropped: tuple[str, ...] = ()

    @property
    def untold(self) -> tuple[Edit, ...]:
        """What of it is lost in every API but its own."""
        titles = (self.place("title"),) if "title" in self.places else ()
        return losses_of((*self.dropped, *titles), "translation")

    def place(self, setting: Setting) -> str:
        """The client's name for ``setting``."""
        return self.places.get(setting, setting)


def text_input(text: str) -> EmbeddedContent:
    """An input of one text."""
    return EmbeddedContent((text,))


def said(**settings: tuple[str, Any]) -> Mapping[Setting, str]:
    """The names of those settings that have a value: ``said(dimensions=("output_dimension", 256))``."""
    found = {setting: name for setting, (name, value) in settings.items() if value is not None}
    return MappingProxyType(found)  # type: ignore[arg-type]  # the names of arguments are settings
