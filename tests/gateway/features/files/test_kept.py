"""Files and other stored objects of providers, with the official SDKs: their owner, their provider and their form."""

import json
from typing import Any

import httpx2

from tests.support.endpoint_provider import endpoint_provider, settings
from tests.support.in_process import gateway
from tests.support.kept_clients import CLIENTS, KEYS, NO_TLS, Served, error_of, run, serving, with_gateway
from tests.support.kept_provider import KeptProvider, form


@with_gateway("openai")
def test_a_file_can_be_uploaded_and_read_by_its_owner_only(served):
    provider = served.providers["openai"]
    mine, other = served.openai(), served.openai(KEYS["b"])
    made = mine.files.create(file=("a.jsonl", b'{"id": "file-1"}'), purpose="user_data", expires_after={
        "anchor": "created_at", "seconds": 3600})  # fmt: skip
    (asked,) = provider.asked
    assert asked.headers["authorization"] == "Bearer sk-of-openai-account"
    assert form(asked)["file"] == ("a.jsonl", b'{"id": "file-1"}')
    assert form(asked)["expires_after[anchor]"] == (None, b"created_at")
    (native,) = provider.kept
    assert made.id.startswith("file-T")
    assert made.id.endswith(native.removeprefix("file-"))
    assert mine.files.retrieve(made.id).filename == "a.jsonl"
    assert mine.files.content(made.id).content == b'{"id": "file-1"}', "what is in a file is nobody's to change"
    with mine.files.with_streaming_response.content(made.id, extra_headers={"range": "bytes=1-4"}) as part:
        assert part.status_code == 206
        assert part.headers["content-range"] == "bytes 1-4/16"
        assert part.headers["content-disposition"] == 'attachment; filename="a.jsonl"'
        assert part.headers["etag"] == '"abc"'
        assert part.headers["content-length"] == "4"
        assert part.read() == b'"id"'
    assert [one.id for one in mine.files.list()] == [made.id]
    assert list(other.files.list()) == []
    calls = len(provider.asked)
    for id in (made.id, native, made.id[:-1] + "x", "file-of-nobody"):
        for ask in (other.files.retrieve, other.files.content, other.files.delete):
            found = error_of(lambda ask=ask, id=id: ask(id))
            assert found.status_code == 404, (id, ask)
            assert found.body["message"].replace(id, "ID").replace("/content", "") == (
                "there is no object at /v1/files/ID: it does not exist, or another key created it"
            )
    assert len(provider.asked) == calls, "nobody asks a provider for what is not his"
    assert mine.files.delete(made.id).id == made.id
    assert list(mine.files.list()) == []
    gone = error_of(lambda: mine.files.retrieve(made.id))
    assert gone.status_code == 404
    assert gone.body["message"].startswith(f"there is no object at /v1/files/{made.id}: it does not exist")


async def test_a_list_and_its_cursors_contain_only_the_owners_objects():
    async with serving("openai") as served:

        def steps() -> None:
            mine, other = served.openai(), served.openai(KEYS["b"])
            ids = [
                mine.files.create(file=(f"{n}", b"x"), purpose="user_data" if n % 2 else "vision").id for n in range(5)
            ]
            theirs = other.files.create(file=("x", b"x"), purpose="user_data").id
            assert [one.id for one in mine.files.list(limit=2)] == ids[::-1], "page after page"
            assert [one.id for one in mine.files.list(order="asc")] == ids
            assert [one.id for one in mine.files.list(purpose="user_data")] == [ids[3], ids[1]]
            assert error_of(lambda: mine.files.list(after=theirs)).status_code == 404
            assert error_of(lambda: mine.files.list(limit=0)).status_code == 400
            empty = served.http("GET", "/v1/files?purpose=vision", KEYS["b"]).json()
            assert empty == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}

        await run(steps)
        *_, bad, last = await served.lines.next(6 + 3 + 1 + 1 + 2 + 1)
        assert (bad["status"], bad["ended"]) == (400, "refused")
        assert (last["status"], last["ended"]) == (200, "complete"), "nobody was asked, and the list is whole"


