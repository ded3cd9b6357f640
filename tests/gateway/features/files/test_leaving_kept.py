"""A client leaves while a provider creates an object for it. If the provider does not have the request yet, no object
is created; otherwise the object is in its owner's list. This is the same for all kinds of objects."""

import contextlib
from collections.abc import AsyncIterator, Callable
from json import dumps
from typing import Any

import attrs
import pytest
import trio

from gateway.upstream.request import UpstreamRequest
from tests.support.asgi_app import eventually
from tests.support.each_row import each_row
from tests.support.features import members_of
from tests.support.kept_clients import CLIENTS, KEYS, Served, run, serving
from tests.support.multipart import KIND, multipart, part

PLAIN = part("file", b"words", "a.txt")
LINE = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-5", "messages": []}}
LINES = part("file", dumps(LINE).encode(), "b.jsonl")
ANTHROPIC = {"anthropic-version": "2023-06-01"}
MESSAGE = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
FINAL = {"x-goog-upload-command": "upload, finalize", "x-goog-upload-offset": "0"}


@attrs.frozen
class Made:
    """A way to create an object: the request, and the list in which its owner then finds the object. ``before`` creates
    the objects that the request needs, and returns the path of the request."""

    provider: str
    path: str
    list: str
    content: bytes = b""
    headers: dict[str, str] = attrs.field(factory=dict)
    json: Any = None
    before: Callable[[Served], tuple[str, Any]] | None = None
    listed: str = "data"

    @property
    def list_headers(self) -> dict[str, str]:
        return ANTHROPIC if self.provider == "anthropic" else {}


def batch(served: Served) -> tuple[str, Any]:
    file = served.openai().files.create(file=("b.jsonl", dumps(LINE).encode()), purpose="batch")
    return "/v1/batches", {"input_file_id": file.id, "endpoint": LINE["url"], "completion_window": "24h"}


def completed_upload(served: Served) -> tuple[str, Any]:
    upload = served.openai().uploads.create(bytes=5, filename="a", mime_type="text/plain", purpose="assistants")
    part_ids = [served.openai().uploads.parts.create(upload.id, data=b"words").id]
    return f"/v1/uploads/{upload.id}/complete", {"part_ids": part_ids}


def finished_upload(served: Served) -> tuple[str, Any]:
    start = {"x-goog-upload-command": "start", "x-goog-upload-protocol": "resumable"}
    found = served.http("POST", "/upload/v1beta/files", headers=start, json={"file": {}})
    return found.headers["x-goog-upload-url"], None


def video(served: Served) -> str:
    return str(served.http("POST", "/v1/videos", json={"model": "gpt-5", "prompt": "a cat"}).json()["id"])


def remix(served: Served) -> tuple[str, Any]:
    return f"/v1/videos/{video(served)}/remix", {"prompt": "a dog"}


MAKING = {
    "a file": Made("openai", "/v1/files", "/v1/files", multipart([part("purpose", b"user_data"), PLAIN]),
                   {"content-type": KIND}),
    "a file for batches": Made("openai", "/v1/files", "/v1/files", multipart([part("purpose", b"batch"), LINES]),
                               {"content-type": KIND}),
    "a file of parts": Made("openai", "", "/v1/files", before=completed_upload),
    "a vector store": Made("openai", "/v1/vector_stores", "/v1/vector_stores", json={"name": "s"}),
    "a container": Made("openai", "/v1/containers", "/v1/containers", json={"name": "c"}),
    "a batch": Made("openai", "", "/v1/batches", before=batch),
    "a video": Made("litellm", "/v1/videos", "/v1/videos", json={"model": "gpt-5", "prompt": "a cat"}),
    "a video of a form": Made("litellm", "/v1/videos", "/v1/videos",
                              multipart([part("model", b"gpt-5"), part("input_reference", b"png", "a.png")]),
                              {"content-type": KIND}),
    "a remix of a video": Made("litellm", "", "/v1/videos", before=remix),
    "a file of Anthropic's": Made("anthropic", "/v1/files", "/v1/files", multipart([PLAIN]),
                                  {"content-type": KIND, **ANTHROPIC}),
    "a batch of Anthropic's": Made("anthropic", "/v1/messages/batches", "/v1/messages/batches", headers=ANTHROPIC,
                                   json={"requests": [{"custom_id": "a", "params": MESSAGE}]}),
    "a file of Gemini's": Made("gemini", "", "/v1beta/files", b"words", FINAL, before=finished_upload, listed="files"),
}  # fmt: skip


@pytest.fixture(params=MAKING)
def making(request) -> Made:
    return MAKING[request.param]


