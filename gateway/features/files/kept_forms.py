"""The forms of OpenAI's, Anthropic's and Gemini's stored objects, as data: positions of ids, and forms of lists.

All three APIs have their files at ``/v1/files``, so the client's headers select the form. Anthropic's lists have
cursors with the beta header of 2025, otherwise pages (anthropics/anthropic-sdk-python, google-genai 3.4)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import msgspec

from gateway.http.headers import Headers
from gateway.kept_objects.id_texts import IdPlaces
from gateway.kept_objects.inventory import Collection, KeptObject, ListRequest, ObjectPage
from gateway.kept_objects.owned_ids import OPENAI_SHAPES
from providers.endpoints.endpoint import EndpointName
from streams.errors import invalid
from streams.events import Api

FILES_BETA: Final = "files-api-2025-04-14"

REQUEST_IDS: Final = IdPlaces(
    frozenset(
        (
            "file_id", "file_ids", "input_file_id", "input_file_ids", "input_files", "vector_store_id",
            "vector_store_ids", "container", "container_id", "upload_id", "part_ids", "batch_id",
        )
    ),
    ends=frozenset((("container", "id"),)),
)  # fmt: skip
"""Positions of ids in requests, conversations included."""

RESPONSE_IDS: Final = IdPlaces(
    frozenset(
        (
            "file_id", "file_ids", "input_file_id", "input_file_ids", "input_files", "output_file_id", "output_file",
            "error_file_id", "error_file", "vector_store_id", "vector_store_ids", "container_id", "upload_id",
            "batch_id", "first_id", "last_id",
        )
    ),
    frozenset((("id",), ("data", "id"), ("file", "id"))),
)  # fmt: skip
"""Positions of ids in stored objects and lists."""

GEMINI_RESPONSE_IDS: Final = IdPlaces(
    paths=frozenset((("name",), ("file", "name"), ("files", "name"))),
    addresses=frozenset(("uri", "downloaduri")),
)  # fmt: skip
"""Positions of ids in Gemini's stored objects and lists."""

GEMINI_REQUEST_IDS: Final = IdPlaces(addresses=frozenset(("fileuri", "file_uri")))


@attrs.frozen
class KeptForm:
    """The form of stored objects in one API.

    ``shapes`` are the shapes of its endpoints, ``collections`` the inventory's collections of its lists.
    ``request_ids`` and ``response_ids`` are positions of ids. ``before_id`` precedes an id in paths; ``id_member``
    is the member with an object's id."""

    shapes: frozenset[str]
    collections: Mapping[EndpointName, Collection]
    request_ids: IdPlaces
    response_ids: IdPlaces
    before_id: str = ""
    id_member: str = "id"


FORMS: Final[Mapping[Api, KeptForm]] = {
    "chat": KeptForm(
        OPENAI_SHAPES,
        {
            "files": "files", "vector_stores": "vector_stores", "containers": "containers", "batches": "batches",
            "videos": "videos",
        },
        REQUEST_IDS, RESPONSE_IDS,
    ),
    "messages": KeptForm(
        frozenset(("anthropic",)), {"files": "messages files", "message_batches": "message_batches"}, REQUEST_IDS,
        RESPONSE_IDS,
    ),
    "gemini": KeptForm(
        frozenset(("gemini",)), {"files": "gemini files"}, GEMINI_REQUEST_IDS, GEMINI_RESPONSE_IDS, "files/", "name"
    ),
}  # fmt: skip


def read_list_request(
    api: Api, collection: Collection, query: Mapping[str, str], headers: Headers
) -> tuple[ListRequest, Callable[[ObjectPage], bytes]]:
    """Read a request for a list; return it with the function that formats its page. Raises ``GatewayError`` (400)."""
    if api == "gemini":
        wanted = ListRequest(collection, _read_limit(query, "pageSize", 10, 100), after=query.get("pageToken") or None)
        return wanted, _gemini_list
    if api == "messages":
        limit = _read_limit(query, "limit", 20, 1000)
        betas = {beta.strip() for name, value in headers if name == "anthropic-beta" for beta in value.split(",")}
        if FILES_BETA in betas or collection != "messages files":
            after, before = query.get("after_id"), query.get("before_id")
            return ListRequest(collection, limit, after=after or None, before=before or None), _anthropic_cursor_list
        return ListRequest(collection, limit, after=query.get("page") or None), _anthropic_page_list
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid("order must be asc or desc", "order")
    limit = _read_limit(
        query, "limit", 10_000 if collection == "files" else 20, 10_000 if collection == "files" else 100
    )
    return (
        ListRequest(
            collection, limit, "asc" if order == "asc" else "desc", query.get("after") or None,
            query.get("before") or None, _purpose_filter(query.get("purpose")),
        ),
        lambda page: msgspec.json.encode({"object": "list", **_list_members(page)}),
    )  # fmt: skip


def _read_limit(query: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or not 1 <= (number := int(text[:9])) <= maximum:
        raise invalid(f"{name} must be a number from 1 to {maximum}", name)
    return number


def _purpose_filter(purpose: str | None) -> Callable[[KeptObject], bool]:
    return lambda kept: not purpose or kept.value.get("purpose") == purpose


def _list_members(page: ObjectPage) -> dict[str, Any]:
    ids = [kept.id for kept in page.objects]
    return {
        "data": [msgspec.Raw(kept.body) for kept in page.objects],
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": page.more,
    }


def _anthropic_cursor_list(page: ObjectPage) -> bytes:
    return msgspec.json.encode(_list_members(page))


def _anthropic_page_list(page: ObjectPage) -> bytes:
    next_page = page.objects[-1].id if page.more else None
    return msgspec.json.encode({"data": [msgspec.Raw(kept.body) for kept in page.objects], "next_page": next_page})


def _gemini_list(page: ObjectPage) -> bytes:
    more = {"nextPageToken": page.objects[-1].id} if page.more else {}
    return msgspec.json.encode({"files": [msgspec.Raw(kept.body) for kept in page.objects], **more})