@with_gateway("openai")
def test_uploads_vector_stores_and_containers_have_tagged_ids_everywhere(served):
    provider = served.providers["openai"]
    mine, other = served.openai(), served.openai(KEYS["b"])
    begun = mine.uploads.create(bytes=4, filename="a", mime_type="text/plain", purpose="user_data")
    parts = [mine.uploads.parts.create(begun.id, data=b"ab").id for _ in range(2)]
    done = mine.uploads.complete(begun.id, part_ids=parts)
    sent = json.loads(provider.asked[-1].body)
    assert set(sent["part_ids"]) <= set(provider.kept)
    assert mine.files.retrieve(done.file.id).id == done.file.id
    assert [one.id for one in mine.files.list()] == [done.file.id]
    theirs = other.files.create(file=("x", b"x"), purpose="user_data").id
    calls = len(provider.asked)
    for make in (
        lambda: mine.vector_stores.create(file_ids=[done.file.id, theirs]),
        lambda: mine.vector_stores.create(extra_body={"file\u005fids": ["file-1"], "name": "x"}),
        lambda: mine.containers.create(name="x", file_ids=[theirs]),
    ):
        assert error_of(make).status_code == 404
    assert len(provider.asked) == calls
    store = mine.vector_stores.create(file_ids=[done.file.id], metadata={"file_id": "mine"})
    assert json.loads(provider.asked[-1].body)["file_ids"][0] in provider.kept
    assert store.metadata == {"file_id": "mine"}
    added = mine.vector_stores.files.create(store.id, file_id=done.file.id)
    assert (added.id, added.vector_store_id) == (done.file.id, store.id)
    within = list(mine.vector_stores.files.list(store.id, after=done.file.id))
    assert "after=file-T" not in provider.asked[-1].path
    assert {one.vector_store_id for one in within} == {store.id}
    (hit,) = mine.vector_stores.search(store.id, query="x")
    assert hit.file_id == done.file.id
    assert hit.attributes == {"file_id": "mine"}
    assert error_of(lambda: other.vector_stores.search(store.id, query="x")).status_code == 404
    assert [one.id for one in mine.vector_stores.list()] == [store.id]
    box = mine.containers.create(name="x", file_ids=[done.file.id])
    assert mine.containers.retrieve(box.id).id == box.id
    assert error_of(lambda: other.containers.delete(box.id)).status_code == 404
    told = json.dumps([one.to_dict() for one in (begun, done, store, added, hit, box)])
    assert not any(f'"{native}"' in told for native in provider.kept)


@with_gateway("openai:one", "openai:two", clients=())
def test_with_several_providers_a_header_or_an_id_selects_one(served):
    client = served.openai("none")
    found = error_of(lambda: client.files.create(file=("a", b"x"), purpose="user_data"))
    assert found.status_code == 400
    assert "x-trigate-provider" in found.body["message"]
    assert "one, two" in found.body["message"]
    first = client.files.create(file=("a", b"x"), purpose="user_data", extra_headers={"x-trigate-provider": "one"})
    second = client.files.create(file=("b", b"x"), purpose="user_data", extra_query={"provider": "two"})
    assert "provider" not in served.providers["two"].asked[0].path
    assert [len(one.kept) for one in served.providers.values()] == [1, 1]
    assert client.files.retrieve(second.id).filename == "b"
    assert [one.id for one in client.files.list()] == [second.id, first.id]
    assert [one.id for one in client.files.list(extra_query={"provider": "one"})] == [first.id]
    both = error_of(lambda: client.vector_stores.create(file_ids=[first.id, second.id]))
    assert both.status_code == 400
    assert "is stored at one" in both.body["message"]
    assert client.vector_stores.create(file_ids=[second.id]).id.startswith("vs_T")
    (native,) = [id for id in served.providers["one"].kept if id.startswith("file")]
    assert error_of(lambda: client.files.retrieve(native)).status_code == 404


@with_gateway("openai", "anthropic", clients=())
def test_with_one_owner_and_account_native_ids_are_used(served):
    client = served.openai("none")
    made = client.files.create(file=("a", b"x"), purpose="user_data")
    assert list(served.providers["openai"].kept) == [made.id]
    assert client.files.retrieve(made.id).id == made.id
    assert [one.id for one in client.files.list()] == [made.id]
    assert served.providers["openai"].asked[-1].path == "/v1/files"
    found = error_of(lambda: client.files.retrieve("file-unknown"))
    assert found.status_code == 404
    assert "No such File object: file-unknown" in str(found.body)


@with_gateway("openai")
def test_a_key_for_foreign_ids_sees_what_the_account_has(served):
    client = served.openai(KEYS["c"])
    theirs = served.openai().files.create(file=("a", b"x"), purpose="user_data").id
    (native,) = served.providers["openai"].kept
    assert client.files.retrieve(native).id == native
    assert [one.id for one in client.files.list()] == [native]
    assert error_of(lambda: client.files.retrieve(theirs)).status_code == 404


