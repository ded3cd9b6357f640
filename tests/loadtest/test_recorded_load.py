"""Directories of ``trigate serve --record`` as load."""

import attrs
import msgspec
import pytest
import trio

from configfile.document import ConfigError
from gateway.telemetry.recorded import Folder, Side
from loadtest.plan import recorded_load as module
from loadtest.plan.load_request import LoadRequest
from loadtest.plan.recorded_load import recorded_load
from loadtest.requests.mix import repeat_request
from tests.support.load_servers import answer, load, scenario, serving_bodies

LINE = {"ended": "complete", "model": "m", "duration_ms": 100}
ASKED = b'{ "model": "m", "messages": [{"role":"user","content":"caf\\u00e9"}], "stream": true, "user": "account-7" }'
CHAT = Side(
    "client", "chat", "/v1/chat/completions", ASKED, b"data: [DONE]\n\n", 200, "text/event-stream",
    (("openai-beta", "x"), ("authorization", "Bearer sk-of-somebody"), ("openai-organization", "org-7")), (), None,
)  # fmt: skip
GEMINI = attrs.evolve(
    CHAT, api="gemini", path="/v1beta/models/gemini-2.5:streamGenerateContent", request=b'{"contents":[]}'
)


def recorded(folder, *sides, apart=0.5):
    """Recordings that began ``apart`` from each other, the last of them first on disk."""
    for number, side in reversed([*enumerate(sides)]):
        Folder(folder).write([side], LINE, (), began=1000 + number * apart)
    return folder


def test_they_come_in_the_order_and_at_the_distances_in_which_they_were_sent(tmp_path):
    load = recorded_load(recorded(tmp_path, CHAT, GEMINI, attrs.evolve(CHAT, status=429), CHAT))
    assert [one.api for one in load.requests] == ["chat", "gemini", "chat", "chat"]
    assert list(load.trace().arrivals(speed=1)) == [0, 0.5, 1, 1.5]
    assert list(load.trace().arrivals(speed=2)) == [0, 0.25, 0.5, 0.75]
    assert "4 requests in 1.5 s" in load.trace().describe(1)


def test_only_what_clients_sent_is_sent_again_and_the_rest_is_counted(tmp_path):
    provider = attrs.evolve(CHAT, side="provider", provider="openai")
    kept = attrs.evolve(
        CHAT,
        api="responses",
        path="/v1/responses",
        request=b'{"model":"m","input":"x","previous_response_id":"resp_1"}',
    )
    cut = attrs.evolve(CHAT, notes=("the request was cut at 4194304 bytes",), request=ASKED[:20])
    load = recorded_load(
        recorded(tmp_path, provider, CHAT, kept, cut, attrs.evolve(CHAT, status=400), attrs.evolve(CHAT, request=b""))
    )
    assert len(load.requests) == 1
    assert load.left_out == {
        "it continues from a response that only the recorded server has": 1,
        "the recording is truncated": 1,
        "the server rejected the request": 1,
        "without a body": 1,
    }
    assert load.describe().startswith(f"{tmp_path.name}: 1 recorded request; 1 skipped: ")
    assert "1 row skipped: the server rejected the request" in load.trace().describe(1)


def test_credentials_are_removed_and_the_rest_is_sent_unchanged(tmp_path):
    (one,) = recorded_load(recorded(tmp_path, CHAT)).requests
    found = repeat_request(LoadRequest("", name="replayed"), one, ASKED)
    assert found.headers == (("openai-beta", "x"),)
    assert b"account-7" not in found.body
    assert b'[{"role":"user","content":"caf\\u00e9"}]' in found.body, "to the letter"
    assert msgspec.json.decode(found.body).keys() == {"model", "messages", "stream"}
    kind = found.request
    assert (kind.name, kind.api, kind.model, kind.stream, kind.usage) == ("replayed", "chat", "m", True, False)
    limited = repeat_request(LoadRequest("m"), one, b'{"model":"m","max_tokens":7}')
    assert (limited.asked_output, found.asked_output) == (7, None)
    plain = b'{ "model": "m",  "messages": [] }'
    assert repeat_request(LoadRequest(""), one, plain).body == plain
    whole = repeat_request(LoadRequest("other"), one, plain)
    assert msgspec.json.decode(whole.body) == {"model": "other", "messages": []}
    assert whole.request.stream is False


