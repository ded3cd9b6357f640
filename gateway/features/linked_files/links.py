"""The links to files in the messages of each API, and the contents in their place."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Link(NamedTuple):
    """A link in the member ``name`` of ``part``. ``members`` returns those with the content in its place."""

    url: str
    is_image: bool
    part: dict[str, Any]
    name: str
    members: Callable[[str, str, str], dict[str, Any]]

    @property
    def file_name(self) -> str:
        return self.url.partition("?")[0].rpartition("/")[2][:100]

    def put(self, kind: str, data: str) -> None:
        """Put the content, ``data`` in base64 with the media type ``kind``, in the place of the link, also again."""
        self.part.pop(self.name, None)
        self.part.update(self.members(kind, data, f"data:{kind};base64,{data}"))


def links_in(part: Any) -> Iterator[Link]:
    """Yield the links in messages."""
    match part:
        case list():
            for item in part:
                yield from links_in(item)
        case {"type": "image_url" | "input_image", "image_url": {"url": str(url)} as inner}:
            yield Link(url, True, inner, "url", lambda kind, data, url: {"url": url})
        case {"type": "image_url" | "input_image", "image_url": str(url)}:
            yield Link(url, True, part, "image_url", lambda kind, data, url: {"image_url": url})
        case {"type": "input_file", "file_url": str(url)}:
            yield Link(url, False, part, "file_url", lambda kind, data, url: {"file_data": url})
        case {"type": type, "source": {"type": "url", "url": str(url)}}:
            yield Link(url, type == "image", part, "source", lambda kind, data, url: {
                "source": {"type": "base64", "media_type": kind, "data": data}
            })  # fmt: skip
        case {"type": "image" | "document" as type, "uri": str(url)}:
            yield Link(url, type == "image", part, "uri", lambda kind, data, url: {"mime_type": kind, "data": data})
        case {"fileData": {"fileUri": str(url)}} | {"file_data": {"file_uri": str(url)}}:
            name = "fileData" if "fileData" in part else "file_data"
            yield Link(url, False, part, name, lambda kind, data, url: {"inlineData": {"mimeType": kind, "data": data}})
        case dict():
            for name, member in part.items():
                if name not in ("input", "arguments", "args"):  # of a tool, which are no files of the request
                    yield from links_in(member)
