"""Images that models of each API make, written for clients and read again."""

from typing import Any

from providers.apis import CODECS
from providers.neutral.made_images import MadeImage, made_images
from streams.events import AnswerEnd, AnswerStart, BlockEnd, Event, NativeItem, TextDelta, Usage
from streams.fold import fold
from tests.support.lanes import reply_for

PNG = "iVBORw0KGgo="
URL = f"data:image/png;base64,{PNG}"
ITEMS: dict[str, Any] = {
    "chat": {"index": 0, "type": "image_url", "image_url": {"url": URL}},
    "gemini": {"inlineData": {"mimeType": "image/png", "data": PNG}, "thoughtSignature": "c2ln"},
    "converse": {"image": {"format": "png", "source": {"bytes": PNG}}},
    "interactions": {"type": "model_output", "content": [{"type": "image", "mime_type": "image/png", "data": PNG}]},
    "responses": {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": PNG},
}
"""An image as a native item of each API."""


def item_with(api: str, image: MadeImage, number: int) -> Any:
    """Return ``image`` as the native item ``number`` of an answer of ``api``."""
    format = image.media_type.removeprefix("image/")
    item = replace_strings(ITEMS[api], {PNG: image.data, URL: image.url, "png": format, "image/png": image.media_type})
    return item | ({"id": f"ig_{number}", "output_format": format} if api == "responses" else {})


def replace_strings(value: Any, words: dict[str, str]) -> Any:
    """Return ``value`` with other strings."""
    if isinstance(value, dict):
        return {name: replace_strings(inner, words) for name, inner in value.items()}
    if isinstance(value, list):
        return [replace_strings(inner, words) for inner in value]
    return words.get(value, value) if isinstance(value, str) else value


def answer_of(provider: str, *items: Any) -> list[Event]:
    images = [NativeItem(1 + i, provider, "image", item) for i, item in enumerate(items or [ITEMS[provider]])]
    begin = [AnswerStart("a", "m"), TextDelta(0, "Look:"), BlockEnd(0)]
    return [*begin, *images, Usage(input=3, output=4), AnswerEnd("stop")]


def stream_for(client: str, events: list[Event]) -> bytes:
    writer = CODECS[client].writer(reply_for(client))
    return b"".join(map(writer.send, events))


def whole_for(client: str, events: list[Event]) -> bytes:
    return CODECS[client].write_answer(fold(events), reply_for(client))


def read_events(client: str, body: bytes) -> list[Event]:
    """Return the events that a reader of the client's API finds in a body, streamed or whole."""
    codec = CODECS[client]
    if body.startswith(b"{"):
        return list(codec.read_answer(body))
    reader = codec.reader()
    events = [event for name, data in codec.wire.framing.parse_all(body) for event in reader.read_event(name, data)]
    return [*events, *reader.close()]


def images_in(client: str, body: bytes) -> list[MadeImage]:
    natives = [event for event in read_events(client, body) if isinstance(event, NativeItem)]
    return [image for event in natives for image in made_images(event.api, event.item)]
