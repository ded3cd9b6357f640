"""A provider that keeps files, vector stores and containers for one account, in three vendors' formats."""

import itertools
import re
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, json_answer

if TYPE_CHECKING:
    import trio


class KeptProvider:
    """One account at a provider, without knowledge of clients.

    ``kept`` are its objects by native ids, ``contents`` the bytes of files, ``asked`` all requests.
    """

    def __init__(self, name: str = "1") -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.contents: dict[str, bytes] = {}
        self.asked: list[ReceivedRequest] = []
        self.answers: dict[str, ScriptedAnswer] = {}  # at paths without kept objects
        self.gate: trio.Event | None = None  # no response is sent before
        self.url = ""
        self.upload_url: str | None = None  # in place of its own, for uploads to Google
        self._numbers = itertools.count(1)
        self._name = name

    async def __call__(self, received: ReceivedRequest) -> ScriptedAnswer:
        self.asked.append(received)
        answer = self.answers.get(received.path) or self._answer(received)
        if self.gate is not None:
            await self.gate.wait()
        return answer

    def _answer(self, received: ReceivedRequest) -> ScriptedAnswer:
        parts = urlsplit(received.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "goog" in parts.path or "v1beta" in parts.path:
            return self._answer_google(received, parts.path, query)
        steps = parts.path.removeprefix("/v1/").replace("batch/jobs", "batches").split("/")  # the former is Mistral's
        anthropic = "anthropic-version" in received.headers
        match received.method, steps:
            case "POST", ["files"]:
                return self._create_file(received, anthropic)
            case "GET", ["files", id, "content"]:
                return self._read_content(received, id)
            case "GET", [collection]:
                return json_answer(
                    {"data": list(self.kept.values()), "first_id": "file-of-somebody", "has_more": False}
                )
            case "POST", ["uploads", id, "parts"]:
                return json_answer(
                    self._store_object({"id": self._id("part_"), "object": "upload.part", "upload_id": id})
                )
            case "POST", ["uploads", id, "complete"]:
                file = self._store_object({"id": self._id("file-"), "object": "file", "purpose": "batch"})
                return json_answer({**self.kept[id], "status": "completed", "file": file})
            case "POST", [collection] | [collection, _, "remix"]:
                return self._create_object(received, collection)
            case _, ["vector_stores", id, *rest] if rest and id in self.kept:
                return self._answer_vector_store(received, id, rest, query)
            case _, ["batches", _, "cancel"] | ["messages", "batches", *_]:
                return self._answer_batch(received, steps)
            case "GET", [_, id] if id in self.kept:
                return json_answer(self.kept[id])
            case "DELETE", [*_, id] if id in self.kept:
                del self.kept[id]
                return json_answer({"id": id, "object": "file.deleted", "type": "file_deleted", "deleted": True})
        return json_answer(
            {"error": {"message": f"No such File object: {steps[-1]}", "type": "invalid_request_error"}}, 404
        )

    def _answer_vector_store(
        self, received: ReceivedRequest, id: str, rest: list[str], query: dict[str, str]
    ) -> ScriptedAnswer:
        match received.method, rest:
            case "POST", ["files"]:
                file = received.json["file_id"]
                return json_answer(
                    {"id": file, "object": "vector_store.file", "vector_store_id": id, "status": "completed"}
                )
            case "GET", ["files"]:
                after = query.get("after")
                ids = [one for one in self.kept if one.startswith("file") and one != after]
                data = [{"id": one, "object": "vector_store.file", "vector_store_id": id} for one in ids]
                return json_answer(
                    {"object": "list", "data": data, "first_id": ids[0], "last_id": ids[-1], "has_more": False}
                )
        file = next(one for one in self.kept if one.startswith("file"))
        found = {"file_id": file, "filename": "a", "score": 1.0, "attributes": {"file_id": "mine"}}
        return json_answer({"object": "vector_store.search_results.page", "data": [found], "has_more": False})

    def _answer_batch(self, received: ReceivedRequest, steps: list[str]) -> ScriptedAnswer:
        """Answer a request about a batch: a cancelled one, or one of Anthropic's with results from ``contents``."""
        if steps[-1] == "cancel":
            return json_answer(self._store_object({**self.kept[steps[1]], "status": "cancelling"}))
        rest = steps[2:]
        if not rest:
            value = {"id": self._id("msgbatch_"), "type": "message_batch", "processing_status": "in_progress",
                     "results_url": None}  # fmt: skip
            return json_answer(self._store_object(value))
        if rest[0] not in self.kept:
            return json_answer({"type": "error", "error": {"type": "not_found_error", "message": "no such batch"}}, 404)
        if rest[1:] == ["results"]:
            return ScriptedAnswer((self.contents[rest[0]],), headers=(("content-type", "application/x-jsonl"),))
        return json_answer(self.kept[rest[0]])

    def _id(self, prefix: str) -> str:
        return f"{prefix}{self._name}{next(self._numbers)}abc"

    def _store_object(self, value: dict[str, Any]) -> dict[str, Any]:
        self.kept[value["id"]] = value
        return value

    def _create_file(self, received: ReceivedRequest, anthropic: bool) -> ScriptedAnswer:
        fields = form(received)
        name, content = fields["file"]
        id = self._id("file_" if anthropic else "file-")
        self.contents[id] = content
        value = {"id": id, "filename": name, "created_at": 1}
        if anthropic:
            value |= {"type": "file", "mime_type": "text/plain", "size_bytes": len(content), "downloadable": True,
                      "created_at": "2026-01-01T00:00:00Z"}  # fmt: skip
        else:
            value |= {"object": "file", "bytes": len(content), "purpose": fields["purpose"][1].decode(),
                      "status": "processed"}  # fmt: skip
        return json_answer(self._store_object(value))

    def _read_content(self, received: ReceivedRequest, id: str) -> ScriptedAnswer:
        if id not in self.contents:
            return json_answer({"error": {"message": f"No such File object: {id}"}}, 404)
        content, status, more = self.contents[id], 200, ()
        if (found := re.fullmatch(r"bytes=(\d+)-(\d+)", received.headers.get("range", ""))) is not None:
            begin, end = int(found[1]), int(found[2])
            more = (("content-range", f"bytes {begin}-{end}/{len(content)}"),)
            content, status = content[begin : end + 1], 206
        headers = (
            ("content-type", "application/json"), ("content-disposition", 'attachment; filename="a.jsonl"'),
            ("etag", '"abc"'), *more,
        )  # fmt: skip
        return ScriptedAnswer((content,), status, headers, length=True)

    def _create_object(self, received: ReceivedRequest, collection: str) -> ScriptedAnswer:
        prefixes = {"vector_stores": "vs_", "containers": "cntr_", "uploads": "upload_", "batches": "batch_",
                    "videos": "video_"}  # fmt: skip
        members = received.json if received.headers["content-type"] == "application/json" else {}
        value = {"id": self._id(prefixes[collection]), "object": collection.rstrip("s"), **members, "created_at": 1}
        return json_answer(self._store_object(value))

    def _answer_google(self, received: ReceivedRequest, path: str, query: dict[str, str]) -> ScriptedAnswer:
        if path.startswith("/upload/") and received.headers.get("x-goog-upload-command") == "start":
            id = self._id("files/")
            self.contents[id] = b""
            where = f"{self.url}/upload/v1beta/files?upload_id={id.removeprefix('files/')}&upload_protocol=resumable"
            headers = (("x-goog-upload-url", self.upload_url or where), ("x-goog-upload-status", "active"))
            return ScriptedAnswer((), headers=headers, length=True)
        if path.startswith("/upload/"):
            id = f"files/{query['upload_id']}"
            assert int(received.headers["x-goog-upload-offset"]) == len(self.contents[id])
            self.contents[id] += received.body
            if "finalize" not in received.headers["x-goog-upload-command"]:
                return ScriptedAnswer((), headers=(("x-goog-upload-status", "active"),), length=True)
            uri = f"https://generativelanguage.googleapis.com/v1beta/{id}"
            size = str(len(self.contents[id]))
            file = {"name": id, "uri": uri, "state": "ACTIVE", "mimeType": "text/plain", "sizeBytes": size}
            self.kept[id] = file
            return json_answer({"file": file}, 200, ("x-goog-upload-status", "final"))
        id = path.removeprefix("/v1beta/").removesuffix(":download")
        if id not in self.kept:
            return json_answer({"error": {"code": 404, "message": f"no {id}", "status": "NOT_FOUND"}}, 404)
        if path.endswith(":download"):
            return ScriptedAnswer((self.contents[id],), headers=(("content-type", "text/plain"),))
        if received.method == "DELETE":
            del self.kept[id]
            return json_answer({})
        return json_answer(self.kept[id])


def form(received: ReceivedRequest) -> dict[str, tuple[str | None, bytes]]:
    """Return the fields of a multipart body: file name and content."""
    head = f"content-type: {received.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + received.body).get_payload()
    found = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = (part.get_filename(), part.get_payload(decode=True))
    return found
