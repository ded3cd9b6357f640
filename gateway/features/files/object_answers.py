"""The filter of responses with stored objects."""

from collections.abc import Callable, Mapping

from gateway.http.headers import Headers
from gateway.relay.answers import HeldAnswer, bad_answer_error
from providers.errors.answer_form import JSON
from streams.structure import MAX_ELEMENTS, TOO_MANY_ELEMENTS, has_more_elements


class ObjectAnswer(HeldAnswer):
    """A filter of a stored object or list, whose ``body`` is the client's form once it is complete.

    ``rewrite`` converts the provider's body. ``extra_headers`` returns additional headers for the client, given the
    provider's. Google's servers confirm the parts of an upload without a body."""

    def __init__(
        self,
        limit: int,
        rewrite: Callable[[bytes], bytes],
        extra_headers: Callable[[Mapping[str, str]], Headers] = lambda _: (),
    ) -> None:
        super().__init__(lambda data: (rewrite(data), None), limit)
        self.body = b""
        self._may_be_empty = False
        self._extra_headers = extra_headers

    def head(self, status: int, headers: Headers) -> Headers:
        self._may_be_empty = status == 204 or any(name.startswith("x-goog-upload-") for name, _ in headers)
        kind = tuple(pair for pair in headers if pair[0] == "content-type")
        return (*kind, ("cache-control", "no-store"), *self._extra_headers(dict(headers)))

    def close(self) -> bytes:
        body = b"".join(self._parts)
        if has_more_elements(body, MAX_ELEMENTS):
            raise bad_answer_error(f"the provider sent a response {TOO_MANY_ELEMENTS}")
        if body or not self._may_be_empty:
            JSON.check_whole(body)
        self.body = super().close()
        return self.body
