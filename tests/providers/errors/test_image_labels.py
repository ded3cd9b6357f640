"""Rejections of images whose label differs from their bytes, and the labels of the bytes."""

import base64

from providers.errors.other_shapes import OTHER_SHAPES
from providers.errors.rejected import find_rejected, find_sole_rejected
from streams.events import ErrorInfo
from tests.support.each_row import each_row

JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(40)).decode()
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(40)).decode()
PDF = base64.b64encode(b"%PDF-1.7 " + bytes(40)).decode()
WAV = base64.b64encode(b"RIFF" + bytes(40)).decode()
OLDER = "messages.18.content.1.image.source.base64.data: Image does not match the provided media type image/png"
NEWER = (
    "messages.83.content.0.tool_result.content.1.image.source.base64: The image was specified using the image/jpeg "
    "media type, but the image appears to be a image/png image"
)


@each_row(
    "message",
    [
        OLDER,
        NEWER,
        f"The model returned the following errors: {OLDER}",
        "messages.36.content.2.image.source.base64.media_type: Input should be 'image/jpeg', 'image/png', 'image/gif' "
        "or 'image/webp'",
        "The model returned the following errors: The provided image does not match the specified image format.",
        "1 validation error detected: Value at 'messages.1.member.content.2.member.image.format' failed to satisfy "
        "constraint: Member must satisfy enum value set: [gif, jpeg, png, webp]",
        "Unsupported MIME type: image/jpg",
    ],
)
def test_every_vendors_rejection_of_a_label_is_recognized_and_remembered(message):
    error = ErrorInfo("invalid_request", message, status=400)
    assert find_rejected(error) == find_sole_rejected(error) == ((":images", "types"),)


def source(label: str, data: str) -> dict[str, str]:
    return {"type": "base64", "media_type": label, "data": data}


@each_row(
    ("block", "changed"),
    [
        (
            {"type": "image", "source": source("image/png", JPEG)},
            {"type": "image", "source": source("image/jpeg", JPEG)},
        ),
        (
            {"image": {"format": "jpg", "source": {"bytes": JPEG}}},
            {"image": {"format": "jpeg", "source": {"bytes": JPEG}}},
        ),
        (
            {"inlineData": {"mimeType": "image/jpg", "data": JPEG}},
            {"inlineData": {"mimeType": "image/jpeg", "data": JPEG}},
        ),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}", "detail": "low"}},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
        ),
        (
            {"type": "input_image", "image_url": f"data:image/png;base64,{JPEG}"},
            {"type": "input_image", "image_url": f"data:image/jpeg;base64,{JPEG}"},
        ),
        ({"type": "image", "source": source("image/png", PNG)}, None),
        ({"type": "document", "source": source("application/pdf", PDF)}, None),
        ({"inlineData": {"mimeType": "audio/wav", "data": WAV}}, None),
        ({"document": {"format": "pdf", "source": {"bytes": PDF}}}, None),
        ({"type": "image", "source": source("image/png", "?")}, None),
        ({"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}, None),
    ],
)
def test_the_bytes_decide_in_messages_and_results_of_tools(block, changed):
    def body(one: object) -> dict[str, object]:
        result = {"type": "tool_result", "tool_use_id": "a", "content": [one]}
        return {"messages": [{"role": "user", "content": ["hi", one, result]}]}

    assert OTHER_SHAPES[(":images", "types")].change(body(block)) == ({} if changed is None else body(changed))
