"""Neutral requests for embeddings, and errors for requests that a provider does not support."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from providers.endpoints.embeddings.traits import EmbeddingTraits, Purpose, Words
from providers.neutral.draft import Edit, losses_of
from streams.errors import GatewayError, invalid

VectorType: TypeAlias = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]
"""The numbers of a vector. ``base64`` is an encoding of ``float``."""

Setting: TypeAlias = Literal["dimensions", "types", "purpose", "title", "truncate"]


Written: TypeAlias = tuple[dict[str, Any], tuple[Edit, ...]]
"""The body of a request to a provider, and the edits made."""


@attrs.frozen
class EmbeddedImage:
    """An image input: a data URL or a URL."""

    url: str


@attrs.frozen
class TokenIds:
    """An input of token ids: a JSON array of integers."""

    ids: msgspec.Raw


@attrs.frozen
class EmbeddedContent:
    """An input that makes one vector: texts and images. ``title`` is the document's title."""

    parts: tuple[str | EmbeddedImage, ...]
    title: str | None = None

    @property
    def text(self) -> str | None:
        """Its whole text, or ``None`` if it contains an image."""
        return "".join(map(str, self.parts)) if all(isinstance(part, str) for part in self.parts) else None


EmbeddingInput: TypeAlias = EmbeddedContent | TokenIds


@attrs.frozen
class EmbeddingRequest:
    """A request for embeddings.

    ``types`` are the requested forms of each vector. ``places`` are the client's names for the settings that it sent,
    ``dropped`` the paths of members that no other API has.
    """

    inputs: tuple[EmbeddingInput, ...]
    types: tuple[VectorType, ...] = ("float",)
    dimensions: int | None = None
    purpose: Purpose | None = None
    truncate: str | None = None
    """Cohere's values: ``NONE``, ``START`` or ``END``."""
    places: Mapping[Setting, str] = MappingProxyType({})
    dropped: tuple[str, ...] = ()

    @property
    def losses(self) -> tuple[Edit, ...]:
        """The losses in every API but its own."""
        titles = (self.place("title"),) if "title" in self.places else ()
        return losses_of((*self.dropped, *titles), "translation")

    def place(self, setting: Setting) -> str:
        """Return the client's name for ``setting``."""
        return self.places.get(setting, setting)

    def size_member(self, name: str, traits: EmbeddingTraits) -> dict[str, int]:
        """Return the member ``name`` with the number of dimensions, empty if there is none."""
        size = traits.dimensions if self.dimensions is None else self.dimensions
        return {} if size is None else {name: size}

    def purpose_member(self, name: str, words: Words, edits: list[Edit]) -> dict[str, str]:
        """Return the member ``name`` with the purpose, one of ``words``; without it, add a loss to ``edits``."""
        if self.purpose is None:
            return {}
        if self.purpose in words:
            return {name: words[self.purpose]}
        edits.append(Edit(self.place("purpose")))
        return {}


def text_input(text: str) -> EmbeddedContent:
    return EmbeddedContent((text,))


def setting_names(**settings: tuple[str, Any]) -> Mapping[Setting, str]:
    """Return the names of those settings that have a value: ``setting_names(dimensions=("output_dimension", 256))``."""
    found = {setting: name for setting, (name, value) in settings.items() if value is not None}
    return MappingProxyType(found)  # type: ignore[arg-type]  # the names of arguments are settings


_MAX_NAME: Final = 200  # characters of a model's name

_SEND_TEXT: Final = "send text (in LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))"


def unknown_vocabulary_error(model: str) -> GatewayError:
    """Return the 400 for token ids of an unknown vocabulary.

    A server that reads OpenAI's ids as another model's embeds other words (danny-avila/rag_api#104,
    veniceai/api-docs#423).
    """
    return invalid(
        f"input has token ids, but the vocabulary of {model[:_MAX_NAME]} may differ from OpenAI's, so the ids may mean "
        f"other words: {_SEND_TEXT}, or set `embeddings: {{token_arrays: true}}` in its entry if the ids are from the "
        "model's own vocabulary",
        "input",
    )


def token_ids_error() -> GatewayError:
    """Return the 400 for token ids if the provider's API does not support them."""
    return invalid(f"input has token ids, which this model's provider does not support: {_SEND_TEXT}", "input")


def images_error() -> GatewayError:
    return invalid("input has images, but this model's provider supports only text: use another model", "input")


def required_text(one: EmbeddingInput) -> str:
    """Return the text of an input. Raises ``GatewayError`` (400) for token ids and images."""
    if isinstance(one, TokenIds):
        raise token_ids_error()
    if one.text is None:
        raise images_error()
    return one.text


def number_type_error(request: EmbeddingRequest) -> GatewayError:
    """Return the 400 for a number type that the provider lacks, because floats would be different vectors."""
    at, types = request.place("types"), ", ".join(request.types)
    return invalid(f"{at} requests {types}, which this model's provider does not support: use float or base64", at)


def check_floats(request: EmbeddingRequest) -> None:
    """Raise the 400 of ``number_type_error`` if other numbers than floats are requested."""
    if not {"float", "base64"}.issuperset(request.types):
        raise number_type_error(request)


def default_purpose(words: Words, traits: EmbeddingTraits) -> Purpose | None:
    """Return the default purpose for a provider that requires one, or ``None``."""
    return traits.purpose if traits.takes_purpose == "required" and traits.purpose in words else None
