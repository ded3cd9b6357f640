"""Writers of answers for a Gemini client: streams (``GeminiWriter``) and whole answers (``write_answer``).

A stream consists of pieces of one answer, each a ``GenerateContentResponse``; the last has the finish reason and token
counts. It ends without ``[DONE]``. Clients send a ``thoughtSignature`` back on the next turn: Gemini's own, or a seal
with another provider's reasoning, which is base64 of bytes because SDKs decode it. Source: ``GenerateContentResponse``
in the API's reference; google-genai's ``models``.

Google's examples insert links into ``response.text`` at ``groundingSupports[].segment.endIndex``, so positions count
the bytes of the whole text. Source: https://ai.google.dev/gemini-api/docs/google-search
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, assert_never

import attrs
import msgspec

from providers.gemini.errors import ENDS_OF_GEMINI, error_event
from providers.gemini.framing import event
from providers.neutral.arguments import call_input
from providers.neutral.codec import ANSWERING, ENDED, AnswerStage, Reply, complete_usage, new_id
from providers.neutral.ends import WRITTEN
from providers.neutral.made_images import made_images, signs_image
from providers.neutral.seal import MAX_SEALED, Issuer, seal_in_base64, sealed_item
from providers.neutral.searches import GROUNDING, read_item
from providers.neutral.texts import CitedText, is_unplaced, link_of
from providers.neutral.values import as_objects, as_string
from streams import sse
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Api,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolKind,
    Usage,
)
from streams.fold import (
    Answer,
    Block,
    NativeBlock,
    ReasoningBlock,
    RefusalBlock,
    TextBlock,
    ToolCallBlock,
)


class Grounding:
    """The searches and citations of an answer so far."""

    __slots__ = ("_begin", "_cited", "_end", "_pages", "_queries", "_segments", "_text")

    def __init__(self) -> None:
        self._text = CitedText()  # of the open block
        self._begin = self._end = 0  # of the open block, in bytes of the whole text
        self._cited: list[Citation] = []  # in the open block
        self._pages: dict[str, tuple[int, str]] = {}  # number and title by URL
        self._queries: dict[str, None] = {}
        # The numbers of pages, as keys, by the start and end of cited text
        self._segments: dict[tuple[int, int], dict[int, None]] = {}

    def add_text(self, text: str) -> None:
        """Add a piece of the open block."""
        self._text.add(text)
        self._end += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))

    def add_search(self, item: Any) -> None:
        """Add the queries and pages of a search."""
        for found in read_item("gemini", item):
            self._queries.update(dict.fromkeys(found.queries))
            for page in found.sources or ():
                self._add_page(page.url, page.title)

    def _add_page(self, url: str, title: str) -> int:
        number, _ = self._pages.setdefault(url, (len(self._pages), title))
        return number

    def cite(self, citation: Citation) -> None:
        """Add a citation of the open block."""
        self._cited.append(citation)

    def end_block(self) -> None:
        """End the open block, and find the positions of its citations."""
        links = [link for one in self._cited if as_string((link := link_of(one)).get("url"))]
        positions = [_positions_of(link) for link in links]
        wanted = {place for pair in positions if pair is not None for place in pair}
        places = self._text.byte_positions(wanted) if wanted else {}
        for link, pair in zip(links, positions, strict=True):
            number = self._add_page(link["url"], as_string(link.get("title")))
            if is_unplaced(link):
                continue
            start, end = (None, None) if pair is None else map(places.get, pair)
            if start is None or end is None or start >= end:  # the whole block is cited
                start, end = 0, self._end - self._begin
            if end > 0:
                self._segments.setdefault((self._begin + start, self._begin + end), {})[number] = None
        self._text.clear()
        self._cited.clear()
        self._begin = self._end

    def metadata(self) -> dict[str, Any]:
        """Return ``groundingMetadata``, empty without searches and citations. Ends the open block."""
        self.end_block()
        queries = {"webSearchQueries": [*self._queries]} if self._queries else {}
        if not self._pages:
            return queries
        chunks = [{"web": {"uri": url, "title": title}} for url, (_, title) in self._pages.items()]
        supports = [
            {"segment": {"startIndex": start, "endIndex": end}, "groundingChunkIndices": [*numbers]}
            for (start, end), numbers in self._segments.items()
        ]
        return {**queries, "groundingChunks": chunks, **({"groundingSupports": supports} if supports else {})}


def _positions_of(link: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the start and end of the cited text in characters, ``None`` if they are no numbers."""
    start, end = link.get("start_index"), link.get("end_index")
    return (start, end) if type(start) is int and type(end) is int else None


