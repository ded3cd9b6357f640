"""Media of a user in the words of each API: written, read back, or refused with their path."""

import json
from typing import Any

import attrs
import pytest

from providers.apis import CODECS
from providers.neutral.codec import Recipient
from providers.neutral.request import AudioPart, FilePart, ImagePart, MediaSource, Message, Request, TextPart
from providers.neutral.seal import Issuer
from streams.errors import GatewayError
from tests.support.cases import case
from tests.support.each_row import each_row

AT = "messages[0].content[0]"
JPEG, PDF = "/9j/4A==", "JVBE"
IMAGE, DOCUMENT = "https://a.test/b.png", "https://a.test/b.pdf"
TEXT = {"type": "text", "text": "plain"}


def inline(media_type: str, data: str) -> dict[str, Any]:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def source(**members: str) -> dict[str, Any]:
    return {"source": members}


MEDIA: list[tuple[Any, dict[str, Any]]] = [
    (ImagePart(MediaSource("base64", JPEG, "image/jpeg")), {
        "chat": {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{JPEG}"}},
        "messages": {"type": "image"} | source(type="base64", media_type="image/jpeg", data=JPEG),
        "responses": {"type": "input_image", "detail": "auto", "image_url": f"data:image/jpeg;base64,{JPEG}"},
        "gemini": inline("image/jpeg", JPEG),
        "converse": {"image": {"format": "jpeg"} | source(bytes=JPEG)},
        "interactions": {"type": "image", "data": JPEG, "mime_type": "image/jpeg"},
    }),
    (ImagePart(MediaSource("url", IMAGE), "high"), {
        "chat": {"type": "image_url", "image_url": {"url": IMAGE, "detail": "high"}},
        "messages": {"type": "image"} | source(type="url", url=IMAGE),
        "responses": {"type": "input_image", "detail": "high", "image_url": IMAGE},
        "interactions": {"type": "image", "uri": IMAGE, "mime_type": "image/png"},
    }),
    (FilePart(MediaSource("base64", PDF)), {
        "chat": {"type": "file", "file": {
            "filename": "document.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        "messages": {"type": "document"} | source(type="base64", media_type="application/pdf", data=PDF),
        "responses": {"type": "input_file", "filename": "document.pdf",
                      "file_data": f"data:application/pdf;base64,{PDF}"},
        "gemini": inline("application/pdf", PDF),
        "converse": {"document": {"format": "pdf", "name": "Document 1"} | source(bytes=PDF)},
        "interactions": {"type": "document", "data": PDF, "mime_type": "application/pdf"},
    }),
    (FilePart(MediaSource("base64", PDF, "application/pdf"), "a.pdf"), {
        "chat": {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"}},
        "messages": {"type": "document", "title": "a.pdf"}
                    | source(type="base64", media_type="application/pdf", data=PDF),
        "responses": {"type": "input_file", "filename": "a.pdf", "file_data": f"data:application/pdf;base64,{PDF}"},
        "gemini": {"text": "File a.pdf:"},
        "converse": {"document": {"format": "pdf", "name": "a"} | source(bytes=PDF)},
        "interactions": {"type": "text", "text": "File a.pdf:"},
    }),
    (FilePart(MediaSource("text", "plain", "text/plain")), {
        "chat": TEXT,
        "messages": {"type": "document"} | source(type="text", media_type="text/plain", data="plain"),
        "responses": {"type": "input_text", "text": "plain"},
        "gemini": {"text": "plain"},
        "converse": {"document": {"format": "txt", "name": "Document 1"} | source(bytes="cGxhaW4=")},
        "interactions": TEXT,
    }),
    (FilePart(MediaSource("url", DOCUMENT)), {
        "messages": {"type": "document"} | source(type="url", url=DOCUMENT),
        "responses": {"type": "input_file", "file_url": DOCUMENT},
        "interactions": {"type": "document", "uri": DOCUMENT, "mime_type": "application/pdf"},
    }),
    (AudioPart("AAAA", "mp3"), {
        "chat": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        "gemini": inline("audio/mpeg", "AAAA"),
        "converse": {"audio": {"format": "mp3"} | source(bytes="AAAA")},
        "interactions": {"type": "audio", "data": "AAAA", "mime_type": "audio/mpeg"},
    }),
    (ImagePart(MediaSource("file_id", "f1")), {}),
    (FilePart(MediaSource("file_id", "f1")), {}),
]  # fmt: skip
"""A part, and its words in each API that has a place for it."""


def essence(part: Any) -> tuple[Any, ...]:
    if isinstance(part, TextPart):
        return ("text", part.text)
    return (part.data, part.format) if isinstance(part, AudioPart) else (part.source.kind, part.source.value)


@each_row("api", CODECS)
def test_media_are_written_and_read_back_or_refused(api):
    """None is skipped, and ids of files never cross providers (theopenco/llmgateway#4149, miruamel/xuan#191,
    ferro-labs/ai-gateway#143)."""
    for part, written in MEDIA:
        request = Request("neutral", "m", (Message("user", (attrs.evolve(part, at=AT),)),))  # type: ignore[arg-type]
        with case(part):
            if api not in written:
                with pytest.raises(GatewayError) as raised:
                    CODECS[api].write_request(request, Recipient("m", Issuer("p", "")))
                assert (raised.value.info.status, raised.value.info.param) == (400, AT)
                continue
            body = json.loads(CODECS[api].write_request(request, Recipient("m", Issuer("p", ""))).body)
            (turn,) = next(body[name] for name in ("messages", "contents", "input") if name in body)
            content = turn.get("content") or turn["parts"]
            assert written[api] in ([{"type": "text", "text": content}] if isinstance(content, str) else content)
            again = CODECS[api].read_request({"model": "m", **body}).messages[0].parts
            assert essence(part) in map(essence, again)
            names = {one.filename for one in again if isinstance(one, FilePart)}
            assert not isinstance(part, FilePart) or part.filename in {None, *names} or "File a.pdf:" in str(content)
