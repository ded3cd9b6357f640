"""Message items while they are written: texts with their citations, and refusals."""

from typing import Any

from providers.responses.ids import own_id
from providers.responses.numbering import Deltas, EventSequence
from providers.responses.output import Object, annotations, message_item, refusal_part, text_part, token_logprobs
from streams import sse
from streams.events import Citation


class OpenMessage:
    """A message item: holds the text and refusal blocks of one phase that follow each other, each as one part."""

    def __init__(self, out: EventSequence, phase: str | None) -> None:
        self.id = own_id("msg_")
        self.phase = phase
        self.index = out.index()
        self.parts: list[Object] = []
        self.being_said = 0  # parts that are open
        self._out = out

    def open(self) -> bytes:
        return self._out.added(self.index, message_item(self.id, status="in_progress", phase=self.phase))

    def close(self, status: str) -> bytes:
        return self._out.finished(self.index, message_item(self.id, self.parts, status, self.phase))

    def cut(self, *parts: Object) -> tuple[int, Any]:
        """As ``OpenBlock.cut``; ``parts`` come after those that are finished."""
        return self.index, message_item(self.id, [*self.parts, *parts], "incomplete", self.phase)


class OpenPart:
    """A content part: a text with its citations, or a refusal."""

    def __init__(self, out: EventSequence, message: OpenMessage, refusal: bool) -> None:
        self.message = message
        message.being_said += 1
        self._out = out
        self._where = {"item_id": message.id, "output_index": message.index, "content_index": len(message.parts)}
        self._refusal = refusal
        self._cited: list[Citation] = []
        self._logprobs: list[Object] = []
        name = "response.refusal.delta" if refusal else "response.output_text.delta"
        self._deltas = Deltas(out, name, self._where, b"}" if refusal else b',"logprobs":[]}')

    def open(self) -> bytes:
        part = refusal_part() if self._refusal else text_part()
        return self._out.event("response.content_part.added", {**self._where, "part": part})

    def write(self, text: str) -> bytes:
        return self._deltas.write(text)

    def write_scored(self, text: str, logprobs: Any) -> bytes:
        """A piece of text with its tokens' log probabilities."""
        tokens = token_logprobs(logprobs)
        self._logprobs += tokens
        return self._deltas.write(text, b',"logprobs":%b}\n\n' % sse.dump(tokens))

    def cite(self, cited: Citation) -> None:
        self._cited.append(cited)

    def close(self) -> bytes:
        part = self._part()
        data: list[bytes] = []
        if self._refusal:
            data.append(self._out.event("response.refusal.done", {**self._where, "refusal": part["refusal"]}))
        else:
            for i, note in enumerate(part["annotations"]):
                where = {**self._where, "annotation_index": i, "annotation": note}
                data.append(self._out.event("response.output_text.annotation.added", where))
            done = {**self._where, "text": part["text"], "logprobs": self._logprobs}
            data.append(self._out.event("response.output_text.done", done))
        self.message.parts.append(part)
        self.message.being_said -= 1
        return b"".join([*data, self._out.event("response.content_part.done", {**self._where, "part": part})])

    def cut(self) -> tuple[int, Any]:
        return self.message.cut(self._part())

    def _part(self) -> Object:
        text = self._deltas.text()
        return (
            refusal_part(text)
            if self._refusal
            else text_part(text, annotations(self._cited, len(text)), self._logprobs)
        )
