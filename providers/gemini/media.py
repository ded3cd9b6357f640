"""Writers of images, documents, audio and tool results as parts of a Gemini request.

The ``response`` of a result must be an object, or Google's parser fails ("Proto field is not repeating, cannot start
list"; google/adk-js#347, decolua/9router#3318).
"""

import re
from typing import Any, Final, TypeAlias

import msgspec

from providers.neutral.arguments import MANY
from providers.neutral.media import actual_type, is_data_url, type_of_format, type_of_url, url_source
from providers.neutral.quirks import Quirks
from providers.neutral.request import AudioPart, FilePart, ImagePart, MediaSource, TextPart, ToolResultPart
from streams.errors import invalid
from streams.structure import has_more_elements
from streams.surrogates import NOT_JSON

GeminiPart: TypeAlias = dict[str, Any]

# URLs that Google fetches itself: its storage, uploaded files, and videos.
_GOOGLE_URLS: Final = re.compile(
    r"gs://|https://generativelanguage\.googleapis\.com/[^ ]*files/|https://(?:www\.|m\.)?youtube\.com/|https://youtu\.be/"
)

_FILES: Final = "https://generativelanguage.googleapis.com/"


def link_source(uri: str, media_type: str | None, at: str) -> MediaSource:
    """Return the source for a client's link: a URL if it is public, a file id if only Google can read it."""
    if is_data_url(uri) or (uri.startswith(("https://", "http://")) and not uri.startswith(_FILES)):
        return url_source(uri, at, media_type)
    return MediaSource("file_id", uri, media_type)


def media_part(part: ImagePart | FilePart | AudioPart, native: bool) -> GeminiPart:
    """Return the part; ``native`` means that the client speaks this API and its file references work.

    Raises a 400 if this API's providers cannot receive it.
    """
    if isinstance(part, AudioPart):
        return _inline_part(type_of_format(part.format), part.data)
    name = part.filename if native and isinstance(part, FilePart) else None
    source = part.source
    image = isinstance(part, ImagePart)
    match source.kind:
        case "base64":
            return _inline_part(actual_type(source, image), source.value, name)
        case "text":
            return {"text": source.value}
        case "url":
            if native or _GOOGLE_URLS.match(source.value):
                return _file_part(source, name)
            message = f"{part.at} is a link, which this model's provider does not fetch: send the content instead"
            raise invalid(message, part.at)
        case "file_id":
            if native:
                return _file_part(source, name)
            message = f"{part.at} is a file id of another provider: send the file's content instead"
            raise invalid(message, part.at)


def _inline_part(media_type: str, data: str, name: str | None = None) -> GeminiPart:
    return {"inlineData": {"mimeType": media_type, "data": data} | _display_name(name)}


def _file_part(source: MediaSource, name: str | None) -> GeminiPart:
    guess = source.media_type or type_of_url(source.value)
    return {"fileData": ({"mimeType": guess} if guess else {}) | {"fileUri": source.value} | _display_name(name)}


def _display_name(name: str | None) -> GeminiPart:
    return {"displayName": name} if name else {}


_REFERENCES: Final = re.compile(r'"\$(?:ref|defs)"\s*:')
"""Matches a ``$ref``, which Google's parser reads as a function name (vercel/ai#14369)."""

_LONG_NUMBER: Final = re.compile(r"(?:^|[:\[,])\s*(-?(?=[\d.]{16})\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
"""Matches numbers with many digits. Google converts numbers to doubles, which may change the last digits."""


def result_part(part: ToolResultPart, name: str, id: str | None, quirks: Quirks, native: bool) -> GeminiPart:
    """Return the result of the function ``name``; ``id`` is the call's id if the provider assigned it.

    Images and files are included if the model accepts them there (legacy-use/legacy-use#300). A file of plain text
    belongs to the text, because the parts of a result have no text.
    """
    texts: list[str] = []
    media: list[GeminiPart] = []
    for one in part.parts:
        if isinstance(one, TextPart):
            texts.append(one.text)
        elif quirks.media_in_results and isinstance(one, ImagePart | FilePart):
            found = media_part(one, native)
            if "text" in found:
                texts.append(found["text"])
            else:
                media.append(found)
    response: dict[str, Any] = {} if id is None else {"id": id}
    response |= {"name": name, "response": _response_object("\n".join(texts), part.is_error)}
    if media:
        response["parts"] = media
    return {"functionResponse": response}


def result_media(part: ToolResultPart, native: bool) -> list[GeminiPart]:
    """Return a result's images and files, each with a label, to follow all results."""
    parts: list[GeminiPart] = []
    for one in media_of(part):
        sort = "Image" if isinstance(one, ImagePart) else "File"
        parts += [{"text": f"{sort} from tool {part.call_id}:"}, media_part(one, native)]
    return parts


def media_of(part: ToolResultPart) -> list[ImagePart | FilePart]:
    return [one for one in part.parts if isinstance(one, ImagePart | FilePart)]


def _response_object(text: str, is_error: bool) -> Any:
    if is_error:
        return {"error": text}
    value = _decode_value(text)
    return value if isinstance(value, dict) else {"result": value}


def _decode_value(text: str) -> Any:
    """Return ``text`` decoded if it is JSON that the provider parses correctly, else ``text`` itself."""
    try:
        data = text.encode()
        if has_more_elements(data, MANY) or _REFERENCES.search(text) or not _has_only_doubles(text):
            return text
        value = msgspec.json.decode(data)
    except NOT_JSON:
        return text
    # Text that is one number may be none, such as the version 3.10.
    is_changed = type(value) in (int, float) and str(value) != text.strip()
    return text if is_changed or isinstance(value, str) else value


def _has_only_doubles(text: str) -> bool:
    """Return whether the long numbers of ``text`` are fractions with the digits of doubles."""
    return all(_is_double(found[1]) for found in _LONG_NUMBER.finditer(text))


def _is_double(number: str) -> bool:
    """Return whether ``number`` is a fraction or has an exponent, and all its digits as a double."""
    double = repr(float(number))
    return double == number or (not number.lstrip("-").isdigit() and _digits(double) == _digits(number))


def _digits(number: str) -> str:
    """Return the significant digits, the same for 0.000012 and 1.20e-05."""
    return re.sub(r"[eE].*|[-.]", "", number).strip("0")