def request_bytes(
    served: Served, method: str, path: str, headers: dict[str, str], content: bytes = b"", json: Any = None
) -> bytes:
    """Return the bytes of a request by client a."""
    if json is not None:
        headers, content = {**headers, "content-type": "application/json"}, dumps(json).encode()
    headers = {"host": served.url.removeprefix("http://"), "authorization": f"Bearer {KEYS['a']}", **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    target = path.removeprefix(served.url)
    return f"{method} {target} HTTP/1.1\r\n{lines}content-length: {len(content)}\r\n\r\n".encode() + content


@contextlib.asynccontextmanager
async def leaving(served: Served, data: bytes) -> AsyncIterator[None]:
    """Connect a client that sends ``data``, and leaves at the end of the block."""
    async with await trio.open_tcp_stream("127.0.0.1", int(served.url.rpartition(":")[2])) as stream:
        await stream.send_all(data)
        yield


async def begin(served: Served, making: Made) -> tuple[str, dict[str, Any]]:
    """Create the objects that the request needs, and return its path and content."""
    path, content = making.path, making.json
    if making.before is not None:
        path, content = await run(lambda: making.before(served))
    body = {"content": making.content} if content is None else {"json": content}
    return path, {"headers": making.headers, **body}


async def list_objects(served: Served, making: Made) -> list[Any]:
    found = await run(lambda: served.http("GET", making.list, headers=making.list_headers))
    assert found.status_code == 200, found.text
    return list(found.json().get(making.listed, []))


async def all_over(served: Served) -> None:
    """Wait until no request is left at the gateway."""
    service = served.gateway.service
    await eventually(lambda: not service.ledger.open_records and not service.upstream.stats().active)


async def wait_until_gone(served: Served) -> None:
    """Wait until the gateway knows that the client has left."""
    await eventually(lambda: all(one.abandoned for one in served.gateway.service.ledger.open_records))


CACHING = [{**one, **members_of("answer_cache", cache={"ttl": "1h"})} for one in CLIENTS]


@pytest.mark.parametrize("clients", [CLIENTS, CACHING], ids=["plain", "with a cache of answers"])
async def test_an_object_is_in_its_owners_list_even_if_its_client_left_before_the_response(making, clients):
    async with serving(making.provider, clients=clients) as served:
        path, request = await begin(served, making)
        provider, known = served.providers[making.provider], await list_objects(served, making)
        provider.gate, calls = trio.Event(), len(provider.asked)
        async with leaving(served, request_bytes(served, "POST", path, **request)):
            await eventually(lambda: len(provider.asked) > calls)
        await wait_until_gone(served)
        provider.gate.set()
        await all_over(served)
        (made,) = [one for one in await list_objects(served, making) if one not in known]
        id = made["name" if making.listed == "files" else "id"].removeprefix("files/")
        found = await run(lambda: served.http("GET", f"{making.list}/{id}", headers=making.list_headers))
        assert found.status_code == 200
        other = await run(lambda: served.http("GET", f"{making.list}/{id}", KEYS["b"], headers=making.list_headers))
        assert other.status_code == 404


@contextlib.asynccontextmanager
async def no_connection_free(served: Served) -> AsyncIterator[None]:
    """Keep the only connection to providers busy with an unanswered request while the block runs."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    silent = UpstreamRequest("GET", f"http://127.0.0.1:{listener.socket.getsockname()[1]}/")
    upstream = served.gateway.service.upstream
    async with listener, trio.open_nursery() as nursery:
        await eventually(lambda: not upstream.stats().active)
        nursery.start_soon(upstream.send, silent)
        await eventually(lambda: upstream.stats().active == 1)
        yield
        nursery.cancel_scope.cancel()


async def test_no_object_is_created_for_a_client_that_left_early(making):
    async with serving(making.provider, limits={"upstream_connections": 1}) as served:
        path, request = await begin(served, making)
        provider, known = served.providers[making.provider], await list_objects(served, making)
        calls, stats = len(provider.asked), served.gateway.service.upstream.stats
        async with no_connection_free(served):
            async with leaving(served, request_bytes(served, "POST", path, **request)):
                await eventually(lambda: stats().queued == 1)
            await eventually(lambda: stats().queued == 0)
        await all_over(served)
        assert len(provider.asked) == calls
        assert await list_objects(served, making) == known


@each_row("name", [name for name, one in MAKING.items() if KIND in one.headers.values()])
async def test_no_object_is_created_from_an_incomplete_upload(name):
    making = MAKING[name]
    async with serving(making.provider) as served:
        provider = served.providers[making.provider]
        whole = request_bytes(served, "POST", making.path, making.headers, making.content)
        for missing in (1, len(making.content) // 2, len(making.content)):
            async with leaving(served, whole[:-missing]):
                await eventually(lambda: bool(served.gateway.service.ledger.open_records))
            await all_over(served)
        assert provider.asked == []
        assert await list_objects(served, making) == []


DELETED = sorted({(one.provider, one.list): name for name, one in MAKING.items() if name != "a batch"}.values())
"""One kind of object for each list; OpenAI's batches cannot be deleted."""


@each_row("name", DELETED, every=3)
async def test_a_deleted_object_is_not_in_the_list_even_if_its_client_left_during_the_deletion(name):
    making = MAKING[name]
    async with serving(making.provider) as served:
        path, request = await begin(served, making)
        provider, known = served.providers[making.provider], await list_objects(served, making)
        await run(lambda: served.http("POST", path, **request))
        (made,) = [one for one in await list_objects(served, making) if one not in known]
        id = made["name" if making.listed == "files" else "id"].removeprefix("files/")
        provider.gate, calls = trio.Event(), len(provider.asked)
        async with leaving(served, request_bytes(served, "DELETE", f"{making.list}/{id}", making.list_headers)):
            await eventually(lambda: len(provider.asked) > calls)
        await wait_until_gone(served)
        provider.gate.set()
        await all_over(served)
        assert await list_objects(served, making) == known


async def test_requests_that_change_nothing_end_with_their_client():
    """For example, a search in a vector store, or a request for an existing object."""
    async with serving("openai") as served:
        provider, client = served.providers["openai"], served.openai()
        store = await run(lambda: client.vector_stores.create(name="s"))
        await run(lambda: client.files.create(file=("a.txt", b"words"), purpose="assistants"))
        provider.gate = trio.Event()
        for method, path, request in (
            ("POST", f"/v1/vector_stores/{store.id}/search", {"json": {"query": "x"}}),
            ("GET", f"/v1/vector_stores/{store.id}", {}),
        ):
            calls = len(provider.asked)
            async with leaving(served, request_bytes(served, method, path, {}, **request)):
                await eventually(lambda calls=calls: len(provider.asked) > calls)
            await all_over(served)
