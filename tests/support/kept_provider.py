"""A provider that keeps files, vector stores and containers for one account, in three vendors' formats."""

import itertools
import json
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
        self._numbers = itertools.count(1)
        self._name = name

    async def __call__(self, asked: ReceivedRequest) -> ScriptedAnswer:
        self.asked.append(asked)
        answer = self.answers.get(asked.path) or self._answer(asked)
        if self.gate is not None:
            await self.gate.wait()
        return answer

    def _answer(self, asked: ReceivedRequest) -> ScriptedAnswer:
        parts = urlsplit(asked.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if "goog" in parts.path or "v1beta" in parts.path:
            return self._answer_google(asked, parts.path, query)
        steps = parts.path.removeprefix("/v1/").replace("batch/jobs", "batches").split("/")  # the former is Mistral's
        anthropic = "anthropic-version" in asked.headers
        match asked.method, steps:
            case "POST", ["files"]:
                return self._create_file(asked, anthropic)
            case "GET", ["files", id, "content"]:
                return self._read_content(asked, id)
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
                return self._create_object(asked, collection)
            case _, ["vector_stores", id, *rest] if rest and id in self.kept:
                return self._answer_vector_store(asked, id, rest, query)
            case _, ["batches", _, "cancel"] | ["messages", "batches", *_]:
                return self._answer_batch(asked, steps)
            case "GET", [_, id] if id in self.kept:
                return json_answer(self.kept[id])
            case "DELETE", [*_, id] if id in self.kept:
                del self.kept[id]
                return json_answer({"id": id, "object": "file.deleted", "type": "file_deleted", "deleted": True})
        return json_answer(
            {"error": {"message": f"No such File object: {steps[-1]}", "type": "invalid_request_error"}}, 404
        )

    def _answer_vector_store(
        self, asked: ReceivedRequest, id: str, rest: list[str], query: dict[str, str]
    ) -> ScriptedAnswer:
        match asked.method, rest:
            case "POST", ["files"]:
                file = asked.json["file_id"]
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

    def _answer_batch(self, asked: ReceivedRequest, steps: list[str]) -> ScriptedAnswer:
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

    def _create_file(self, asked: ReceivedRequest, anthropic: bool) -> ScriptedAnswer:
        fields = form(asked)
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

    def _read_content(self, asked: ReceivedRequest, id: str) -> ScriptedAnswer:
        if id not in self.contents:
            return json_answer({"error": {"message": f"No such File object: {id}"}}, 404)
        content, status, more = self.contents[id], 200, ()
        if (found := re.fullmatch(r"bytes=(\d+)-(\d+)", asked.headers.get("range", ""))) is not None:
            begin, end = int(found[1]), int(found[2])
            more = (("content-range", f"bytes {begin}-{end}/{len(content)}"),)
            content, status = content[begin : end + 1], 206
        headers = (
            ("content-type", "application/json"), ("content-disposition", 'attachment; filename="a.jsonl"'),
            ("etag", '"abc"'), *more,
        )  # fmt: skip
        return ScriptedAnswer((content,), status, headers, length=True)

    def _create_object(self, asked: ReceivedRequest, collection: str) -> ScriptedAnswer:
        prefixes = {"vector_stores": "vs_", "containers": "cntr_", "uploads": "upload_", "batches": "batch_",
                    "videos": "video_"}  # fmt: skip
        members = asked.json if asked.headers["content-type"] == "application/json" else {}
        value = {"id": self._id(prefixes[collection]), "object": collection.rstrip("s"), **members, "created_at": 1}
        return json_answer(self._store_object(value))

    def _answer_google(self, asked: ReceivedRequest, path: str, query: dict[str, str]) -> ScriptedAnswer:
        if path.startswith("/upload/") and asked.headers.get("x-goog-upload-command") == "start":
            id = self._id("files/")
            self.contents[id] = b""
            where = f"{self.url}/upload/v1beta/files?upload_id={id.removeprefix('files/')}&upload_protocol=resumable"
            return ScriptedAnswer(
                (), headers=(("x-goog-upload-url", where), ("x-goog-upload-status", "active")), length=True
            )
        if path.startswith("/upload/"):
            id = f"files/{query['upload_id']}"
            assert int(asked.headers["x-goog-upload-offset"]) == len(self.contents[id])
            self.contents[id] += asked.body
            if "finalize" not in asked.headers["x-goog-upload-command"]:
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
        if asked.method == "DELETE":
            del self.kept[id]
            return json_answer({})
        return json_answer(self.kept[id])


def form(asked: ReceivedRequest) -> dict[str, tuple[str | None, bytes]]:
    """Return the fields of a multipart body: file name and content."""
    head = f"content-type: {asked.headers['content-type']}\r\n\r\n".encode()
    parts = BytesParser().parsebytes(head + asked.body).get_payload()
    found = {}
    for part in parts:
        name = part.get_param("name", header="content-disposition")
        found[str(name)] = (part.get_filename(), part.get_payload(decode=True))
    return found


def ids_in(value: Any) -> str:
    """Return ``value`` as text, to search for ids."""
    return json.dumps(value)