def call_part(id: str, name: str, arguments: str, kind: ToolKind, signature: str | None = None) -> dict[str, Any]:
    """Return a whole call, because clients of this API read no pieces. It always has an id, which its
    result refers to."""
    part: dict[str, Any] = {"functionCall": {"id": id, "name": name, "args": call_input(arguments, kind)}}
    return part if signature is None else {**part, "thoughtSignature": signature}


def end_members(end: AnswerEnd, grounding: Grounding) -> dict[str, Any]:
    """Return the members of a candidate about its end."""
    own = end.reason == "refusal" and ENDS_OF_GEMINI.get(end.raw or "") == "refusal"
    members: dict[str, Any] = {"finishReason": end.raw if own else WRITTEN["gemini"][end.reason]}
    if isinstance(end.details, dict) and isinstance(explanation := end.details.get("explanation"), str):
        members["finishMessage"] = explanation
    if metadata := grounding.metadata():
        members["groundingMetadata"] = metadata
    return members


def logprobs_result(logprobs: Sequence[Any]) -> dict[str, Any]:
    """Return ``logprobsResult`` for log probabilities in OpenAI's form."""
    tokens = [one for one in logprobs if isinstance(one, dict)]
    return {
        "chosenCandidates": [_token(one) for one in tokens],
        "topCandidates": [{"candidates": list(map(_token, as_objects(one.get("top_logprobs"))))} for one in tokens],
    }


def _token(one: Any) -> dict[str, Any]:
    return {"token": one.get("token", ""), "logProbability": one.get("logprob", 0)} if isinstance(one, dict) else {}


def usage_metadata(usage: Usage | None, reply_estimate: int, characters: int) -> dict[str, Any]:
    """Return ``usageMetadata``: cached tokens are part of the prompt, thoughts are not part of the candidates.

    Counts that the provider did not report are estimates, based on the number of characters in ``characters``.
    """
    usage = complete_usage(usage, reply_estimate, characters)
    thoughts = min(usage.reasoning or 0, usage.output)
    counts = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": usage.output - thoughts,
        "totalTokenCount": usage.prompt + usage.output,
    }
    if thoughts:
        counts["thoughtsTokenCount"] = thoughts
    if usage.cache_read:
        counts["cachedContentTokenCount"] = usage.cache_read
    return counts


@attrs.frozen
class Signature:
    """A signature for a part of that ``kind``, or for any next part (""); ``id`` is the id of its call."""

    text: str
    kind: str = ""
    id: str = ""
    empty: bool = False

    def as_part(self) -> dict[str, Any]:
        """Return a separate part for the signature, if no following part fits."""
        if self.kind == "text":
            return {"text": "", "thoughtSignature": self.text}
        return {"text": "", "thought": True, "thoughtSignature": self.text}


