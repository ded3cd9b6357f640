"""Images that a model made as a part of its answer, in the items of each API that has them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from providers.neutral.fields import Drops, join_path
from providers.neutral.media import image_beginning, is_data_url, standard_base64
from providers.neutral.request import ImagePart, MediaSource, NativePart, Part
from providers.neutral.seal import Seal
from providers.neutral.values import as_object, as_objects, as_string
from streams.events import Api, ReasoningState

SIGNED: Final = "inlineData"
"""The kind of a signed part of Gemini that has an image."""

_FORMATS: Final[Mapping[str, str]] = {
    "png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif", "svg": "image/svg+xml",
}  # fmt: skip
"""The media types by the ``output_format`` of Responses; ``png`` is its default."""

_LONGEST_HEAD: Final = 200
"""The most characters of a ``data:`` URL before its content."""

_SAMPLE: Final = 24
"""The characters of a content that identify it, in addition to its length."""


@attrs.frozen
class MadeImage:
    """An image with its media type, and its content in base64."""

    media_type: str
    data: str

    @property
    def url(self) -> str:
        """The image as a ``data:`` URL."""
        return f"data:{self.media_type};base64,{self.data}"

    @property
    def format(self) -> str:
        """The format by the first bytes, or by the media type: ``png``, ``jpeg``, ``gif``, ``webp`` or another one."""
        return (image_beginning(self.data) or self.media_type).removeprefix("image/")


def made_images(api: Api, item: Any, *, drafts: bool = False) -> list[MadeImage]:
    """Return the images in a native item of ``api``, without those that have only an address.

    ``drafts`` are images in the thoughts of Gemini 3, which are no part of its answer."""
    members = as_object(item)
    if api == "gemini" and members.get("thought") is True and not drafts:
        return []
    return [one for one in _read(api, members) if one.data and one.media_type.startswith("image/")]


def image_address(item: Any) -> str:
    """Return the URL in an image of a Chat answer, a link or a ``data:`` URL; "" without one."""
    return as_string(as_object(as_object(item).get("image_url")).get("url"))


def image_mark(data: str) -> str:
    """Return a mark of an image in base64, which differs between the images of a conversation.

    An image may have tens of megabytes, so only characters from its middle are read: all PNG images end alike.
    """
    middle = len(data) // 2
    return f"{len(data)}:{data[middle : middle + _SAMPLE]}"


def signs_image(state: ReasoningState | Seal) -> bool:
    """Return whether ``state`` is the signature of an image, which is useless without the image."""
    return state.api == "gemini" and as_object(state.item).get("part") == SIGNED


def turn_images(part: Part, drops: Drops) -> list[ImagePart]:
    """Return the images that ``part`` of a model's turn has, at its path. Its unknown members are reported as lost."""
    if isinstance(part, ImagePart):
        return [part]
    if not isinstance(part, NativePart):
        return []
    images = made_images(part.api, part.item)
    if images:
        drops.add(*(join_path(part.at, name) for name in part.item if name not in _MEMBERS[part.api]))
    return [ImagePart(MediaSource("base64", one.data, one.media_type), at=part.at) for one in images]


_MEMBERS: Final[Mapping[Api, frozenset[str]]] = {
    "chat": frozenset(("type", "index", "image_url")),
    "gemini": frozenset((
        "inlineData", "inline_data", "thought", "thoughtSignature", "thought_signature", "partMetadata",
        "part_metadata", "mediaResolution", "media_resolution",
    )),
    "interactions": frozenset(("type", "data", "mime_type", "resolution", "content")),
    "responses": frozenset((
        "type", "id", "status", "result", "action", "background", "error", "output_format", "quality",
        "revised_prompt", "size", "svg_usage", "created_by",
    )),
    "converse": frozenset(("image",)),
}  # fmt: skip
"""The members of items with images. All but the image itself only describe it."""


def _read(api: Api, item: Mapping[str, Any]) -> Iterator[MadeImage]:
    match api:
        case "chat":
            yield _read_url(image_address(item))
        case "gemini":
            inline = as_object(item.get("inlineData", item.get("inline_data")))
            media_type = as_string(inline.get("mimeType", inline.get("mime_type")))
            yield MadeImage(media_type, standard_base64(as_string(inline.get("data"))))
        case "interactions":
            contents = as_objects(item.get("content")) if item.get("type") == "model_output" else [item]
            for content in contents:
                if content.get("type") == "image":
                    yield MadeImage(as_string(content.get("mime_type")), as_string(content.get("data")))
        case "responses" if item.get("type") == "image_generation_call":
            format = as_string(item.get("output_format")) or "png"
            yield MadeImage(_FORMATS.get(format, ""), as_string(item.get("result")))
        case "converse":
            image = as_object(item.get("image"))
            data = as_string(as_object(image.get("source")).get("bytes"))
            yield MadeImage(f"image/{as_string(image.get('format')) or 'png'}", data)


def _read_url(url: str) -> MadeImage:
    """Return the image in a ``data:`` URL, or an empty one."""
    comma = url.find(",", 0, _LONGEST_HEAD) if is_data_url(url) else -1
    head = url[:comma].lower()
    if comma == -1 or not head.endswith(";base64"):
        return MadeImage("", "")
    return MadeImage(head[len("data:") :].partition(";")[0], url[comma + 1 :])
