"""The stand-in's vector stores and their files, which are ready immediately. No search finds anything."""

import time
from collections.abc import Mapping
from typing import Any, Final

import attrs

from gateway.mock.called import EndpointCall
from gateway.mock.endpoint_answers import json_answer
from gateway.mock.faults import ScriptedAnswer
from gateway.mock.kept import MockObject, MockObjects, id_within
from providers.neutral.codec import new_id

PREFIX: Final = "vs_"
"""The start of the ids of vector stores."""

_STORE: Final = "vector_store"
_CHUNKING: Final = {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}
_CHANGEABLE: Final = ("name", "metadata", "expires_after")


@attrs.frozen
class MockVectorStores:
    """The vector stores among ``objects``, with a method for each kind of request."""

    objects: MockObjects

    def create(self, call: EndpointCall) -> ScriptedAnswer:
        now = int(time.time())
        about: dict[str, Any] = {
            "id": new_id(PREFIX), "object": _STORE, "created_at": now, "last_active_at": now,
            "status": "completed", "usage_bytes": 0, "file_counts": _counts(0), "expires_at": None,
            **{name: call.members.get(name) for name in _CHANGEABLE}, "name": call.members.get("name") or "",
        }  # fmt: skip
        files = list(map(self.objects.find, call.ids("file_ids")))
        self.objects.store(MockObject(about))
        for file in files:
            self._add(about["id"], file, call.members)
        return json_answer(self._count(about))

    def update(self, call: EndpointCall) -> ScriptedAnswer:
        about = self.objects.get(call).about
        about.update({name: call.members[name] for name in _CHANGEABLE if name in call.members})
        return json_answer(about)

    def search(self, call: EndpointCall) -> ScriptedAnswer:
        self.objects.get(call)
        return json_answer({
            "object": "vector_store.search_results.page", "search_query": call.texts("query"), "data": [],
            "has_more": False, "next_page": None,
        })  # fmt: skip

    # Files

    def add_file(self, call: EndpointCall) -> ScriptedAnswer:
        store = self.objects.get(call).about
        added = self._add(store["id"], self.objects.find(call.members.get("file_id")), call.members)
        self._count(store)
        return json_answer(added)

    def update_file(self, call: EndpointCall) -> ScriptedAnswer:
        about = self.objects.get(call).about
        about["attributes"] = call.members.get("attributes")
        return json_answer(about)

    def remove_file(self, call: EndpointCall) -> ScriptedAnswer:
        store = self.objects.find(self.objects.get(call).about["vector_store_id"], _STORE)
        removed = self.objects.remove(call)
        self._count(store.about)
        return removed

    def show_content(self, call: EndpointCall) -> ScriptedAnswer:
        """Return the text of a file."""
        text = self.objects.get(call).content.decode(errors="replace")
        return json_answer({
            "object": "vector_store.file_content.page", "data": [{"type": "text", "text": text}], "has_more": False,
            "next_page": None,
        })  # fmt: skip

    def _add(self, store: str, file: MockObject, members: Mapping[str, Any]) -> dict[str, Any]:
        about = {
            "id": file.about["id"], "object": "vector_store.file", "created_at": int(time.time()),
            "vector_store_id": store, "status": "completed", "usage_bytes": len(file.content), "last_error": None,
            "attributes": members.get("attributes"), "chunking_strategy": _CHUNKING,
        }  # fmt: skip
        self.objects.store(MockObject(about, file.content), id_within(store, about["id"]))
        return about

    def _count(self, store: dict[str, Any]) -> dict[str, Any]:
        """Return the vector store with the count of its files."""
        files = self.objects.all_within(store["id"])
        store.update(file_counts=_counts(len(files)), usage_bytes=sum(len(file.content) for file in files))
        return store


def _counts(completed: int) -> dict[str, int]:
    return {"in_progress": 0, "completed": completed, "failed": 0, "cancelled": 0, "total": completed}