def test_the_path_says_which_api_and_model(tmp_path):
    (one,) = recorded_load(recorded(tmp_path, GEMINI)).requests
    found = repeat_request(LoadRequest(""), one, GEMINI.request)
    assert (found.request.api, found.request.model, found.request.stream) == ("gemini", "gemini-2.5", True)
    assert repeat_request(LoadRequest("other"), one, GEMINI.request).request.model == "other"


def test_recordings_that_cannot_be_read_are_reported_by_name(tmp_path):
    recorded(tmp_path, *[CHAT] * 13, GEMINI)
    names = sorted(tmp_path.glob("openai_chat/*.meta.json"))
    for name in names[:13]:
        name.write_bytes(b"{")
    with pytest.raises(ConfigError) as error:
        recorded_load(tmp_path)
    said = error.value.list_mistakes("mistakes")
    assert f"{names[0].name}: the recording is damaged" in said
    assert "3 more recordings like these" in said


def test_requests_that_are_no_json_are_skipped(tmp_path):
    recorded(tmp_path, CHAT, CHAT)
    next(tmp_path.glob("openai_chat/*.request.json")).write_bytes(b"{broken")
    load = recorded_load(tmp_path)
    assert (len(load.requests), load.left_out) == (1, {"the body is not a JSON object": 1})


def test_requests_beyond_what_memory_is_for_are_a_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2**20)
    large = attrs.evolve(CHAT, request=ASKED.replace(b"caf", b"caf" * 2**18))
    with pytest.raises(ConfigError) as error:
        recorded_load(recorded(tmp_path, large, large))
    assert "the requests are larger than 1 MiB" in error.value.list_mistakes("mistakes")


def test_a_directory_without_recordings_is_a_mistake(tmp_path):
    for sides in ((), (attrs.evolve(CHAT, status=400),)):
        folder = tmp_path / str(len(sides))
        folder.mkdir()
        with pytest.raises(ConfigError) as error:
            recorded_load(recorded(folder, *sides))
        said = str(error.value.list_mistakes("mistakes"))
        assert "the directory has no client requests" in said
    assert "1 skipped: the server rejected the request" in said


def test_recordings_without_a_time_can_be_sent_but_not_at_their_distances(tmp_path):
    (meta,) = Folder(tmp_path).write([CHAT], LINE, ())
    load = recorded_load(tmp_path)
    assert len(load.requests) == 1
    with pytest.raises(ConfigError) as error:
        load.trace()
    said = error.value.list_mistakes("mistakes")
    assert f"{meta.name.removesuffix('.meta.json')}: the time of its request is missing" in said


async def test_a_directory_is_sent_as_it_was_recorded_and_faster_on_demand(tmp_path):
    asked = []

    async def serve(stream, head, body):
        asked.append((trio.current_time(), head, body))
        await answer(stream, "one")

    folder = recorded(tmp_path / "week 47", CHAT, CHAT, attrs.evolve(CHAT, request=ASKED.replace(b"caf", b"tea")))
    async with serving_bodies(serve) as url:
        run = await load(url, [{"requests": str(folder)}], speed=2)
        first = await load(url, [{"requests": str(folder)}], speed=8, count=2)
        again = await load(url, [{"requests": str(folder), "model": "other"}], concurrency=1, seconds=0.1)
    times, heads, bodies = zip(*asked[:3], strict=True)
    assert [at - times[0] for at in times] == pytest.approx([0, 0.25, 0.5], abs=0.2)
    assert run.scenario["steps"][0]["seconds"] == 0.5
    assert b"tea" in bodies[2]
    assert all(b"sk-of-somebody" not in head and b"org-7" not in head for head in heads)
    assert all(b"authorization: Bearer sk-secret" in head for head in heads), "that of the command"
    assert run.requests["week 47"].counts["whole"] == 3
    assert first.tally.counts["started"] == 2
    assert msgspec.json.decode(asked[5][2])["model"] == "other"
    assert again.tally.counts["whole"] == len(asked) - 5


def test_mistakes_about_directories_are_reported(tmp_path):
    folder = str(recorded(tmp_path, CHAT))
    for requests, more, said in (
        ([{"requests": folder}, {"model": "m"}], {}, "neither rate, steps nor concurrency is set"),
        ([{"model": "m"}], {"trace": folder}, "recordings are sent with requests: DIR"),
        ([{}], {"rate": 5}, "requests[0].model: missing"),
    ):
        with pytest.raises(ConfigError) as error:
            scenario("http://127.0.0.1:9", requests, **more)
        assert said in error.value.list_mistakes("mistakes"), (requests, more)
    assert scenario("http://127.0.0.1:9", [{"requests": folder}], rate=5).trace is None