def make_signature(issuer: Issuer, state: ReasoningState, text: str) -> Signature | None:
    """Return the signature for a state with the reasoning ``text``, or ``None`` if nothing must be sent back."""
    if state.api != "gemini":
        return Signature(seal_in_base64(issuer, state.api, sealed_item(state, text)))
    item = state.item if isinstance(state.item, dict) else {}
    signed = item.get("signature")
    if not isinstance(signed, str) or not signed or "native" in item or signs_image(state):
        return None  # the part itself is sent, with its signature
    return Signature(signed, str(item.get("part", "")), str(item.get("id", "")), item.get("empty") is True)


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the answer as JSON. See ``Codec.write_answer``."""
    texts = [block for block in answer.blocks if isinstance(block, TextBlock)]
    grounding = Grounding()
    for block in answer.blocks:
        if isinstance(block, (TextBlock, RefusalBlock)):
            grounding.add_text(block.text)
            for one in block.citations if isinstance(block, TextBlock) else ():
                grounding.cite(one)
            grounding.end_block()
        elif isinstance(block, NativeBlock) and block.kind == GROUNDING:
            grounding.add_search(block.item)
    parts = list(_write_parts(answer.blocks, reply))
    candidate: dict[str, Any] = {
        "content": {"role": "model", "parts": parts or [{"text": ""}]},
        **end_members(answer.end, grounding),
        "index": 0,
    }
    if logprobs := [one for block in texts for one in block.logprobs]:
        candidate["logprobsResult"] = logprobs_result(logprobs)
    whole = {
        "candidates": [candidate],
        "usageMetadata": usage_metadata(answer.usage, reply.input_estimate, answer.characters),
        "modelVersion": reply.request.model,
        "responseId": reply.id or new_id(""),
    }
    return msgspec.json.encode(whole)


def _write_parts(blocks: Sequence[Block], reply: Reply) -> Iterator[dict[str, Any]]:
    shows_text = reply.shows_thoughts
    waiting: Signature | None = None
    for block in blocks:
        if waiting is not None and not _belongs_on(waiting, block):
            yield waiting.as_part()
            waiting = None
        if isinstance(block, ReasoningBlock):
            waiting = None if block.state is None else make_signature(reply.issuer, block.state, block.text)
            own = waiting if waiting is not None and waiting.kind == "thought" else None
            yield from _thought_parts(block.text if shows_text else "", own)
            waiting = None if own is not None else waiting
        else:
            yield from _write_part(block, {} if waiting is None else {"thoughtSignature": waiting.text})
            waiting = None
    if waiting is not None:
        yield waiting.as_part()


def _thought_parts(text: str, own: Signature | None) -> Iterator[dict[str, Any]]:
    if text:
        part = {"text": text, "thought": True}
        yield part if own is None else {**part, "thoughtSignature": own.text}
    elif own is not None:
        yield own.as_part()


def _write_part(block: Block, mark: dict[str, str]) -> Iterator[dict[str, Any]]:
    match block:
        case TextBlock(text=text) | RefusalBlock(text=text):
            if text or mark:
                yield {"text": text, **mark}
        case ToolCallBlock(id=id, name=name, input=arguments, kind=kind):
            yield {**call_part(id, name, arguments, kind), **mark}
        case NativeBlock(kind=kind) if kind == GROUNDING:
            return
        case NativeBlock(api="gemini", item=item):
            yield item
        case NativeBlock(api=api, item=item):
            yield from _image_parts(api, item)


def _image_parts(api: Api, item: Any) -> list[dict[str, Any]]:
    return [{"inlineData": {"mimeType": one.media_type, "data": one.data}} for one in made_images(api, item)]


def _belongs_on(signature: Signature, block: Block) -> bool:
    """Return whether ``signature`` belongs on the part for ``block``: a seal on a directly following call, Gemini's own
    on a part of its kind."""
    if isinstance(block, ToolCallBlock):
        return signature.kind in ("", "functionCall")
    return isinstance(block, TextBlock) and signature.kind == "text" and not signature.empty


class _OpenCall:
    """A call whose arguments are still arriving."""

    __slots__ = ("ended", "pieces", "signature", "start")

    def __init__(self, start: ToolCallStart, signature: str | None) -> None:
        self.start = start
        self.signature = signature
        self.pieces: list[str] = []
        self.ended = False

    def part(self) -> dict[str, Any]:
        start = self.start
        return call_part(start.id, start.name, "".join(self.pieces), start.kind, self.signature)


class GeminiWriter:
    """A ``Writer`` of one Gemini stream. Calls are sent whole, in the order in which they started."""

    def __init__(self, reply: Reply) -> None:
        self._issuer, self._estimate = reply.issuer, reply.input_estimate
        self._shows_thoughts = reply.shows_thoughts
        self._common = {"modelVersion": reply.request.model, "responseId": reply.id or new_id("")}
        common = sse.dump(self._common)[1:]
        self._prefix = b'data: {"candidates":[{"content":{"role":"model","parts":[{"text":'
        self._suffix = b'}]},"index":0}],' + common + b"\r\n\r\n"
        self._stage: AnswerStage = ANSWERING
        self._characters = 0
        self._usage: Usage | None = None
        self._calls: dict[int, _OpenCall] = {}
        self._waiting: Signature | None = None  # signature for the next part
        self._thoughts: list[str] = []  # pieces of the open reasoning block
        self._thought_length = 0
        self._grounding = Grounding()

    def send(self, event: Event) -> bytes:
        if self._stage is ENDED:
            return b""
        # By far the most frequent event:
        if type(event) is TextDelta and self._waiting is None and event.logprobs is None:
            self._characters += len(event.text)
            self._grounding.add_text(event.text)
            return self._prefix + sse.dump(event.text) + self._suffix
        return self._send(event)

    def _send(self, event: Event) -> bytes:
        match event:
            case TextDelta(text=text, logprobs=logprobs):
                self._characters += len(text)
                self._grounding.add_text(text)
                return self._flush_signature("text") + self._encode_chunk(
                    {"text": text, **self._pop_signature()}, logprobs
                )
            case RefusalDelta(text=text):
                self._characters += len(text)
                self._grounding.add_text(text)
                return self._flush_signature("text") + self._encode_chunk({"text": text, **self._pop_signature()})
            case ReasoningDelta(text=text):
                return self._flush_signature() + self._write_thought(text)
            case ReasoningState():
                return self._flush_signature() + self._hold_signature(event)
            case ToolCallStart():
                signature = self._flush_signature("functionCall")
                self._calls[event.block] = _OpenCall(event, self._pop_signature().get("thoughtSignature"))
                return signature
            case ToolCallDelta(block=block, text=text):
                self._characters += len(text)
                self._calls[block].pieces.append(text)
                return b""
            case NativeItem(kind=kind, item=item) if kind == GROUNDING:
                self._grounding.add_search(item)
                return b""
            case NativeItem(api=api, item=item):
                parts = [item] if api == "gemini" else _image_parts(api, item)
                return self._flush_signature() + b"".join(map(self._encode_chunk, parts))
            case BlockEnd(block=block):
                return self._end_block(block)
            case AnswerEnd() | ErrorInfo():
                data = self._write_end(event) if isinstance(event, AnswerEnd) else error_event(event)
                self._stage = ENDED
                return data
            case _:
                self._store(event)
                return b""

    def _store(self, event: AnswerStart | Usage | Citation) -> None:
        """Store an event that is written at the end or never."""
        match event:
            case Usage():
                self._usage = event
            case Citation():
                self._grounding.cite(event)
            case AnswerStart():
                pass
            case _:
                assert_never(event)

    # Pieces

    def _encode_chunk(self, part: Any, logprobs: Any = None) -> bytes:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": [part]}, "index": 0}
        if logprobs:
            candidate["logprobsResult"] = logprobs_result(logprobs)
        return event({"candidates": [candidate], **self._common})

    def _flush_signature(self, kind: str = "") -> bytes:
        """Return a separate part for a waiting signature that does not fit a part of ``kind``, else nothing."""
        waiting = self._waiting
        if waiting is None or (kind and (waiting.kind or "functionCall") == kind and not waiting.empty):
            return b""
        self._waiting = None
        return self._encode_chunk(waiting.as_part())

    def _pop_signature(self) -> dict[str, str]:
        waiting, self._waiting = self._waiting, None
        return {} if waiting is None else {"thoughtSignature": waiting.text}

    def _write_thought(self, text: str) -> bytes:
        self._characters += len(text)
        self._thought_length += len(text)
        if self._thought_length <= MAX_SEALED:
            self._thoughts.append(text)
        return self._encode_chunk({"text": text, "thought": True}) if self._shows_thoughts else b""

    def _hold_signature(self, state: ReasoningState) -> bytes:
        text = "".join(self._thoughts) if self._thought_length <= MAX_SEALED else ""
        self._waiting = make_signature(self._issuer, state, text)
        return self._flush_signature("text") if self._waiting is not None and self._waiting.kind == "thought" else b""

    def _end_block(self, block: int) -> bytes:
        self._thoughts.clear()
        self._thought_length = 0
        self._grounding.end_block()
        if (call := self._calls.get(block)) is None:
            return b""
        call.ended = True
        out = []
        while self._calls and (first := next(iter(self._calls.values()))).ended:
            del self._calls[next(iter(self._calls))]
            out.append(self._encode_chunk(first.part()))
        return b"".join(out)

    def _write_end(self, end: AnswerEnd) -> bytes:
        # Normally there are none, because readers close all blocks.
        calls = b"".join(self._encode_chunk(call.part()) for call in self._calls.values())
        signature = self._flush_signature()
        candidate = {
            "content": {"role": "model", "parts": [{"text": ""}]},
            **end_members(end, self._grounding),
            "index": 0,
        }
        usage = usage_metadata(self._usage, self._estimate, self._characters)
        return calls + signature + event({"candidates": [candidate], "usageMetadata": usage, **self._common})


WRITER: Final = GeminiWriter
