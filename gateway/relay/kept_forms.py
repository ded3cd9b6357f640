"""The forms of three APIs with files, as data: which members are ids, and the form of lists.

OpenAI's, Anthropic's (lists have cursors with the beta header of 2025, pages without) and Gemini's are all at
``/v1/files``; the client's headers decide (anthropics/anthropic-sdk-python, google-genai 3.4)."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import msgspec

from gateway.http.headers import Headers
from gateway.kept_objects.id_texts import IdPlaces
from gateway.kept_objects.inventory import Collection, KeptObject, ListRequest, ObjectPage
from gateway.kept_objects.owned_ids import OPENAI
from providers.endpoints.endpoint import EndpointName
from streams.errors import invalid
from streams.events import Api

FILES_BETA: Final = "files-api-2025-04-14"

ASKED: Final = IdPlaces(
    frozenset(
        (
            "file_id", "file_ids", "input_file_id", "vector_store_id", "vector_store_ids", "container", "container_id",
            "upload_id", "part_ids", "batch_id",
        )
    ),
    ends=frozenset((("container", "id"),)),
)  # fmt: skip
"""Positions of ids in requests, conversations included."""

TOLD: Final = IdPlaces(
    frozenset(
        (
            "file_id", "file_ids", "input_file_id", "output_file_id", "error_file_id", "vector_store_id",
            "vector_store_ids", "container_id", "upload_id", "batch_id", "first_id", "last_id",
        )
    ),
    frozenset((("id",), ("data", "id"), ("file", "id"))),
)  # fmt: skip
"""Positions of ids in stored objects and lists."""

GOOGLES: Final = IdPlaces(
    paths=frozenset((("name",), ("file", "name"), ("files", "name"))),
    addresses=frozenset(("uri", "downloaduri")),
)  # fmt: skip
"""The same for Gemini."""

GOOGLES_ASKED: Final = IdPlaces(addresses=frozenset(("fileuri", "file_uri")))


@attrs.frozen
class KeptForm:
    """The form of an API with stored objects.

    ``shapes`` are those of endpoints that speak it, ``collections`` the names of its lists. ``asked`` and ``told``
    are positions of ids in requests and responses. ``before_id`` precedes an id in paths, ``id_member`` is an
    object's id."""

    shapes: frozenset[str]
    collections: Mapping[EndpointName, Collection]
    asked: IdPlaces
    told: IdPlaces
    before_id: str = ""
    id_member: str = "id"


FORMS: Final[Mapping[Api, KeptForm]] = {
    "chat": KeptForm(
        OPENAI,
        {
            "files": "files", "vector_stores": "vector_stores", "containers": "containers", "batches": "batches",
            "videos": "videos",
        },
        ASKED, TOLD,
    ),
    "messages": KeptForm(
        frozenset(("anthropic",)), {"files": "messages files", "message_batches": "message_batches"}, ASKED, TOLD
    ),
    "gemini": KeptForm(
        frozenset(("gemini",)), {"files": "gemini files"}, GOOGLES_ASKED, GOOGLES, "files/", "name"
    ),
}  # fmt: skip


def list_asked(
    api: Api, collection: Collection, query: Mapping[str, str], headers: Headers
) -> tuple[ListRequest, Callable[[ObjectPage], bytes]]:
    """Return the client's list request, and the function that formats its page. Raises ``GatewayError`` (400)."""
    if api == "gemini":
        wanted = ListRequest(collection, _limit(query, "pageSize", 10, 100), after=query.get("pageToken") or None)
        return wanted, _googles
    if api == "messages":
        limit = _limit(query, "limit", 20, 1000)
        betas = {beta.strip() for name, value in headers if name == "anthropic-beta" for beta in value.split(",")}
        if FILES_BETA in betas or collection != "messages files":
            after, before = query.get("after_id"), query.get("before_id")
            return ListRequest(collection, limit, after=after or None, before=before or None), _with_cursors
        return ListRequest(collection, limit, after=query.get("page") or None), _with_pages
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise invalid("order must be asc or desc", "order")
    limit = _limit(query, "limit", 10_000 if collection == "files" else 20, 10_000 if collection == "files" else 100)
    return (
        ListRequest(
            collection, limit, "asc" if order == "asc" else "desc", query.get("after") or None,
            query.get("before") or None, _of_purpose(query.get("purpose")),
        ),
        lambda page: _encoded({"object": "list", **_cursors(page)}),
    )  # fmt: skip


def _limit(query: Mapping[str, str], name: str, usual: int, most: int) -> int:
    text = query.get(name, str(usual))
    if not (text.isascii() and text.isdecimal()) or not 1 <= (number := int(text[:9])) <= most:
        raise invalid(f"{name} must be a number from 1 to {most}", name)
    return number


def _of_purpose(purpose: str | None) -> Callable[[KeptObject], bool]:
    return lambda kept: not purpose or kept.value.get("purpose") == purpose


def _cursors(page: ObjectPage) -> dict[str, Any]:
    ids = [kept.id for kept in page.objects]
    return {
        "data": [msgspec.Raw(kept.body) for kept in page.objects],
        "first_id": ids[0] if ids else None,
        "last_id": ids[-1] if ids else None,
        "has_more": page.more,
    }


def _with_cursors(page: ObjectPage) -> bytes:
    return _encoded(_cursors(page))


def _with_pages(page: ObjectPage) -> bytes:
    next_page = page.objects[-1].id if page.more else None
    return _encoded({"data": [msgspec.Raw(kept.body) for kept in page.objects], "next_page": next_page})


def _googles(page: ObjectPage) -> bytes:
    more = {"nextPageToken": page.objects[-1].id} if page.more else {}
    return _encoded({"files": [msgspec.Raw(kept.body) for kept in page.objects], **more})


def _encoded(value: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(value)