@with_gateway("openai", "anthropic")
def test_anthropics_files_have_two_forms_and_the_client_says_which(served):
    provider = served.providers["anthropic"]
    mine = served.anthropic()
    made = [mine.files.upload(file=(f"{n}", b"x", "text/plain")) for n in range(3)]
    assert provider.asked[0].headers["x-api-key"] == "sk-of-anthropic-account"
    assert "anthropic-beta" not in provider.asked[0].headers
    assert all(one.id.startswith("file_T") for one in made)
    assert [one.id for one in mine.files.list(limit=2)] == [one.id for one in made[::-1]]
    assert mine.files.retrieve_metadata(made[0].id).filename == "0"
    assert mine.files.download(made[0].id).read() == b"x"
    assert mine.files.delete(made[0].id).id == made[0].id
    page = served.http("GET", "/v1/files?limit=1", headers={"anthropic-version": "2023-06-01"}).json()
    assert page.keys() == {"data", "next_page"}
    assert page["next_page"] == made[2].id
    old = {"anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14"}
    first = served.http("GET", "/v1/files?limit=1", headers=old).json()
    assert (first["first_id"], first["last_id"], first["has_more"]) == (made[2].id, made[2].id, True)
    rest = served.http("GET", f"/v1/files?after_id={made[2].id}", headers=old).json()
    assert ([one["id"] for one in rest["data"]], rest["has_more"]) == ([made[1].id], False)
    up = mine.beta.files.upload(file=("b", b"x", "text/plain"), betas=["files-api-2025-04-14"])
    assert provider.asked[-1].headers["anthropic-beta"] == "files-api-2025-04-14"
    found = error_of(lambda: served.anthropic(KEYS["b"]).files.retrieve_metadata(up.id))
    assert found.status_code == 404
    assert found.body["error"]["type"] == "not_found_error"
    assert list(served.openai().files.list()) == [], "these are another API's"


@with_gateway("gemini")
def test_googles_upload_stays_with_the_gateway_and_needs_no_key_on_the_way(served):
    provider = served.providers["gemini"]

    def ask(method: str, path: str, key: str = KEYS["a"], **more: Any) -> httpx2.Response:
        headers = {"x-goog-api-key": key, **more.pop("headers", {})}
        return served.http(method, path, None, headers=headers, **more)

    begun = ask(
        "POST", "/upload/v1beta/files", json={"file": {"displayName": "a"}},
        headers={"x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start"},
    )  # fmt: skip
    assert begun.status_code == 200, begun.text
    address = begun.headers["x-goog-upload-url"]
    assert address.startswith(f"{served.url}/upload/")
    assert provider.url not in str(begun.headers)
    for offset, command in ((0, "upload"), (3, "upload, finalize")):
        headers = {"x-goog-upload-command": command, "x-goog-upload-offset": str(offset)}
        step = served.http("POST", address, None, content=b"abc", headers=headers)
        assert step.status_code == 200, step.text
        assert step.headers["x-goog-upload-status"] == ("final" if offset else "active")
    for wrong in (address[:-1] + ("A" if address[-1] != "A" else "Q"), "/upload/v1/files"):
        answer = served.http("POST", wrong, None, content=b"abc", headers=headers)
        assert answer.status_code in (401, 404), answer.text
    assert provider.asked[1].headers["x-goog-api-key"] == "sk-of-gemini-account"
    file = step.json()["file"]
    assert file["name"].startswith("files/T")
    assert file["uri"] == f"{served.url}/v1beta/{file['name']}"
    assert provider.contents == {"files/01abc": b"abcabc"}
    assert ask("GET", f"/v1beta/{file['name']}").json()["name"] == file["name"]
    assert ask("GET", f"/v1/{file['name']}").json()["name"] == file["name"]
    assert ask("GET", f"/v1beta/{file['name']}:download?alt=media").content == b"abcabc"
    assert ask("GET", "/v1/files").json() == {"files": [file]}
    gone = ask("GET", f"/v1beta/{file['name']}", KEYS["b"])
    assert gone.status_code == 404
    assert gone.json()["error"]["status"] == "NOT_FOUND"
    assert ask("DELETE", f"/v1beta/{file['name']}").status_code == 200
    assert ask("GET", "/v1/files").json() == {"files": []}


@with_gateway("gemini")
def test_an_upload_to_another_address_is_a_failure_of_the_provider(served):
    headers = {
        "x-goog-api-key": KEYS["a"], "x-goog-upload-protocol": "resumable", "x-goog-upload-command": "start",
    }  # fmt: skip
    for url in ("https://elsewhere.example/upload/v1beta/files?upload_id=1", "https://[x/upload/v1beta/files"):
        served.providers["gemini"].upload_url = url
        begun = served.http("POST", "/upload/v1beta/files", None, json={"file": {}}, headers=headers)
        assert begun.status_code == 502, url
        assert "which must not get the key: nothing was uploaded" in begun.json()["error"]["message"], url
        assert "x-goog-upload-url" not in begun.headers, url


