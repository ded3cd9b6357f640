"""The stand-in's stored objects: files, and batches that it processes.

If there are too many, the oldest are dropped."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import attrs
import msgspec

from gateway.mock.called import EndpointCall, UploadedFile
from gateway.mock.endpoint_answers import bytes_answer, json_answer
from gateway.mock.faults import ScriptedAnswer
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

    # Files

    def add_file(self, call: EndpointCall) -> ScriptedAnswer:
        """Store a file; without a purpose it is Anthropic's."""
        if not call.files.get("file"):
            raise invalid("file is required: send it as a file in multipart/form-data", "file")
        file = call.files["file"][0]
        purpose = call.members.get("purpose")
        return json_answer(self._store_file(file, "file-" if purpose else "file_", purpose).about)

    def _store_file(self, file: UploadedFile, prefix: str, purpose: Any) -> MockObject:
        about: dict[str, Any] = {"id": new_id(prefix), "filename": file.name}
        if purpose:
            about |= {"object": "file", "bytes": len(file.content), "created_at": int(time.time()), "purpose": purpose,
                      "status": "processed"}  # fmt: skip
        else:
            about |= {"type": "file", "size_bytes": len(file.content), "created_at": _timestamp(), "downloadable": True,
                      "mime_type": file.type}  # fmt: skip
        return self.store(MockObject(about, file.content))

    # All kinds

    def show(self, call: EndpointCall) -> ScriptedAnswer:
        return json_answer(self.get(call).about)

    def content(self, call: EndpointCall) -> ScriptedAnswer:
        return bytes_answer(self.get(call).content, "application/octet-stream")

    def remove(self, call: EndpointCall) -> ScriptedAnswer:
        about = self.get(call).about
        del self._objects[call.path_parameters["id"]]
        if call.is_from_anthropic_client:
            return json_answer({"id": about["id"], "type": f"{about.get('type', 'file')}_deleted"})
        kind = about.get("object", "file")  # OpenAI has no `file.deleted`, but all the others
        deleted = kind if kind == "file" else f"{kind}.deleted"
        return json_answer({"id": about["id"], "object": deleted, "deleted": True})

    def cancel(self, call: EndpointCall) -> ScriptedAnswer:
        about = self.get(call).about
        about.update({"processing_status": "canceling"} if "processing_status" in about else {"status": "cancelled"})
        return json_answer(about)

    def lister(self, *prefixes: str) -> Callable[[EndpointCall], ScriptedAnswer]:
        def answer(call: EndpointCall) -> ScriptedAnswer:
            data = [one.about for id, one in reversed(self._objects.items()) if id.startswith(prefixes)]
            if len(prefixes) > 1:  # files: the client's API selects which
                data = [about for about in data if call.is_from_anthropic_client == ("type" in about)]
            return page(data, call)

        return answer

    # Batches

    def create_batch(self, call: EndpointCall) -> ScriptedAnswer:
        """Create an OpenAI batch, completed at the next query.

        Results and errors are in separate files. A file without lines does not exist."""
        file = self._objects.get(str(call.members.get("input_file_id")))
        if file is None:
            raise GatewayError(
                "not_found",
                "there is no file with the id in input_file_id: upload the file first",
                param="input_file_id",
            )
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
        return str(self._store_file(UploadedFile(name, content), "file-", "batch_output").about["id"])

    def _answer_batch_line(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line)
            status, body = self._answer_line(request["url"], request["body"])
            id = request["custom_id"]
        except (*NOT_JSON, KeyError, TypeError):
            id, status, body = (
                "",
                400,
                {"error": {"message": "the line is not a request", "type": "invalid_request_error"}},
            )
        response = {"status_code": status, "request_id": new_id("req_"), "body": body}
        return {"id": new_id("batch_req_"), "custom_id": id, "response": response, "error": None}

    def create_message_batch(self, call: EndpointCall) -> ScriptedAnswer:
        """Create an Anthropic batch, ended at the next query."""
        results = []
        for request in call.objects("requests"):
            if not (isinstance(request.get("custom_id"), str) and isinstance(request.get("params"), dict)):
                raise invalid("each of requests needs a custom_id, a text, and params, an object", "requests")
            status, body = self._answer_line("/v1/messages", request["params"])
            result = {"type": "succeeded", "message": body} if status == 200 else {"type": "errored", "error": body}
            results.append({"custom_id": request["custom_id"], "result": result})
        content = b"\n".join(map(msgspec.json.encode, results)) + b"\n"
        ended = Counter(one["result"]["type"] for one in results)
        counts = {kind: ended[kind] for kind in ("processing", "succeeded", "errored", "canceled", "expired")}
        id = new_id("msgbatch_")
        about = {
            "id": id, "type": "message_batch", "processing_status": "ended", "request_counts": counts,
            "created_at": _timestamp(), "ended_at": _timestamp(), "expires_at": _timestamp(), "archived_at": None,
            "cancel_initiated_at": None, "results_url": f"{call.origin}/v1/messages/batches/{id}/results",
        }  # fmt: skip
        kept = self.store(MockObject(about, content))
        begun = {**dict.fromkeys(counts, 0), "processing": len(results)}
        return json_answer({
            **kept.about, "processing_status": "in_progress", "request_counts": begun, "ended_at": None,
            "results_url": None,
        })  # fmt: skip

    # Storage

    def store(self, made: MockObject) -> MockObject:
        self._objects[made.about["id"]] = made
        while len(self._objects) > MAX_OBJECTS or _total_size(self._objects.values()) > MAX_BYTES:
            del self._objects[next(iter(self._objects))]
        return made

    def get(self, call: EndpointCall) -> MockObject:
        id = call.path_parameters.get("id", "")
        if id not in self._objects:
            message = f"there is no object {id[:80]}; the stand-in loses its objects when it ends"
            raise GatewayError("not_found", message, param="id")
        return self._objects[id]


def page(listed: Sequence[dict[str, Any]], call: EndpointCall) -> ScriptedAnswer:
    """Return all of ``listed`` as one page, or those after the id that a client's query for the next page has."""
    ids = [one["id"] for one in listed]
    after = next((call.query[name] for name in ("after", "after_id", "page") if call.query.get(name) in ids), None)
    data = listed if after is None else listed[ids.index(after) + 1 :]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {"first_id": None, "last_id": None}
    if call.is_from_anthropic_client:
        return json_answer({"data": data, **ends, "has_more": False, "next_page": None})
    return json_answer({"object": "list", "data": data, **ends, "has_more": False})


def _total_size(objects: Iterable[MockObject]) -> int:
    return sum(len(one.content) for one in objects)


def _timestamp() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


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
