"""Short builders for requests to a Gemini provider and its answers."""

import json

from providers.catalog.models import quirks_of
from providers.gemini import GEMINI
from providers.gemini.outgoing import write_count_request, write_request
from providers.gemini.reader import GeminiReader
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.seal import Issuer
from streams.fold import fold
from tests.support.provider_streams import read_stream

GOOGLE = Issuer("gemini", "a1")
VERTEX = Issuer("vertex", "b2")
FLASH = "gemini-3-flash-preview"
OLD_FLASH = "gemini-2.5-flash"


def recipient(model=FLASH, issuer=GOOGLE, **quirks):
    changed = quirks_of(Quirks(), model)
    return Recipient(model, issuer, changed if not quirks else Quirks(**quirks), changed)


def encode_request(request, model=FLASH, issuer=GOOGLE, **quirks):
    """Return the body of ``request`` for a Gemini provider, and the dropped members."""
    outgoing = write_request(request, recipient(model, issuer, **quirks))
    return json.loads(outgoing.body), outgoing.dropped


def encode_count(request, **quirks):
    return json.loads(write_count_request(request, recipient(**quirks)).body)


def candidate(*parts, **members):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **members}]}


def call(name="f", args=None, id=None, signature=None, **members):
    item = {"name": name, **({} if args is None else {"args": args}), **({} if id is None else {"id": id}), **members}
    return {"functionCall": item, **({} if signature is None else {"thoughtSignature": signature})}


def text(value, signature=None, **members):
    return {"text": value, **members, **({} if signature is None else {"thoughtSignature": signature})}


def thought_part(value, signature=None):
    return text(value, signature, thought=True)


def read_chunks(*chunks, content_limit=2**20, close=True):
    """Return the events of a stream of ``chunks``. Bytes are sent unchanged."""
    reader = GeminiReader(content_limit)
    events = []
    for chunk in chunks:
        data = chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode()
        events += reader.read_event("", data)
    return [*events, *reader.close()] if close else events


def read_recorded(body, size):
    """Return the events of the recorded stream ``body``, cut into pieces of ``size`` bytes."""
    return read_stream(GEMINI, body, size)


def fold_answer(*parts, reason="STOP", **members):
    """Return the whole answer of a stream with one chunk."""
    return fold(read_chunks(candidate(*parts, finishReason=reason) | members))
