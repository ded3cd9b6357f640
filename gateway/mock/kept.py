"""The stand-in's stored objects: files, and batches that it processes.

If there are too many, the oldest are dropped."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import attrs
import msgspec

from gateway.mock.called import EndpointCall, UploadedFile
from gateway.mock.endpoint_answers import AnswerCall, bytes_answer, json_answer
from gateway.mock.faults import ScriptedAnswer
from gateway.mock.issuer import POST
from gateway.serving.route_table import READING
from providers.neutral.codec import new_id
from streams.errors import GatewayError, invalid
from streams.surrogates import NOT_JSON

MAX_OBJECTS: Final = 200  # objects
MAX_BYTES: Final = 64 * 2**20  # bytes of their contents

AnswerLine = Callable[[str, Any], tuple[int, Any]]
"""A function that answers a request to a path with a status and JSON."""


@attrs.frozen
class MockObject:
    """A stored object: ``about`` is its JSON, ``content`` its bytes."""

    about: dict[str, Any]
    content: bytes = b""


class MockObjects:
    """The store of the stand-in's objects, with a method for each kind of request.

    ``answer_line`` answers lines of batches."""

    def __init__(self, answer_line: AnswerLine) -> None:
        self._objects: dict[str, MockObject] = {}
        self._answer_line = answer_line

    def routes(self) -> Iterator[tuple[Sequence[str], str, AnswerCall]]:
        """Yield the methods, paths and answers of all requests."""
        for root, prefix, create in (
            ("/v1/files", "file-", self.add_file),
            ("/v1/batches", "batch_", self.create_batch),
        ):
            yield POST, root, create
            yield READING, root, partial(self.page, prefix)
            yield READING, f"{root}/{{id}}", self.show
            yield ("DELETE",), f"{root}/{{id}}", self.remove
            yield READING, f"{root}/{{id}}/content", self.content
            yield POST, f"{root}/{{id}}/cancel", self.cancel

    # Files

    def add_file(self, call: EndpointCall) -> ScriptedAnswer:
        if not call.files.get("file"):
            raise invalid("file is required: send it as a file in multipart/form-data", "file")
        return json_answer(self._store_file(call.files["file"][0], call.members.get("purpose")).about)

    def _store_file(self, file: UploadedFile, purpose: Any) -> MockObject:
        about = {
            "id": new_id("file-"), "object": "file", "filename": file.name, "bytes": len(file.content),
            "created_at": int(time.time()), "purpose": purpose, "status": "processed",
        }  # fmt: skip
        return self.store(MockObject(about, file.content))

    # All kinds

    def show(self, call: EndpointCall) -> ScriptedAnswer:
        return json_answer(self.get(call).about)

    def content(self, call: EndpointCall) -> ScriptedAnswer:
        return bytes_answer(self.get(call).content, "application/octet-stream")

    def remove(self, call: EndpointCall) -> ScriptedAnswer:
        about = self.get(call).about
        del self._objects[about["id"]]
        return json_answer({"id": about["id"], "object": about["object"], "deleted": True})

    def cancel(self, call: EndpointCall) -> ScriptedAnswer:
        about = self.get(call).about
        about["status"] = "cancelled"
        return json_answer(about)

    def page(self, prefix: str, call: EndpointCall) -> ScriptedAnswer:
        """Return all objects with this prefix as one page, or the empty page after it."""
        data = [one.about for id, one in reversed(self._objects.items()) if id.startswith(prefix)]
        data = [] if "after" in call.query else data
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
        return json_answer({"object": "list", "data": data, **ends, "has_more": False})

    # Batches

    def create_batch(self, call: EndpointCall) -> ScriptedAnswer:
        """Create an OpenAI batch, completed at the next query.

        Results and errors are in separate files. A file without lines does not exist."""
        file = self._objects.get(str(call.members.get("input_file_id")))
        if file is None:
            message = "there is no file with the id in input_file_id: upload the file first"
            raise GatewayError("not_found", message, param="input_file_id")
        answers = [self._answer_batch_line(line) for line in file.content.splitlines() if line.strip()]
        failed = [one for one in answers if one["response"]["status_code"] >= 400]
        succeeded = [one for one in answers if one["response"]["status_code"] < 400]
        about = {
            "id": new_id("batch_"), "object": "batch", "endpoint": call.members.get("endpoint"),
            "input_file_id": file.about["id"], "completion_window": "24h", "created_at": int(time.time()),
            "status": "completed", "output_file_id": self._store_lines("output.jsonl", succeeded),
            "error_file_id": self._store_lines("error.jsonl", failed),
            "metadata": call.members.get("metadata"),
            "model": next((found for one in answers if (found := one["response"]["body"].get("model"))), None),
            "request_counts": {"total": len(answers), "completed": len(succeeded), "failed": len(failed)},
            "usage": _sum_usage([one["response"]["body"] for one in answers]),
        }  # fmt: skip
        kept = self.store(MockObject(about))
        begun = dict.fromkeys(about["request_counts"], 0)
        return json_answer({
            **kept.about, "status": "validating", "output_file_id": None, "error_file_id": None,
            "request_counts": begun,
        })  # fmt: skip

    def _store_lines(self, name: str, lines: Sequence[Any]) -> str | None:
        """Store a file of a batch, and return its id; ``None`` without lines."""
        if not lines:
            return None
        content = b"\n".join(map(msgspec.json.encode, lines)) + b"\n"
        return str(self._store_file(UploadedFile(name, content), "batch_output").about["id"])

    def _answer_batch_line(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line)
            status, body = self._answer_line(request["url"], request["body"])
            id = request["custom_id"]
        except (*NOT_JSON, KeyError, TypeError):
            id, status = "", 400
            body = {"error": {"message": "the line is not a request", "type": "invalid_request_error"}}
        response = {"status_code": status, "request_id": new_id("req_"), "body": body}
        return {"id": new_id("batch_req_"), "custom_id": id, "response": response, "error": None}

    # Storage

    def store(self, made: MockObject) -> MockObject:
        self._objects[made.about["id"]] = made
        while len(self._objects) > MAX_OBJECTS or sum(len(one.content) for one in self._objects.values()) > MAX_BYTES:
            del self._objects[next(iter(self._objects))]
        return made

    def get(self, call: EndpointCall) -> MockObject:
        id = call.path_parameters.get("id", "")
        if id not in self._objects:
            message = f"there is no object {id[:80]}; the stand-in loses its objects when it ends"
            raise GatewayError("not_found", message, param="id")
        return self._objects[id]


def _sum_usage(answers: Iterable[Any]) -> dict[str, Any]:
    """Return the tokens of all ``answers`` of a batch."""
    found = Counter[str]()
    for answer in answers:
        usage = answer.get("usage") or {}
        found["input_tokens"] += usage.get("input_tokens", usage.get("prompt_tokens", 0))
        found["output_tokens"] += usage.get("output_tokens", usage.get("completion_tokens", 0))
    return {
        **found,
        "total_tokens": found.total(),
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
