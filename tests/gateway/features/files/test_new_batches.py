"""Every member of a request that creates a batch, at every provider: models, agents and files are checked."""

import json
from typing import Any

import httpx2
import pytest

from gateway.features.files.new_batches import MEMBERS
from tests.support.asgi_app import eventually
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.kept_clients import CLIENTS, KEYS, Served, run, serving, with_gateway
from tests.support.multipart import KIND, multipart, part

URL = "/v1/chat/completions"
TARGETS = {"openai": "openai/gpt-5", "mistral": "mistral/mistral-small"}
BIG = {"openai": "gpt-5-pro", "mistral": "mistral-large-latest"}
PROVIDERS = sorted(TARGETS)
PRICE = {"price": {"input": 10, "output": 100}}


def aliases(provider: str) -> dict[str, Any]:
    return {"fast": {"target": TARGETS[provider]}}


def limited_clients(**more: Any) -> list[dict[str, Any]]:
    return [{**CLIENTS[0], "models": ["fast"], **more}, *CLIENTS[1:]]


def upload(served: Served, *models: str, key: str = KEYS["a"], url: str = URL, purpose: str = "batch") -> str:
    lines = [
        {"custom_id": f"r{at}", "method": "POST", "url": url, "body": {"model": model, "messages": [], "max_tokens": 9}}
        for at, model in enumerate(models)
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    files = [("purpose", (None, purpose.encode())), ("file", ("b.jsonl", content))]
    found = served.http("POST", "/v1/files", key, files=files)
    assert found.status_code == 200, found.text
    return found.json()["id"]


def create(served: Served, key: str = KEYS["a"], **members: Any) -> httpx2.Response:
    return served.http("POST", "/v1/batches", key, json={"endpoint": URL, **members})


def native_id(served: Served, provider: str) -> str:
    return next(reversed(served.providers[provider].kept))


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_no_member_of_a_batch_names_another_model_than_was_allowed(provider):
    """The rows of MEMBERS make the cases, so that a new member is tried as well."""
    every = {"model": f"{provider}/*"}
    async with serving(provider, clients=limited_clients(), entry=every, model_aliases=aliases(provider)) as served:

        def steps() -> None:
            mine, theirs = upload(served, "fast"), upload(served, BIG[provider], key=KEYS["b"])
            native = native_id(served, provider)
            data = upload(served, purpose="user_data")
            good = {"custom_id": "a", "body": {"model": "fast", "messages": []}}
            bad = {"custom_id": "a", "body": {"model": BIG[provider], "messages": []}}
            cases: list[dict[str, Any]] = []
            for member, kind in MEMBERS.items():
                match kind:
                    case "model":
                        cases += [
                            {"input_file_id": mine, member: BIG[provider]},
                            {"requests": [good], member: BIG[provider]},
                        ]
                    case "agent":
                        cases += [{"input_file_id": mine, member: "ag_1"}, {"requests": [good], member: "ag_1"}]
                    case "files":
                        for file in (native, theirs, data):
                            cases += [
                                {member: file},
                                {member: [file]},
                                {member: [mine, file]},
                                {member: file, "model": "fast"},
                            ]
                    case "requests":
                        cases += [{member: [bad]}, {member: [good, bad]}, {member: [{**good, "model": "fast"}]}]
                        cases += [{member: [{**good, "body": {"messages": []}}]}, {member: {"custom_id": "a"}}]
            cases += [
                {"input_file_id": mine, "Model": BIG[provider]},
                {"input_file_id": mine, "models": [BIG[provider]]},
                {"input_file_id": mine, "anything": {"model": BIG[provider]}},
                {"input_file_id": mine, "model": "fast", "model_id": BIG[provider]},
                {
                    "requests": [
                        {"custom_id": "a", "body": {"model": "fast", "models": [BIG[provider]], "messages": []}}
                    ]
                },
            ]
            asked = len(served.providers[provider].asked)
            for members in cases:
                with case(json.dumps(members)[:200]):
                    found = create(served, **members)
                    assert found.status_code in (400, 403, 404), found.text
            assert len(served.providers[provider].asked) == asked, "no provider got any of them"

        await run(steps)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_batch_with_an_allowed_model_has_the_names_of_the_provider(provider):
    every = {"model": f"{provider}/*"}
    async with serving(provider, clients=limited_clients(), entry=every, model_aliases=aliases(provider)) as served:

        def steps() -> None:
            file, asked = upload(served, "fast"), served.providers[provider].asked
            native, model = native_id(served, provider), TARGETS[provider].partition("/")[2]
            request = {"custom_id": "a", "body": {"model": "fast", "messages": []}}
            unnamed = {"custom_id": "a", "body": {"messages": []}}
            for members, sent in (
                ({"input_file_id": file, "completion_window": "24h"}, {"input_file_id": native}),
                ({"input_files": [file], "model": "fast"}, {"input_files": [native], "model": model}),
                ({"requests": [request]}, {"requests": [{"custom_id": "a", "body": {"model": model, "messages": []}}]}),
                ({"requests": [unnamed], "model": "fast"}, {"requests": [unnamed], "model": model}),
            ):
                with case(str(members)):
                    found = create(served, **members)
                    assert found.status_code == 200, found.text
                    assert {name: asked[-1].json[name] for name in sent} == sent
                    assert native not in found.text.replace(file, "")

        await run(steps)


@with_gateway(
    "openai", clients=limited_clients(foreign_ids=True), entry={"model": "openai/*"}, model_aliases=aliases("openai")
)
def test_a_key_with_ids_of_the_provider_cannot_use_an_unread_file(served):
    upload(served, "gpt-5-pro", key=KEYS["b"])
    found = create(served, input_file_id=native_id(served, "openai"))
    assert found.status_code == 403, found.text
    assert create(served, input_file_id=upload(served, "fast")).status_code == 200


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_every_form_of_a_batch_reserves_its_cost(provider):
    clients = [{**CLIENTS[0], "budgets": ["100 usd/day"]}, *CLIENTS[1:]]
    async with serving(provider, clients=clients, entry=PRICE, model_aliases=aliases(provider)) as served:
        reserves = served.gateway.service.allowances.batch_reserves

        def steps() -> None:
            request = {"custom_id": "a", "body": {"model": "fast", "messages": [], "max_tokens": 1000}}
            file = upload(served, "fast", "fast")
            for members in (
                {"requests": [request] * 3},
                {"input_files": [file]},
                {"input_file_id": file, "model": "fast"},
            ):
                before = reserves.of(("client_keys", "a"), "usd")
                with case(str(members)):
                    assert create(served, **members).status_code == 200
                    assert reserves.of(("client_keys", "a"), "usd") > before
            asked = len(served.providers[provider].asked)
            other = upload(served, "fast", url="/v1/embeddings")
            for members in (
                {"input_file_id": file, "agent_id": "ag_1"},
                {"requests": [request], "agent_id": "ag_1"},
                {"input_file_id": other},
                {"input_file_id": upload(served, purpose="user_data")},
            ):
                with case(str(members)):
                    found = create(served, **members)
                    assert found.status_code == 400, found.text
            assert not [one for one in served.providers[provider].asked[asked:] if "batch" in one.path]

        await run(steps)


@each_row(("limits", "accepted"), [({}, True), ({"budgets": ["100 usd/day"]}, False), ({"models": ["fast"]}, False)])
async def test_a_line_for_mistral_needs_no_model(limits, accepted):
    """The job has the model and the endpoint: https://docs.mistral.ai/capabilities/batch. Limits depend on the line."""
    line = b'{"custom_id": "0", "body": {"max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}}\n'
    clients = [{**CLIENTS[0], **limits}, *CLIENTS[1:]]
    async with serving("mistral", clients=clients, entry=PRICE, model_aliases=aliases("mistral")) as served:

        def steps() -> None:
            body = multipart([part("purpose", b"batch"), part("file", line, "a.jsonl")])
            found = served.http("POST", "/v1/files", content=body, headers={"content-type": KIND})
            assert found.status_code == (200 if accepted else 400), found.text
            assert len(served.providers["mistral"].asked) == accepted
            if accepted:
                assert list(served.providers["mistral"].contents.values()) == [line]
            else:
                assert "line 1 of the file has no model" in found.text

        await run(steps)


async def test_a_batch_of_mistral_is_billed_by_its_results(caplog):
    """Jobs of Mistral report no usage: https://docs.mistral.ai/api/endpoint/batch."""
    caplog.set_level("INFO", "trigate")
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "model": "mistral-small", "usage": usage, "choices": [choice]}
    line = {"custom_id": "a", "response": {"status_code": 200, "body": body}, "error": None}
    half = round((1000 * 10 + 100 * 100) / 2 / 10**6, 9)
    clients = [{**CLIENTS[0], "budgets": ["100 usd/day"]}, *CLIENTS[1:]]
    async with serving("mistral", clients=clients, entry=PRICE, model_aliases=aliases("mistral")) as served:
        provider, reserves = served.providers["mistral"], served.gateway.service.allowances.batch_reserves

        def costs() -> list[float]:
            found = (json.loads(one.getMessage()) for one in caplog.records if one.name.startswith("trigate.exchange"))
            return [line["cost_usd"] for line in found if line.get("cost_usd")]

        def steps() -> None:
            request = {"custom_id": "a", "body": {"model": "fast", "messages": [], "max_tokens": 1000}}
            for by in ("outputs", "output_file"):
                id = create(served, requests=[request]).json()["id"]
                assert reserves.of(("client_keys", "a"), "usd") > 0
                job = native_id(served, "mistral")
                provider.contents["file-results"] = json.dumps(line).encode() + b"\n"
                provider.kept[job] |= {"status": "SUCCESS", by: [line] if by == "outputs" else "file-results"}
                for _ in range(2):
                    seen = served.http("GET", f"/v1/batches/{id}").json()
                    if by == "output_file":
                        assert seen[by] != "file-results", "its owner alone may use the id"
                        assert served.http("GET", f"/v1/files/{seen[by]}/content").status_code == 200
                assert reserves.of(("client_keys", "a"), "usd") == 0

        await run(steps)
        await eventually(lambda: costs() == [half, half])
