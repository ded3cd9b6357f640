"""Results of tools as ``functionResponse`` parts.

``response`` is always an object: a list or a number there is an error of Google's parser ("Proto field is not
repeating, cannot start list"; google/adk-js#347, decolua/9router#3318).
"""

import re
from typing import Any, Final

import msgspec

from providers.gemini.media import GeminiPart, media_part
from providers.neutral.arguments import MANY
from providers.neutral.quirks import Quirks
from providers.neutral.request import FilePart, ImagePart, TextPart, ToolResultPart
from streams.structure import holds_more
from streams.surrogates import NOT_JSON

_REFERENCES: Final = re.compile(r'"\$(?:ref|defs)"\s*:')
"""Google's parser takes what a ``$ref`` says for the name of a function (vercel/ai#14369)."""

_LONG_NUMBER: Final = re.compile(r"[:\[,]\s*-?\d{16,}")
"""Numbers go through a double there, which would change the last digits of such an id."""


def result_part(part: ToolResultPart, name: str, id: str | None, quirks: Quirks, native: bool) -> GeminiPart:
    """The result of the function ``name``; ``id`` is that of the call where the provider gave it one. Images and files
    go in where the model takes them there (legacy-use/legacy-use#300)."""
    response: dict[str, Any] = {} if id is None else {"id": id}
    response |= {"name": name, "response": _response(part)}
    if quirks.media_in_results and (media := [media_part(one, native) for one in media_of(part)]):
        response["parts"] = media
    return {"functionResponse": response}


def result_media(part: ToolResultPart, native: bool) -> list[GeminiPart]:
    """A result's images and files for behind all results, where none may be in them, each named."""
    parts: list[GeminiPart] = []
    for one in media_of(part):
        sort = "Image" if isinstance(one, ImagePart) else "File"
        parts += [{"text": f"{sort} from tool {part.call_id}:"}, media_part(one, native)]
    return parts


def media_of(part: ToolResultPart) -> list[ImagePart | FilePart]:
    """The images and files of a result."""
    return [one for one in part.parts if isinstance(one, ImagePart | FilePart)]


def _response(part: ToolResultPart) -> Any:
    text = "\n".join(one.text for one in part.parts if isinstance(one, TextPart))
    if part.is_error:
        return {"error": text}
    value = _value(text)
    return value if isinstance(value, dict) else {"result": value}


def _value(text: str) -> Any:
    """``text`` as what it says where it is JSON that the provider takes as it is; else itself."""
    if _REFERENCES.search(text) or _LONG_NUMBER.search(text):
        return text
    try:
        data = text.encode()
        value = text if holds_more(data, MANY) else msgspec.json.decode(data)
    except NOT_JSON:
        return text
    return text if isinstance(value, str) else value
