"""The models that a passed request names, wherever the provider may read one: a client that may use some models only
has each looked at, and sends nothing in which one could be hidden."""

import codecs
import re
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Final
from urllib.parse import parse_qsl, unquote

import msgspec

from gateway.http.offload import offload
from gateway.realtime.objects import text_of
from gateway.relay.relaying import JSON, Relaying
from gateway.relay.uploads import Chained, arriving_upload
from gateway.request.further_models import further_models
from gateway.request.members import check_members
from gateway.request.parse import Incoming
from gateway.upstream.request import UploadedBody
from streams.errors import GatewayError, invalid

_WORDS: Final = frozenset(("models", "model", "deployments", "engines", "tunedmodels"))
_METHOD: Final = re.compile(r":[A-Za-z]+$")
_IN_QUERY: Final = frozenset(("model", "models", "deployment", "model_id"))
_BESIDE: Final = ("model_id", "modelId", "model_name", "deployment")
_BLANK: Final = b" \t\r\n\0" + codecs.BOM_UTF8 + codecs.BOM_UTF16_LE
_LOOKED_AT: Final = 64 * 1024

Found = tuple[tuple[str, str], ...]
"""Models by the places where they stand."""


def models_in_path(rest: str, *, limited: bool) -> Iterator[tuple[str, str]]:
    """The models that a path names, as Google's, Amazon's and Azure's do, however its steps are escaped. Raises
    ``GatewayError`` (400) for one that could be hidden where the client is ``limited``."""
    before = ""
    for step in map(unquote, rest.split("/")):
        if before in _WORDS and step:
            yield "the path", _METHOD.sub("", step)
        elif limited and not _WORDS.isdisjoint(re.split("[/;]", step.casefold())[:-1]):
            raise invalid("the path names a model behind a slash that is escaped: write it as a slash")
        before = step.casefold().partition(";")[0]


def models_in_query(query: str) -> Found:
    """The models that a query names, as Azure's, Deepgram's and realtime sessions' do."""
    return tuple((f"?{name}=", value) for name, value in parse_qsl(query) if name.casefold() in _IN_QUERY)


async def limited_body(relaying: Relaying) -> tuple[Incoming, UploadedBody | None, Found]:
    """The request of a client that may use some models only, with the models that its body names. Raises
    ``GatewayError``."""
    kind = (relaying.header("content-type") or "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        upload = await arriving_upload(relaying)
        models = () if upload.model is None else (("model", upload.model),)
        return relaying.unread(upload.model, False), await upload.as_it_came(), models
    if kind == "application/x-www-form-urlencoded":
        raise invalid("a key that is for some models passes on JSON, multipart/form-data and bytes, and no other forms")
    if kind != JSON and not kind.endswith("+json"):
        pieces = relaying.arrival.pieces(relaying.most)
        seen = await _beginning(pieces)
        if not seen:
            return relaying.unread(None, False), None, ()
        if seen.lstrip(_BLANK)[:1] not in (b"{", b"[", b""):
            return relaying.unread(None, False), UploadedBody(Chained(seen, pieces), relaying.stated_length), ()
        raise GatewayError("invalid_request", f"say that this is {JSON} in the content-type", status=415)
    body = await relaying.body()
    if not body:
        return relaying.unread(None, False), None, ()
    incoming, found = await offload(len(body), partial(_read, relaying), body)
    return relaying.noted(incoming), None, found


def _read(relaying: Relaying, body: bytes) -> tuple[Incoming, Found]:
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise invalid("a key that is for some models passes on JSON objects: this is none") from None
    check_members(body, members)
    try:
        model = msgspec.json.decode(members.get("model", b"null"), type=str | None)
    except msgspec.MsgspecError:
        raise invalid("model must be a string", "model") from None
    beside = tuple((name, text) for name in _BESIDE if (text := text_of(members.get(name))) is not None)
    stream = bytes(members.get("stream", b"")) == b"true"
    incoming = Incoming(relaying.context.codec.api, body, members, model, stream)
    own = () if model is None else (("model", model),)
    return incoming, (*own, *beside, *further_models(incoming))


async def _beginning(pieces: AsyncIterator[bytes]) -> bytes:
    """The body until something other than blanks has come, or there is no more."""
    seen = b""
    async for piece in pieces:
        seen += piece
        if seen.strip(_BLANK) or len(seen) > _LOOKED_AT:
            break
    return seen
