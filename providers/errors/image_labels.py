"""Rejections of images whose label differs from their bytes, such as a JPEG that is labelled ``image/png``.

Claude Code labels pictures by their file's name, and sends a rejected one again with each later turn: the conversation
is lost (anthropics/claude-code#31642, anthropics/claude-code#11975). Other programs write ``image/jpg``
(BoundaryML/baml#1292, NousResearch/hermes-agent#55429).
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.errors.words import Words, change_items
from providers.neutral.media import image_beginning, is_data_url, standard_base64

_PLACE: Final = r"(?:[\w.\[\]]{1,300}: )?"
WORDS: Final = Words.of(
    # Anthropic, also at Amazon and Google
    rf"{_PLACE}Image does not match the provided media type [\w/+.\-]{{1,60}}"
    rf"|{_PLACE}The image was specified using the [\w/+.\-]{{1,60}} media type, but the image appears to be an? "
    r"[\w/+.\-]{1,60} image"
    r"|[\w.\[\]]{1,300}\.media_type: Input should be 'image/\w{1,9}'(?:(?:, | or )'image/\w{1,9}'){1,9}"
    # Amazon
    r"|The provided image does not match the specified image format"
    r"|(?:1 validation error detected: )?Value (?:'[\w+.\-]{0,60}' )?at '[\w.]{1,300}\.image\.format' failed to "
    r"satisfy constraint: Member must satisfy enum value set: \[[\w, ]{1,100}\]"
    # Google
    r"|Unsupported MIME type: (?:image/)?(?:jpe?g|png|gif|webp)",
    r"(?:The model returned the following errors: )?",
)

LISTS: Final = ("messages", "input", "contents")
_LABELS: Final = (("media_type", "data"), ("mimeType", "data"), ("mime_type", "data"))
"""The members with the label of a file and its bytes."""
_URLS: Final = ("url", "image_url")
_BASE64: Final = ";base64,"
_OTHERS: Final = ("audio/", "video/")
_SHOWN: Final = 24  # characters of base64 that show the type of an image


def relabel(body: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the changed messages of a ``body`` in any API, whose images have the labels of their bytes; ``{}`` if
    nothing changes."""
    return {name: value for one in LISTS for name, value in change_items(body, one, _with_labels).items()}


def _with_labels(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_labels(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {key: _with_url_label(inner) if key in _URLS else _with_labels(inner) for key, inner in value.items()}
    for label, data in _LABELS:
        if label in found and (kind := _actual_type(found[label], found.get(data))) is not None:
            found[label] = kind
    source = found.get("source")
    if "format" in found and isinstance(source, dict):  # Converse
        kind = _actual_type(found["format"], source.get("bytes"))
        found["format"] = found["format"] if kind is None else kind.removeprefix("image/")
    return found


def _with_url_label(url: Any) -> Any:
    """Return a ``data:`` URL with the label of its bytes, and other values unchanged."""
    if not isinstance(url, str) or not is_data_url(url):
        return _with_labels(url)
    head, mark, data = url.partition(_BASE64)
    kind = _actual_type(head[len("data:") :], data) if mark else None
    return url if kind is None else f"data:{kind}{_BASE64}{data}"


def _actual_type(label: Any, data: Any) -> str | None:
    """Return the media type of an image by its bytes, ``None`` for other data."""
    if not isinstance(label, str) or label.startswith(_OTHERS) or not isinstance(data, str):
        return None
    return image_beginning(standard_base64(data[:_SHOWN]))
