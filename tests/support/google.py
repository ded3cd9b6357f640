"""A provider of the Gemini API over a real socket."""

import json
from typing import Any

from tests.support.bare_provider import response
from tests.support.in_process import CountingProvider


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


class Google(CountingProvider):
    """A server that answers with ``says``: unchanged if it is bytes, or else as a stream."""

    says: Any = ()

    def _answer(self, path: str, body: bytes) -> bytes:
        if path.endswith(":countTokens"):
            kind, data = "application/json", b'{"totalTokens": 31}'
        elif isinstance(self.says, bytes):
            kind, data = "text/event-stream", self.says
        elif "streamGenerateContent" in path:
            kind, data = "text/event-stream", sse(*self.says)
        else:
            kind, data = "application/json", json.dumps(self.says[-1]).encode()
        return response(200, data, kind)
