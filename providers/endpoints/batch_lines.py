"""Replacement of the models in a batch file, line by line, while it is forwarded; all other bytes stay unchanged.

This applies to OpenAI's JSONL files; Anthropic's list is read whole. A line is ``{custom_id, method, url, body}``.
Errors are reported with the line number before a provider has the file, because there a batch fails hours later
(BerriAI/litellm#37527).
"""

import codecs
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from streams.errors import GatewayError, invalid
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON

MAX_LINE: Final = 16 * 2**20
"""The most bytes of a line, which is buffered until it is complete."""

MAX_LINES: Final = 100_000

RewriteRequest: TypeAlias = Callable[[str, str, bytes], bytes]
"""A function that returns the body of a line's request for the provider, given its model, ``url`` and ``body``.

Raises ``GatewayError`` if the client may not use the model there.
"""

CheckMembers: TypeAlias = Callable[[bytes, Mapping[str, msgspec.Raw]], None]
"""A function that raises ``GatewayError`` if an object has a duplicate member."""

_CHECKED_MEMBERS: Final = frozenset(("custom_id", "method", "url", "body"))

_MARKS: Final = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT: Final = msgspec.json.Decoder(str)


class BatchLines:
    """The lines of one file. ``urls`` are the URLs in it, ``count`` the number of lines.

    With ``may_lack_model`` a line needs no model and no URL, because the batch has them, as at Mistral
    (https://docs.mistral.ai/capabilities/batch). Then ``lacks_model`` is true, and the line stays unchanged."""

    def __init__(self, rewrite: RewriteRequest, check: CheckMembers, *, may_lack_model: bool = False) -> None:
        self.urls: set[str] = set()
        self.lacks_model = False
        self._may_lack_model = may_lack_model
        self.count = 0
        self._rewrite = rewrite
        self._check = check
        self._ids: set[bytes] = set()  # digests, because ids may be long
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        """Return the lines that ``data`` completes, edited. Raises ``GatewayError`` (400, 403, 404) with the line
        number."""
        *whole, rest = data.split(b"\n")
        out = []
        for piece in whole:
            if not piece and not self._held:  # a file may consist of empty lines only
                out.append(b"\n")
                continue
            self._store_unfinished(piece)
            out.append(self._edit_line(b"".join(self._held)) + b"\n")
            self._held, self._size = [], 0
        self._store_unfinished(rest)
        return b"".join(out)

    def size_of_work(self, data: bytes) -> int:
        """Return the number of bytes that ``feed(data)`` would decode."""
        return self._size + len(data) if b"\n" in data else 0

    @property
    def held_size(self) -> int:
        """The bytes of the unfinished line."""
        return self._size

    def close(self) -> bytes:
        """Return the last line if it has no line end. Raises as ``feed`` does, and for a file without lines."""
        rest = self._edit_line(b"".join(self._held))
        if not self.count:
            raise invalid("a batch file needs at least one line, with a request as JSON", "file")
        return rest

    def _store_unfinished(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_LINE:
            raise self._line_error(f"is longer than {MAX_LINE} bytes")
        if piece:
            self._held.append(piece)

    def _edit_line(self, line: bytes) -> bytes:
        if not line.strip():
            return line
        self.count += 1
        if self.count > MAX_LINES:
            raise invalid(f"the file has more than {MAX_LINES} lines: split it into several batches", "file")
        if line.startswith(_MARKS):
            raise self._line_error("begins with a byte order mark: save the file as UTF-8 without one")
        if has_more_elements(line, MAX_ELEMENTS):
            raise self._line_error("has too many JSON values")
        members = self._parse_object(line, "is not a JSON object")
        self._check_once(line, members)
        self._check_id(members)
        body = bytes(members.get("body", b""))
        fields = self._parse_object(body, "has no `body`, a JSON object")
        if self._may_lack_model and ("model" not in fields or "url" not in members):
            self.lacks_model = True
            return line
        model = self._parse_text(fields.get("model"), "has no model in `body`")
        url = self._parse_text(members.get("url"), "has no `url`")
        self.urls.add(url)
        if len(self.urls) > 1:
            raise self._line_error(f"has another `url` than the earlier lines, {url[:100]}: a batch can have only one")
        try:
            rewritten = self._rewrite(model, url, body)
        except GatewayError as error:
            info = error.info
            raise GatewayError(
                info.kind, f"line {self.count} of the file: {info.message}", status=info.status,
                code=info.code, param="file", headers=info.headers,
            ) from None  # fmt: skip
        return line if rewritten == body else with_member(line, members, "body", rewritten)

    def _check_once(self, line: bytes, members: dict[str, msgspec.Raw]) -> None:
        """Reject members that appear twice or differ only in case, because readers would interpret them differently."""
        if any(name not in _CHECKED_MEMBERS and name[:20].casefold() in _CHECKED_MEMBERS for name in members):
            raise self._line_error("has a member that differs from custom_id, method, url or body only in case")
        try:
            self._check(line, members)
        except GatewayError as error:
            raise self._line_error(f"cannot be read: {error.info.message}") from None

    def _check_id(self, members: dict[str, msgspec.Raw]) -> None:
        id = self._parse_text(members.get("custom_id"), "has no `custom_id`")
        digest = hashlib.blake2b(id.encode(errors="surrogatepass"), digest_size=16).digest()
        if digest in self._ids:
            raise self._line_error(f"repeats the `custom_id` {id[:100]} of an earlier line")
        self._ids.add(digest)

    def _parse_object(self, text: bytes, fault: str) -> dict[str, msgspec.Raw]:
        try:
            return _MEMBERS.decode(text)
        except NOT_JSON:
            raise self._line_error(fault) from None

    def _parse_text(self, raw: Any, fault: str) -> str:
        try:
            text = _TEXT.decode(raw if raw is not None else b"null")
        except NOT_JSON:
            raise self._line_error(fault) from None
        if not text:
            raise self._line_error(fault)
        return text

    def _line_error(self, what: str) -> GatewayError:
        return invalid(f"line {max(1, self.count)} of the file {what}", "file")


def with_model(body: bytes, fields: Mapping[str, msgspec.Raw], name: str) -> bytes:
    """Return the JSON object ``body``, whose members are ``fields``, with ``name`` as its model.

    Nothing else changes, except for white space if member names are extremely long.
    """
    return with_member(body, fields, "model", msgspec.json.encode(name))


def with_member(text: bytes, members: Mapping[str, msgspec.Raw], changed: str, value: bytes) -> bytes:
    """Return the JSON object ``text``, whose members are ``members``, with another ``value`` of the member ``changed``.

    Nothing else changes, except for white space if member names are extremely long.
    """
    at = text.index(b"{") + 1
    while (found := _NAME.match(text, at)) is not None:
        member = msgspec.json.decode(found[1], type=str)
        size = len(members.get(member, b""))
        if member == changed:
            if text.startswith(bytes(members[member]), found.end()):
                return text[: found.end()] + value + text[found.end() + size :]
            break
        at = found.end() + size  # values are skipped unread: one of megabytes would take seconds
    return msgspec.json.encode({**members, changed: msgspec.Raw(value)})


_NAME: Final = re.compile(rb'[ \t\r\n,]*+("(?:[^"\\]|\\.){0,256}+")[ \t\r\n]*+:[ \t\r\n]*+', re.DOTALL)