@with_gateway(
    "openai",
    "anthropic",
    clients=[{**CLIENTS[0], "models": ["anthropic/claude-x"]}, {**CLIENTS[1], "only": ["openai/*"]}],
)
def test_a_key_for_other_models_only_uses_no_account(served):
    found = error_of(lambda: served.openai().files.create(file=("a", b"x"), purpose="user_data"))
    assert (found.status_code, found.code) == (400, "unsupported_endpoint")
    assert "supports files in the form of OpenAI's API; `trigate check --endpoints` lists" in found.message
    assert served.openai(KEYS["b"]).files.create(file=("a", b"x"), purpose="user_data").id
    outside = error_of(lambda: served.anthropic(KEYS["b"]).beta.files.upload(file=("a", b"x")))
    assert outside.status_code == 400
    assert served.providers["anthropic"].asked == []


async def test_ids_outlive_a_restart(tmp_path):
    storage = {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}
    keeping = KeptProvider()
    async with endpoint_provider(keeping) as provider:
        entry = {"model": "openai/gpt-5", "access_key": "sk-of-the-account", "base_url": f"{provider.url}/v1"}
        config = settings(entry, client_keys=CLIENTS, state_storage=storage)
        with httpx2.Client(trust_env=False, timeout=10, verify=NO_TLS) as plain:
            async with gateway(config) as first:
                client = Served(first, {}, plain).openai()
                id = (await run(lambda: client.files.create(file=("a", b"x"), purpose="user_data"))).id
            async with gateway(config) as second:
                client = Served(second, {}, plain).openai()
                assert (await run(lambda: client.files.retrieve(id))).id == id
                assert [one.id for one in await run(lambda: list(client.files.list()))] == [id]


@with_gateway("openai", clients=())
def test_a_path_cannot_lead_to_another_endpoint(served):
    for path in ("/v1/files/..", "/v1/files/%2e%2e", "/v1/files/a%2Fb", "/v1/files/%2e%2e%2fmodels"):
        answer = served.http("GET", path)
        assert answer.status_code in (400, 404), (path, answer.text)
    assert served.providers["openai"].asked == []


@with_gateway("openai")
def test_an_id_in_a_form_works_only_for_its_owner(served):
    provider = served.providers["openai"]
    mine, other = served.openai(), served.openai(KEYS["b"])
    box = mine.containers.create(name="x").id
    file = mine.files.create(file=("a", b"x"), purpose="user_data").id
    theirs = other.files.create(file=("b", b"x"), purpose="user_data").id
    native = next(id for id in provider.kept if id.startswith("file-"))

    def add(id: str) -> httpx2.Response:
        return served.http("POST", f"/v1/containers/{box}/files", files={"file_id": (None, id)})

    add(file)
    assert form(provider.asked[-1])["file_id"] == (None, native.encode())
    assert "/containers/cntr_" in provider.asked[-1].path
    for id in (theirs, native, "x" * 2000):
        assert add(id).status_code in (400, 404), id
        assert all(form(one).get("file_id") in (None, (None, native.encode())) for one in provider.asked
                   if one.headers.get("content-type", "").startswith("multipart/"))  # fmt: skip


async def test_the_entry_of_an_account_with_the_endpoint_is_used():
    """Entries with the same provider, address and key are one account, whichever of them has the files endpoint."""
    keeping = KeptProvider()
    async with endpoint_provider(keeping) as provider:
        own = {"access_key": "sk-of-the-account", "base_url": f"{provider.url}/v1"}
        entries = (
            {"model": "openai/gpt-5", "endpoints": {"files": False}, **own},
            {"model": "openai/gpt-5-mini", **own},
        )
        keys = [CLIENTS[0], {**CLIENTS[1], "models": ["openai/gpt-5"]}]
        async with gateway(settings(*entries, client_keys=keys)) as served:
            sent = {"file": ("a.txt", b"words"), "purpose": (None, b"user_data")}
            for key, status in ((KEYS["a"], 200), (KEYS["b"], 400)):
                found = await served.post("/v1/files", headers={"authorization": f"Bearer {key}"}, files=sent)
                assert found.status_code == status, found.text
            assert found.json()["error"]["code"] == "unsupported_endpoint"
        assert len(keeping.asked) == 1
