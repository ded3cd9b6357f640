"""Videos at a provider that makes them in OpenAI's form: by their model, then by ids that are their maker's own
(decolua/9router#3966, api7/aisix#820)."""

import json
from typing import Any

import httpx2

from tests.support.endpoint_provider import ReceivedRequest, ScriptedAnswer, before, json_answer
from tests.support.multipart import KIND, multipart, part

FILM = bytes(range(256)) * 1000
KEYS = [
    {"name": "ann", "key": "ann-key-0123456789-0123456789"},
    {"name": "bob", "key": "bob-key-0123456789-0123456789"},
]


def answering(asked: ReceivedRequest) -> ScriptedAnswer:
    video = {"id": "video_123", "object": "video", "model": "film-1", "status": "queued", "created_at": 1}
    if asked.path.endswith("/content?variant=video"):
        if asked.headers.get("range") == "bytes=5-9":
            return ScriptedAnswer(
                (FILM[5:10],), 206, (("content-type", "video/mp4"), ("content-range", "bytes 5-9/256000"))
            )
        return ScriptedAnswer((FILM[:9999], FILM[9999:]), headers=(("content-type", "video/mp4"),))
    if asked.path.endswith("/remix"):
        return json_answer({**video, "id": "video_456", "remixed_from_video_id": "video_123"})
    if asked.method == "DELETE":
        return json_answer({"id": "video_123", "object": "video.deleted", "deleted": True})
    return json_answer(video)


async def test_a_video_belongs_to_its_creator_and_passes_through_the_gateway():
    async with before(answering, "litellm/film-1", {"name": "films"}, client_keys=KEYS) as (served, provider):

        async def ask(method: str, path: str, who: int = 0, **more: Any) -> httpx2.Response:
            headers = {"authorization": f"Bearer {KEYS[who]['key']}", **more.pop("headers", {})}
            return await served.send(method, f"/v1/videos{path}", headers=headers, **more)

        made = await ask("POST", "", json={"model": "films", "prompt": "a cat", "seconds": "4"})
        assert provider.asked[-1].json == {"model": "film-1", "prompt": "a cat", "seconds": "4"}
        assert provider.asked[-1].headers["authorization"] == "Bearer provider-key"
        id = made.json()["id"]
        assert id.startswith("video_T")
        assert made.json()["status"] == "queued"

        form = multipart([part("model", b"films"), part("input_reference", b"png", "a.png")])
        again = await ask("POST", "", content=form, headers={"content-type": KIND})
        assert again.json()["id"] == id
        assert provider.asked[-1].body == form.replace(b"films", b"film-1")

        assert (await ask("GET", f"/{id}")).json() == made.json()
        assert provider.asked[-1].path == "/v1/videos/video_123"
        film = await ask("GET", f"/{id}/content?variant=video")
        assert (film.content, film.headers["content-type"]) == (FILM, "video/mp4")
        some = await ask("GET", f"/{id}/content?variant=video", headers={"range": "bytes=5-9"})
        assert (some.status_code, some.content) == (206, FILM[5:10])
        assert some.headers["content-range"] == "bytes 5-9/256000"
        assert [one["id"] for one in (await ask("GET", "")).json()["data"]] == [id]
        remixed = await ask("POST", f"/{id}/remix", json={"prompt": "a dog"})
        assert remixed.json()["id"].startswith("video_T")
        assert json.loads(provider.asked[-1].body) == {"prompt": "a dog"}

        calls = len(provider.asked)
        for method, path in (
            ("GET", f"/{id}"),
            ("GET", f"/{id}/content"),
            ("DELETE", f"/{id}"),
            ("GET", "/video_123"),
        ):
            assert (await ask(method, path, who=1)).status_code == 404, path
        assert (await ask("GET", "", who=1)).json()["data"] == []
        assert (await ask("POST", "", json={"model": "nobody", "prompt": "x"})).status_code == 404
        assert len(provider.asked) == calls
        assert (await ask("DELETE", f"/{id}")).json()["id"] == id
