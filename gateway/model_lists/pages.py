"""Pages of a provider's list of models, in the shapes that there are: ``data`` (OpenAI's and Anthropic's), ``models``
(Gemini's), or a bare array (Together's, GitHub's)."""

from typing import Final

import attrs
import msgspec

LONGEST: Final = 200  # characters of a model's name

_SILENT: Final = frozenset(
    {"audio", "embedding", "embeddings", "image", "moderation", "rerank", "speech", "transcribe", "transcription",
     "video"}
)  # fmt: skip
"""Values of a row's ``type`` (Together's, LM Studio's) of what cannot be talked to."""


class _Chat(msgspec.Struct):
    completion_chat: bool = True


class _Row(msgspec.Struct):
    id: str = ""
    name: str = ""
    type: str = ""
    supportedGenerationMethods: list[str] = []
    capabilities: msgspec.Raw = msgspec.Raw()

    @property
    def talks(self) -> bool:
        """False if the row itself says that the model is for something else."""
        methods = self.supportedGenerationMethods
        if self.type in _SILENT or (methods and "generateContent" not in methods):
            return False
        try:
            return msgspec.json.decode(self.capabilities, type=_Chat).completion_chat  # Mistral's
        except msgspec.MsgspecError:
            return True


class _ListObject(msgspec.Struct):
    data: list[_Row] | None = None
    models: list[_Row] | None = None
    has_more: bool | None = None
    last_id: str | None = None
    nextPageToken: str | None = None


@attrs.frozen
class ModelPage:
    """The names on a page, and the member of the query that gets the next; ``None`` at the end."""

    names: tuple[str, ...]
    next: tuple[str, str] | None = None


def read_page(body: bytes) -> ModelPage:
    """Raises ``ValueError`` for what is no list of models."""
    found = msgspec.json.decode(body, type=_ListObject | list[_Row])
    if isinstance(found, list):
        return ModelPage(_names(found))
    rows = found.data if found.data is not None else found.models
    if rows is None:
        raise ValueError("it has neither data nor models")
    if found.has_more and found.last_id:
        return ModelPage(_names(rows), ("after_id", found.last_id))
    return ModelPage(_names(rows), ("pageToken", found.nextPageToken) if found.nextPageToken else None)


def _names(rows: list[_Row]) -> tuple[str, ...]:
    names = ((row.id or row.name).removeprefix("models/") for row in rows if row.talks)
    return tuple(name for name in names if 0 < len(name) <= LONGEST and name.isprintable() and "*" not in name)
