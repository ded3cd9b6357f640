"""The family of OpenAI's shape: whose members have which names, a row each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

from providers.endpoints.embeddings.purposes import JINA, NIM, VOYAGE, Words
from providers.endpoints.embeddings.request import VectorType
from providers.errors.rejected import VECTOR_ENCODINGS

_NO_WORDS: Final[Words] = MappingProxyType({})
_QUANTIZED: Final[tuple[VectorType, ...]] = ("int8", "uint8", "binary", "ubinary")


@attrs.frozen
class MemberNames:
    """The names of members. ``encoding`` holds ``float`` or ``base64``, ``says_float`` unless it is left out for the
    former; ``dtype`` holds one of ``dtypes``, where other numbers than floats can be had. ``purpose`` holds one of
    ``words``. ``image`` is the member of an input that is a picture."""

    dimensions: str = "dimensions"
    encoding: str = "encoding_format"
    says_float: bool = True
    dtype: str | None = None
    dtypes: tuple[VectorType, ...] = ()
    purpose: str | None = None
    words: Words = _NO_WORDS
    image: str | None = None


MEMBER_NAMES: Final[Mapping[str, MemberNames]] = MappingProxyType(
    {
        "openai": MemberNames(),
        "mistral": MemberNames(dimensions="output_dimension", dtype="output_dtype", dtypes=_QUANTIZED),
        "voyage": MemberNames(
            dimensions="output_dimension", says_float=False, dtype="output_dtype", dtypes=_QUANTIZED,
            purpose="input_type", words=VOYAGE,
        ),
        "jina": MemberNames(
            encoding="embedding_type", dtype="embedding_type", dtypes=("binary", "ubinary"), purpose="task", words=JINA,
            image="image",
        ),
        "nim": MemberNames(purpose="input_type", words=NIM),
    }
)  # fmt: skip
"""By shape. Voyage's ``encoding_format`` knows ``base64`` and null alone (docs.voyageai.com, text embeddings); NIM's
retrieval models want ``input_type`` (docs.nvidia.com, NeMo Retriever embedding API)."""

DIMENSIONS: Final = tuple(dict.fromkeys(row.dimensions for row in MEMBER_NAMES.values()))
ENCODINGS: Final = VECTOR_ENCODINGS
PURPOSES: Final = ("input_type", "task", "task_type")
DTYPE: Final = "output_dtype"
