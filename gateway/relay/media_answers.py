"""Answers of pictures and sound, which pass as they come."""

from gateway.http.headers import Headers
from gateway.relay.answers import AnswerReading, PassedAnswer
from providers.endpoints.images import ImageReader

_SAYS_NOTHING = ("", "application/octet-stream", "binary/octet-stream")


class ImageAnswer(PassedAnswer):
    """An answer with pictures, whose usage stands at one end of it however long it is."""

    def __init__(self, reader: ImageReader, event_limit: int) -> None:
        super().__init__(reader, event_limit)
        self._reader = reader

    def take(self, piece: bytes) -> bytes:
        if not self.ping:
            self._reader.bytes(piece)
        return super().take(piece)


class TypedAnswer(PassedAnswer):
    """An answer whose content type is ``otherwise`` where its provider says none, or one that says nothing
    (BerriAI/litellm#4332, langgenius/dify#39582)."""

    def __init__(self, reading: AnswerReading, event_limit: int, otherwise: str) -> None:
        super().__init__(reading, event_limit)
        self._otherwise = otherwise

    def head(self, status: int, headers: Headers) -> Headers:
        kind = next((value for name, value in headers if name == "content-type"), "")
        if kind.partition(";")[0].strip().lower() in _SAYS_NOTHING:
            headers = (*(pair for pair in headers if pair[0] != "content-type"), ("content-type", self._otherwise))
        return super().head(status, headers)
