"""Images that a model made as a part of its answer, in the items of each API that has them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from providers.neutral.values import as_object, as_objects, as_string
from streams.events import Api

_FORMATS: Final[Mapping[str, str]] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""The media types by the ``output_format`` of Responses; ``png`` is its default."""


@attrs.frozen
class MadeImage:
    """An image with its media type, and its content in base64."""

    media_type: str
    data: str

    @property
    def url(self) -> str:
        """The image as a ``data:`` URL."""
        return f"data:{self.media_type};base64,{self.data}"


def made_images(api: Api, item: Any) -> list[MadeImage]:
    """Return the images in a native item of ``api``, without those that have only an address."""
    return [one for one in _read(api, as_object(item)) if one.data and one.media_type.startswith("image/")]


def _read(api: Api, item: Mapping[str, Any]) -> Iterator[MadeImage]:
    match api:
        case "gemini":
            inline = as_object(item.get("inlineData"))
            yield MadeImage(as_string(inline.get("mimeType")), as_string(inline.get("data")))
        case "interactions":
            contents = as_objects(item.get("content")) if item.get("type") == "model_output" else []
            for content in contents:
                if content.get("type") == "image":
                    yield MadeImage(as_string(content.get("mime_type")), as_string(content.get("data")))
        case "responses" if item.get("type") == "image_generation_call":
            format = as_string(item.get("output_format")) or "png"
            yield MadeImage(_FORMATS.get(format, ""), as_string(item.get("result")))
