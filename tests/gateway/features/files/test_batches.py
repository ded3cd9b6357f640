"""Batches, with the official SDKs: their models, their results, and their costs, which are billed once."""

import json
from functools import partial
from typing import Any

import httpx2
import openai
import pytest
import trio

from gateway.features.files.opening import stored_objects_of
from gateway.kept_objects.inventory import BATCH_FILES
from gateway.kept_objects.pending import READ_SECONDS
from tests.support.asgi_app import Client, eventually
from tests.support.cases import case
from tests.support.endpoint_provider import json_answer
from tests.support.http2_client import Http2Client
from tests.support.kept_batches import (
    HALF,
    PRICE,
    USAGE,
    create_batch,
    create_message_batch,
    lines,
    logged_costs,
    message_result,
    only_batch,
    result_line,
    upload,
)
from tests.support.kept_clients import CLIENTS, KEYS, Served, error_of, run, serving, with_gateway
from tests.support.kept_provider import form
from tests.support.levels import limit_level

ALIASES = {"fast": {"target": "openai/gpt-5"}}


def cheap_lines(*models: str) -> bytes:
    """Return lines that reserve at most 100 tokens each, so that no rate limit rejects them."""
    return b"".join(
        json.dumps({**json.loads(line), "body": {"model": model, "messages": [], "max_tokens": 100}}).encode() + b"\n"
        for line, model in zip(lines(*models).splitlines(), models, strict=True)
    )


LINE = (len('{"model": "gpt-5", "messages": [], "max_tokens": 100}') // 4 * 10 + 100 * 100) / 2 / 10**6
"""The expected cost of a line in dollars."""


@with_gateway("openai", model_aliases=ALIASES)
def test_model_names_apply_inside_a_batch(served):
    """TU-Wien-dataLAB/aqueduct#101, BerriAI/litellm#10719."""
    provider = served.providers["openai"]
    for order in ("purpose first", "file first"):
        content = lines("fast", "gpt-5")
        parts = {"file": ("b.jsonl", content)}
        if order == "purpose first":
            upload(served, content)
        else:
            files = [*parts.items(), ("purpose", (None, b"batch"))]
            assert served.http("POST", "/v1/files", files=files).status_code == 200
        with case(order):
            name, sent = form(provider.asked[-1])["file"]
            assert (name, sent) == ("b.jsonl", content.replace(b'"fast"', b'"gpt-5"'))
            assert provider.asked[-1].headers["content-length"] == str(len(provider.asked[-1].body))


@with_gateway("openai", clients=[{**CLIENTS[0], "models": ["fast"]}, CLIENTS[1]], model_aliases=ALIASES)
def test_lines_with_azures_paths_are_checked_and_sent_unchanged(served):
    """Azure's guide to batches leaves ``/v1`` out of the path, in the lines and in the batch
    (https://learn.microsoft.com/en-us/azure/ai-services/openai/how-to/batch)."""
    provider = served.providers["openai"]
    for path in ("/chat/completions", "/responses", "/embeddings"):
        with case(path):
            refused = error_of(lambda path=path: upload(served, lines("gpt-5", url=path)))
            assert (refused.status_code, provider.asked) == (403, [])
            file = upload(served, lines("fast", url=path))
            assert form(provider.asked[-1])["file"][1] == lines("gpt-5", url=path)
            for endpoint in (path, f"/v1{path}"):
                served.openai().batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")
                assert provider.asked[-1].json["endpoint"] == endpoint
            found = error_of(
                lambda file=file: served.openai().batches.create(
                    input_file_id=file.id, endpoint="/completions", completion_window="24h"
                )
            )
            assert (found.status_code, found.body["param"]) == (400, "endpoint")
            provider.asked.clear()


@with_gateway("openai", clients=[{**CLIENTS[0], "models": ["fast"]}, CLIENTS[1]], model_aliases=ALIASES)
def test_an_invalid_batch_line_is_reported_before_the_upload(served):
    for content, status, says in (
        (lines("fast", "gpt-5"), 403, "line 2 of the file: the key 'a' may not use the model 'gpt-5'"),
        (lines("fast") + b"{", 400, "line 2 of the file is not a JSON object"),
        *(
            (lines("fast").decode().encode(name), 400, "line 1 of the file begins with a byte order mark: save")
            for name in ("utf-8-sig", "utf-16")
        ),
        (lines("fast", url="/v1/nothing"), 400, "line 1 of the file: batches do not support '/v1/nothing'"),
        (lines("nobody's"), 404, "line 1 of the file: model"),
    ):
        found = error_of(lambda content=content: upload(served, content))
        assert found.status_code == status
        assert says in found.body["message"]
    assert served.providers["openai"].asked == []


@with_gateway("openai:first", "openai:second", model_aliases={"one": {"target": "first"}, "two": {"target": "second"}})
def test_a_batch_of_several_providers_is_refused_and_its_first_model_decides(served):
    """BerriAI/litellm#37527."""
    first, second = served.providers["first"], served.providers["second"]
    found = error_of(lambda: upload(served, lines("two", "one")))
    assert found.status_code == 400
    assert "line 2 of the file: the model 'one' is at first" in found.body["message"]
    assert first.asked == second.asked == []
    file = upload(served, lines("two", "two"))
    client = served.openai()
    batch = create_batch(client, file)
    assert [one.path for one in second.asked] == ["/v1/files", "/v1/batches"]
    assert second.asked[1].json["input_file_id"] in second.kept
    assert batch.input_file_id == file.id
    assert client.batches.retrieve(batch.id).id == batch.id
    assert client.batches.cancel(batch.id).status == "cancelling"
    assert [one.id for one in client.batches.list()] == [batch.id]
    other = served.openai(KEYS["b"])
    assert list(other.batches.list()) == []
    assert error_of(lambda: other.batches.retrieve(batch.id)).status_code == 404
    assert error_of(lambda: create_batch(other, file)).status_code == 404
    assert first.asked == []


async def test_a_batch_is_billed_once_when_a_request_first_sees_its_end(caplog):
    """BerriAI/litellm#37050, #39980, #37156."""
    caplog.set_level("INFO", "trigate")
    async with serving("openai", entry=PRICE) as served:
        provider = served.providers["openai"]

        def steps() -> None:
            client = served.openai()
            file = upload(served, lines("gpt-5"))
            batches = [create_batch(client, file) for _ in range(3)]
            natives = [value for id, value in provider.kept.items() if id.startswith("batch_")]
            for one, status in zip(natives, ("completed", "expired", "in_progress"), strict=True):
                one.update(status=status, model="gpt-5-2025-08-07", usage=USAGE)
            for _ in range(3):
                for one in batches:
                    client.batches.retrieve(one.id)
            client.batches.list()

        await run(steps)
    assert logged_costs(caplog) == [HALF, HALF]
    assert served.lines.batch_ids == [id for id in provider.kept if id.startswith("batch_")][:2]


def create_ended_batches(served: Served, number: int) -> list[str]:
    """Create batches that the provider completes, and return their ids."""
    client = served.openai()
    file = upload(served, lines("gpt-5"))
    ids = [create_batch(client, file).id for _ in range(number)]
    for id, one in served.providers["openai"].kept.items():
        if id.startswith("batch_"):
            one.update(status="completed", model="gpt-5", usage=USAGE, output_file_id=f"file-of-{id}")
    return ids


async def test_a_batch_is_billed_once_if_several_requests_see_its_end_simultaneously(caplog):
    """Each request claims the bill under several keys. If each won one of them, no request would bill it."""
    caplog.set_level("INFO", "trigate")
    async with serving("openai", entry=PRICE) as served:
        ids = await trio.to_thread.run_sync(create_ended_batches, served, 4)
        for id in ids:
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(trio.to_thread.run_sync, served.http, "GET", f"/v1/batches/{id}")
    assert logged_costs(caplog) == [HALF] * 4


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.soak)])
async def test_a_batch_is_billed_once_whenever_the_client_that_sees_its_end_leaves(stride, caplog):
    """The gateway waits for the storage while it claims the bill."""
    caplog.set_level("INFO", "trigate")
    async with serving("openai", entry=PRICE) as served:
        provider, port = served.providers["openai"], int(served.url.rpartition(":")[2])
        ids = await trio.to_thread.run_sync(create_ended_batches, served, 30 // stride)
        for steps, id in zip(range(0, 30, stride), ids, strict=True):
            leaving, asked = Client(trio.socket.socket()), len(provider.asked)
            await leaving.sock.connect(("127.0.0.1", port))
            await leaving.send(f"GET /v1/batches/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEYS['a']}\r\n\r\n")
            await eventually(lambda asked=asked: len(provider.asked) > asked)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            leaving.leave("rst")
            await eventually(lambda: not served.gateway.service.ledger.open_records)
        await trio.to_thread.run_sync(lambda: [served.http("GET", f"/v1/batches/{id}") for id in ids])
    assert len(logged_costs(caplog)) == len(ids)


async def test_tool_calls_of_a_batch_are_billed_by_its_lines(caplog):
    """The usage of a batch counts only tokens."""
    caplog.set_level("INFO", "trigate")
    async with serving("openai", entry={"price": {**PRICE["price"], "tools": {"web_search": 0.01}}}) as served:
        provider = served.providers["openai"]

        def steps() -> None:
            client = served.openai()
            batch = create_batch(client, upload(served, lines("gpt-5")))
            calls = [{"type": "web_search_call", "id": f"ws_{at}", "status": "completed"} for at in range(3)]
            answer = {"object": "response", "model": "gpt-5", "status": "completed", "output": calls, "usage": USAGE}
            line = json.dumps({"custom_id": "r0", "response": {"status_code": 200, "body": answer}, "error": None})
            provider.contents["file-out"] = line.encode()
            provider.kept["file-out"] = {"id": "file-out"}
            only_batch(provider).update(
                status="completed", model="gpt-5", usage=USAGE, endpoint="/v1/responses", output_file_id="file-out"
            )
            for _ in range(2):
                output = client.batches.retrieve(batch.id).output_file_id
                assert client.files.content(str(output)).content == line.encode()

        await run(steps)
    assert logged_costs(caplog) == [HALF, 0.03]


@pytest.mark.parametrize("reports_usage", [True, False])
@pytest.mark.parametrize("steps", ["list, content", "content, batch", "batch, content", "content, content", "part"])
async def test_results_with_the_providers_own_ids_are_billed_once_in_any_order(steps, reports_usage, caplog):
    """A client may learn the file of results from a list, without ever fetching its batch, and the batch may
    report no usage (BerriAI/litellm#35358, #37573)."""
    caplog.set_level("INFO", "trigate")
    async with serving("openai", entry=PRICE) as served:
        provider = served.providers["openai"]

        def run_steps() -> None:
            client = served.openai(KEYS["c"])
            batch = create_batch(client, upload(served, lines("gpt-5"), KEYS["c"]))
            provider.contents["file-results"] = result_line()
            ended = {"status": "completed", "output_file_id": "file-results"}
            provider.kept[batch.id] |= {**ended, **({"usage": USAGE, "model": "gpt-5"} if reports_usage else {})}
            for step in steps.split(", ") * 2:
                match step:
                    case "list":
                        assert any(one.id == batch.id for one in client.batches.list())
                    case "batch":
                        assert client.batches.retrieve(batch.id).output_file_id == "file-results"
                    case "part":
                        url, headers = "/v1/files/file-results/content", {"range": "bytes=0-10"}
                        found = served.http("GET", url, KEYS["c"], headers=headers)
                        assert found.content == result_line(), "a part would hide usage"
                    case _:
                        assert client.files.content("file-results").content == result_line()

        await run(run_steps)
        await eventually(lambda: logged_costs(caplog) == [HALF])


async def test_results_of_anthropic_batches_come_from_the_gateway_and_are_billed_once(caplog):
    """The SDK calls the address in a batch with the gateway's key (stdapi-ai/stdapi.ai#161)."""
    caplog.set_level("INFO", "trigate")
    aliases = {"fast": {"target": "anthropic/claude-x"}}
    async with serving("anthropic", entry=PRICE, model_aliases=aliases) as served:
        provider = served.providers["anthropic"]

        def steps() -> None:
            client, batch = served.anthropic(), create_message_batch(served, "fast", "claude-x")
            assert [one["params"]["model"] for one in provider.asked[-1].json["requests"]] == ["claude-x"] * 2
            failed = {"custom_id": "b", "result": {"type": "errored", "error": {"type": "error"}}}
            written = {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 100}
            provider.contents[only_batch(provider)["id"]] = b"".join((
                message_result("a", input_tokens=1000, output_tokens=100),
                json.dumps(failed).encode() + b"\n",
                message_result("c", input_tokens=500, output_tokens=100, cache_read_input_tokens=2000,
                          cache_creation_input_tokens=400, cache_creation=written),
            ))  # fmt: skip
            only_batch(provider).update(processing_status="ended", results_url=f"{provider.url}/v1/x/y")
            assert client.messages.batches.retrieve(batch.id).results_url == (
                f"{served.url}/v1/messages/batches/{batch.id}/results"
            )
            part = {"anthropic-version": "2023-06-01", "range": "bytes=0-9"}  # a range has no known cost
            assert served.http("GET", f"/v1/messages/batches/{batch.id}/results", headers=part).status_code == 200
            assert "range" not in provider.asked[-1].headers
            for _ in range(3):
                assert [one.custom_id for one in client.messages.batches.results(batch.id)] == ["a", "b", "c"]
            other = served.anthropic(KEYS["b"])
            assert error_of(lambda: list(other.messages.batches.results(batch.id))).status_code == 404

        await run(steps)
    lines = ((1000 * 10 + 100 * 100), (500 * 10 + 2000 * 1 + 300 * 12.5 + 100 * 20 + 100 * 100))
    assert logged_costs(caplog) == [sum(lines) / 2 / 10**6]


async def test_results_are_billed_even_if_their_reader_leaves_before_the_end(caplog):
    caplog.set_level("INFO", "trigate")
    async with serving("anthropic", entry=PRICE) as served:
        provider = served.providers["anthropic"]

        def steps() -> None:
            batch = create_message_batch(served, "claude-x")
            line = message_result("a" * 500_000, input_tokens=100, output_tokens=10)
            provider.contents[only_batch(provider)["id"]] = line * 20
            url = f"{served.url}/v1/messages/batches/{batch.id}/results"
            head = {"authorization": f"Bearer {KEYS['a']}", "anthropic-version": "2023-06-01"}
            with (
                httpx2.Client(verify=False, trust_env=False) as leaving,
                leaving.stream("GET", url, headers=head) as answer,
            ):
                next(answer.iter_raw())

        await run(steps)
        await eventually(lambda: logged_costs(caplog) == [0.02])


@with_gateway("anthropic")
def test_an_unknown_model_in_an_anthropic_batch_is_reported_with_its_position(served):
    found = error_of(lambda: create_message_batch(served, "nobody's"))
    assert found.status_code == 404
    assert "requests[0]: model" in str(found.body)
    assert served.providers["anthropic"].asked == []


@with_gateway("openai", clients=[{**CLIENTS[0], "budgets": ["0.006 usd/day"]}, CLIENTS[1]], entry=PRICE)
def test_a_client_with_an_exhausted_budget_can_only_read_and_cancel(served):
    """BerriAI/litellm#9077, #39861."""
    provider = served.providers["openai"]
    client = served.openai()
    file = upload(served, cheap_lines("gpt-5"))
    batch = create_batch(client, file)
    only_batch(provider).update(status="completed", model="gpt-5", usage=USAGE)
    assert client.batches.retrieve(batch.id).status == "completed"
    calls = len(provider.asked)
    for begin in (lambda: create_batch(client, file), lambda: upload(served, cheap_lines("gpt-5"))):
        assert error_of(begin).status_code == 402
    assert len(provider.asked) == calls
    assert client.batches.retrieve(batch.id).status == "completed"
    assert client.batches.cancel(batch.id).status == "cancelling"


BUDGETED = [{**CLIENTS[0], "budgets": ["0.03 usd/day"]}, CLIENTS[1]]


def budget_left(client: Any, batch: Any) -> float:
    """Return the rest of the day's budget in dollars, from the response to a request for ``batch``."""
    answer = client.batches.with_raw_response.retrieve(batch.id)
    return float(answer.http_response.headers["x-trigate-budget-left"].removeprefix("usd/day="))


@with_gateway("openai", clients=BUDGETED, entry=PRICE)
def test_the_cost_of_a_batch_is_reserved_until_it_is_billed(served):
    provider = served.providers["openai"]
    client = served.openai()
    file = upload(served, cheap_lines("gpt-5", "gpt-5", "gpt-5"))
    batch = create_batch(client, file)
    assert budget_left(client, batch) == pytest.approx(0.03 - 3 * LINE, abs=1e-4)
    calls = len(provider.asked)
    found = error_of(lambda: create_batch(client, file))
    assert found.status_code == 402
    assert "reserved for running batches" in found.body["message"]
    assert error_of(lambda: ask(client, 300)).status_code == 402
    assert len(provider.asked) == calls
    only_batch(provider).update(status="completed", model="gpt-5", usage=USAGE)
    for _ in range(2):
        assert budget_left(client, batch) == pytest.approx(0.03 - HALF, abs=1e-4)
    assert create_batch(client, file).id != batch.id


def ask(client: Any, most: int) -> Any:
    return client.chat.completions.create(model="gpt-5", messages=[], max_tokens=most)


@pytest.mark.parametrize("holder", ["client_groups", "model_providers"])
async def test_a_batchs_reservation_reduces_every_shared_budget(holder):
    own = {"budgets": ["0.03 usd/day", "1M tokens/day"]}
    group, entry = (own, PRICE) if holder == "client_groups" else ({}, {**PRICE, **own})
    clients = [{**one, "group": "g"} for one in CLIENTS[:2]]
    groups = [{"name": "g", **group}]
    async with serving("openai", clients=clients, client_groups=groups, entry=entry) as served:

        def steps() -> None:
            for key, status in ((KEYS["a"], 200), (KEYS["b"], 402)):
                file = upload(served, cheap_lines("gpt-5", "gpt-5", "gpt-5"), key)
                try:
                    create_batch(served.openai(key), file)
                    found = 200
                except openai.APIStatusError as error:
                    found = error.status_code
                assert found == status

        await run(steps)


@with_gateway("openai", clients=BUDGETED, entry=PRICE)
def test_a_failed_batch_releases_its_reservation(served):
    provider = served.providers["openai"]
    client = served.openai()
    file = upload(served, cheap_lines("gpt-5", "gpt-5", "gpt-5"))
    batch = create_batch(client, file)
    for ends, back in (
        ({"status": "cancelling"}, False),
        ({"status": "cancelled", "output_file_id": "file-out"}, False),  # its lines have the cost
        ({"status": "cancelled", "output_file_id": None}, True),
        ({"status": "failed"}, True),
    ):
        if ends["status"] == "failed":
            batch = create_batch(client, file)
        provider.kept[[id for id in provider.kept if id.startswith("batch_")][-1]].update(ends)
        client.batches.retrieve(batch.id)
        with case(str(ends)):
            assert budget_left(client, batch) == pytest.approx(0.03 if back else 0.03 - 3 * LINE, abs=1e-4)


@with_gateway("anthropic", clients=BUDGETED, entry=PRICE)
def test_the_cost_of_an_anthropic_batch_is_reserved_until_its_results_are_read(served):
    provider = served.providers["anthropic"]
    client, models = served.anthropic(), ["claude-x"] * 40  # of 9 tokens each
    batch = create_message_batch(served, *models)
    assert error_of(lambda: create_message_batch(served, *models)).status_code == 402
    line = message_result("a", input_tokens=100, output_tokens=10)
    only_batch(provider).update(processing_status="ended", results_url="https://x", request_counts={"succeeded": 1})
    client.messages.batches.retrieve(batch.id)
    assert error_of(lambda: create_message_batch(served, *models)).status_code == 402
    provider.contents[batch_id := only_batch(provider)["id"]] = line
    assert len(list(client.messages.batches.results(batch.id))) == 1
    other = create_message_batch(served, *models)
    del provider.kept[batch_id]
    only_batch(provider).update(processing_status="ended", request_counts={"succeeded": 0, "errored": 40})
    client.messages.batches.retrieve(other.id)
    assert create_message_batch(served, *models).id != other.id


async def test_a_batch_is_reserved_even_if_its_client_leaves_before_the_response():
    async with serving("openai", clients=BUDGETED, entry=PRICE) as served:
        provider, batch_reserves = served.providers["openai"], served.gateway.service.allowances.batch_reserves
        file = await run(lambda: upload(served, cheap_lines("gpt-5")))
        provider.gate, calls = trio.Event(), len(provider.asked)
        body = {"input_file_id": file.id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        head = {"authorization": f"Bearer {KEYS['a']}"}
        async with httpx2.AsyncClient(verify=False, trust_env=False) as leaving, trio.open_nursery() as nursery:
            nursery.start_soon(partial(leaving.post, f"{served.url}/v1/batches", json=body, headers=head))
            await eventually(lambda: len(provider.asked) > calls)
            nursery.cancel_scope.cancel()
        await eventually(lambda: all(one.abandoned for one in served.gateway.service.ledger.open_records))
        provider.gate.set()
        await eventually(lambda: batch_reserves.of(("client_keys", "a"), "usd") == round(LINE * 10**9))


async def test_batch_reservations_survive_a_restart_and_are_shared(tmp_path):
    storage = {"state_storage": {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}}
    content = cheap_lines("gpt-5", "gpt-5", "gpt-5")

    def try_batch(served: Served) -> int:
        file = upload(served, content)
        try:
            return 200 if create_batch(served.openai(), file) else 0
        except openai.APIStatusError as error:
            return error.status_code

    async with serving("openai", clients=BUDGETED, entry=PRICE, **storage) as served:
        assert await run(lambda: try_batch(served)) == 200
        async with serving("openai", clients=BUDGETED, entry=PRICE, **storage) as other:
            assert await run(lambda: try_batch(other)) == 402
    async with serving("openai", clients=BUDGETED, entry=PRICE, **storage) as served:
        assert await run(lambda: try_batch(served)) == 402


async def test_a_batch_is_refused_if_its_client_lost_access_to_the_model_since_the_upload():
    """ls1intum/edutelligence#933."""
    async with serving("openai", model_aliases={**ALIASES, "other": {"target": "openai/gpt-5"}}) as served:
        provider = served.providers["openai"]
        file = await run(lambda: upload(served, lines("fast")))
        served.change(client_keys=[{**CLIENTS[0], "models": ["other"]}])

        def steps() -> None:
            calls = len(provider.asked)
            found = error_of(lambda: create_batch(served.openai(), file))
            assert found.status_code == 403
            assert "may not use the model 'fast'" in found.body["message"]
            assert len(provider.asked) == calls

        await run(steps)


@pytest.mark.parametrize("undelivered", [True, False])
async def test_a_batch_is_charged_before_the_client_reads_its_results(undelivered):
    """Over HTTP/2 a client limits how much of a response it receives, and other requests run meanwhile. The gateway
    bills the batch once, whether or not the response arrives."""
    async with serving("openai", clients=BUDGETED, entry=PRICE, charge_undelivered=undelivered) as served:
        provider, allowances = served.providers["openai"], served.gateway.service.allowances
        file = await run(lambda: upload(served, cheap_lines("gpt-5", "gpt-5", "gpt-5")))
        batch = await run(lambda: create_batch(served.openai(), file))
        only_batch(provider).update(status="completed", model="gpt-5", usage=USAGE)
        sock = trio.socket.socket()
        await sock.connect(("127.0.0.1", int(served.url.rpartition(":")[2])))
        with sock:
            peer = Http2Client(Client(sock), window=0)
            head = [(":method", "GET"), (":path", f"/v1/batches/{batch.id}"), (":scheme", "http"), (":authority", "x")]
            peer.connection.send_headers(1, [*head, ("authorization", f"Bearer {KEYS['a']}")], end_stream=True)
            await peer.flush()
            await eventually(lambda: not allowances.batch_reserves.of(("client_keys", "a"), "usd"))
            assert limit_level(allowances, holder="client_keys.a").used == round(HALF * 10**9)
        assert await run(lambda: budget_left(served.openai(), batch)) == pytest.approx(0.03 - HALF, abs=1e-4)


def conversation_status(served: Served) -> int:
    """Return the status of a conversation that needs the money that a batch would reserve."""
    body = {"model": "gpt-5", "messages": [], "max_tokens": 200}
    return served.http("POST", "/v1/chat/completions", json=body).status_code


async def test_gateways_with_shared_storage_notice_each_others_batches_in_time(tmp_path):
    storage = {"state_storage": {"type": "sqlite", "path": str(tmp_path / "state.sqlite")}}
    content = cheap_lines("gpt-5", "gpt-5", "gpt-5")
    async with (
        serving("openai", clients=BUDGETED, entry=PRICE, **storage) as first,
        serving("openai", clients=BUDGETED, entry=PRICE, **storage) as second,
    ):
        provider = first.providers["openai"]

        def steps() -> None:
            files = [upload(served, content) for served in (first, second)]
            batch = create_batch(first.openai(), files[0])
            assert error_of(lambda: create_batch(second.openai(), files[1])).status_code == 402
            only_batch(provider).update(status="failed")
            first.openai().batches.retrieve(batch.id)

        await run(steps)
        with trio.fail_after(READ_SECONDS / 2):  # less than the time until the next regular read
            while await run(lambda: conversation_status(second)) == 402:
                pass


async def test_models_without_a_price_cannot_be_in_batches_if_money_is_limited():
    for name in ("openai", "anthropic"):
        async with serving(name, clients=BUDGETED, entry={"model": f"{name}/*"}) as served:

            def make(client: str, name: str = name, served: Served = served) -> Any:
                if name == "openai":
                    return upload(served, cheap_lines(f"{name}/strange"), KEYS[client])
                return create_message_batch(served, f"{name}/strange", key=KEYS[client])

            def steps(name: str = name, served: Served = served) -> None:
                found = error_of(lambda: make("a"))
                assert found.status_code == 400
                assert "has no known price, but this request has a budget" in str(found.body)
                assert served.providers[name].asked == []
                assert make("b").id

            await run(steps)


async def test_a_batch_without_a_price_is_refused_if_a_budget_applies():
    async with serving("openai", clients=BUDGETED, entry=PRICE) as served:
        provider, inventory = served.providers["openai"], stored_objects_of(served.gateway.service).inventory
        assert inventory is not None

        def steps() -> None:
            parts = {"filename": "a", "bytes": 1, "mime_type": "text/jsonl", "purpose": "batch"}
            assert error_of(lambda: served.openai().uploads.create(**parts)).status_code == 403
            bare = (("purpose", (None, b"batch")), ("file", (None, cheap_lines("gpt-5"))))
            found = served.http("POST", "/v1/files", files=[*bare, ("x", ("x", cheap_lines("gpt-5")))])
            assert found.status_code == 400
            assert "a file name" in found.json()["error"]["message"]
            asked = {"endpoint": "/v1/chat/completions", "completion_window": "24h", "input_blob": "https://x"}
            assert served.http("POST", "/v1/batches", json=asked).status_code == 400
            assert provider.asked == []

        await run(steps)
        file = await run(lambda: upload(served, cheap_lines("gpt-5")))
        await inventory.remove(
            served.gateway.service.admission.holder("a", ()), BATCH_FILES, f"{BATCH_FILES} {file.id}"
        )
        found = await run(lambda: error_of(lambda: create_batch(served.openai(), file)))
        assert found.status_code == 400
        assert "upload them to /v1/files again" in found.body["message"]
        theirs = await run(lambda: error_of(lambda: create_batch(served.openai(KEYS["b"]), file)))
        assert theirs.status_code == 404


async def test_batch_lines_may_have_token_ids_only_for_models_that_read_them():
    for entry, status in (({}, 400), ({"embeddings": {"token_arrays": True}}, 200)):
        async with serving("openai", entry=entry) as served:
            body = {"model": "gpt-5", "input": [[1, 2]]}
            line = {"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": body}

            def step(served: Served = served, line: Any = line) -> Any:
                return upload(served, json.dumps(line).encode())

            if status == 200:
                assert (await run(step)).purpose == "batch"
            else:
                found = await run(partial(error_of, step))
                assert (found.status_code, served.providers["openai"].asked) == (400, [])
                assert "token_arrays: true" in found.message


@with_gateway("openai", clients=BUDGETED, entry=PRICE)
def test_the_cost_of_all_answers_to_a_line_is_reserved(served):
    batch_reserves = served.gateway.service.allowances.batch_reserves
    for asks, url, output in (
        ({"messages": [], "n": 2}, "/v1/chat/completions", 2 * 40),
        ({"prompt": ["a", "b", "c"], "n": 2}, "/v1/completions", 6 * 40),
        ({"prompt": "a", "best_of": 3}, "/v1/completions", 3 * 40),
        ({"input": "a"}, "/v1/embeddings", 0),
        ({"prompt": "a", "size": "512x512", "quality": "low"}, "/v1/images/generations", 72),
    ):
        body = {"model": "gpt-5", "max_tokens": 40, **asks}
        line = {"custom_id": "a", "method": "POST", "url": url, "body": body}
        before = batch_reserves.of(("client_keys", "a"), "tokens")
        file = upload(served, json.dumps(line).encode())
        served.openai().batches.create(input_file_id=file.id, endpoint=url, completion_window="24h")
        with case(str(asks)):
            given = len(json.dumps(body)) // 4
            assert batch_reserves.of(("client_keys", "a"), "tokens") - before == given + output


@with_gateway("openai")
def test_a_file_whose_id_is_not_a_string_reaches_its_client(served):
    """The gateway cannot store a note about its lines without an id."""
    for id in (5, None, {}, ["a"], ""):
        with case(id):
            served.providers["openai"].answers["/v1/files"] = json_answer({"id": id, "object": "file"})
            form = {"files": {"file": ("b.jsonl", lines("gpt-5"))}, "data": {"purpose": "batch"}}
            found = served.http("POST", "/v1/files", **form)
            assert (found.status_code, found.json()["object"]) == (200, "file")
