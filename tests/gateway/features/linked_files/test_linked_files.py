"""Files that requests link, for providers that fetch none, between a real gateway, a provider and a file server."""

import base64
import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.features.linked_files import opening
from gateway.features.linked_files.links import links_in
from gateway.relay import public_addresses
from tests.support.certificates import LOOPBACK, Authority
from tests.support.each_row import each_row
from tests.support.features import needs_feature, rows_of
from tests.support.gateway_thread import gateway_thread, mock_thread
from tests.support.harness import Reply, config, provider, request
from tests.support.http_servers import QuietHandler, http_server
from tests.support.upstreams import Script, Upstream, fake_upstream
from tests.support.wire_clients import path_of

PICTURE = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
PDF = b"%PDF-1.7 a report"
FILES = {"/p.png": ("image/png", PICTURE), "/r.pdf": ("application/pdf", PDF), "/t": ("text/plain", b"about falcon-7")}


class FileServer(QuietHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        assert self.headers.get("authorization") is None
        if self.path == "/moved.png":
            return self.respond(302)
        if self.path not in FILES:
            return self.respond(404)
        kind, body = FILES[self.path]
        return self.respond(200, body, kind)


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("files"), "localhost", *LOOPBACK)


@pytest.fixture
def files(authority) -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (FileServer,), {"asked": []})
    with http_server(handler, authority.itself) as place:
        yield f"https://localhost:{place.rpartition(':')[2]}", handler.asked


@contextlib.contextmanager
def serving(
    authority: Authority, api: str, *, inline: bool = True, maker: str = "", **more: Any
) -> Iterator[tuple[str, Upstream]]:
    overrides = {"upstream_tls_ca_path": str(authority.itself.certificate)}
    with fake_upstream() as upstream:
        maker = maker or {"gemini": "gemini", "converse": "amazon_bedrock"}.get(api, "vllm")
        address = f"{upstream.url}/v1" if api in ("chat", "messages") else upstream.url
        entry = provider(f"{maker}/m", address, [api], name="m", images={"inline": inline})
        with gateway_thread(config([entry], overrides=overrides, **more)) as gateway:
            yield gateway.url, upstream


@pytest.fixture
def reachable(monkeypatch) -> None:
    """Let the gateway of the test reach this machine, which has no public address."""
    monkeypatch.setattr(public_addresses, "is_public", lambda address: True)


def content(api: str, url: str, file: str) -> dict[str, Any]:
    """Return a request of ``api`` that links a picture at ``url`` and, if the API has such links, the document."""
    picture, document = f"{url}/p.png", f"{url}{file}"
    match api:
        case "chat":
            parts = [{"type": "text", "text": "Read"}, {"type": "image_url", "image_url": {"url": picture}}]
            return {"model": "m", "messages": [{"role": "user", "content": parts}]}
        case "messages":
            parts = [{"type": kind, "source": {"type": "url", "url": place}}
                     for kind, place in (("image", picture), ("document", document))]  # fmt: skip
            return {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": parts}]}
        case "responses":
            parts = [{"type": "input_image", "image_url": picture}, {"type": "input_file", "file_url": document}]
            return {"model": "m", "input": [{"role": "user", "content": parts}]}
        case "interactions":
            parts = [{"type": "image", "uri": picture}, {"type": "document", "uri": document}]
            return {"model": "m", "input": [{"type": "user_input", "content": parts}]}
        case _:
            links = [{"fileData": {"fileUri": one, "mimeType": kind}}
                     for one, kind in ((picture, "image/png"), (document, "application/pdf"))]  # fmt: skip
            return {"contents": [{"role": "user", "parts": links}]}


def post(url: str, api: str, body: dict[str, Any]) -> Reply:
    return request(url, "POST", path_of(api, "m", stream=False), body)


@pytest.mark.parametrize("target", ["converse", "gemini"])
@each_row("api", ["chat", "messages", "responses", "interactions", "gemini"])
def test_the_contents_of_links_are_sent_and_fetched_once_for_a_conversation(api, target, files, authority, reachable):
    url, asked = files
    if api == target:
        return
    with serving(authority, target) as (gateway, upstream):
        body = content(api, url, "/r.pdf")
        for _ in range(2):
            upstream.script(Script("Fine."))
            reply = post(gateway, api, body)
            assert reply.status == 200, reply.body
            sent = upstream.seen[0].body.decode()
            assert base64.b64encode(PICTURE).decode() in sent
            assert (base64.b64encode(PDF).decode() in sent) == (api != "chat")
            assert url not in sent
        assert len(asked) == len(set(asked))
    asked.clear()


@each_row(
    ("maker", "target", "api", "sends_contents"),
    [
        ("gemini", "chat", "chat", True),
        ("gemini", "chat", "messages", True),
        ("vllm", "chat", "chat", False),
        ("anthropic", "messages", "messages", False),
    ],
)
def test_providers_that_fetch_no_links_in_apis_that_have_them_get_contents(
    maker, target, api, sends_contents, files, authority, reachable
):
    """songquanpeng/one-api#2245"""
    url, asked = files
    with serving(authority, target, maker=maker) as (gateway, upstream):
        upstream.script(Script("Fine."))
        reply = post(gateway, api, content(api, url, "/r.pdf"))
        assert reply.status == 200, reply.body
        sent = upstream.seen[0].body.decode()
        assert (base64.b64encode(PICTURE).decode() in sent) == sends_contents
        assert (url in sent) != sends_contents
        assert bool(asked) == sends_contents
    asked.clear()


@pytest.mark.parametrize("state", [{}, {"state_storage": {"type": "memory"}}])
def test_the_links_of_earlier_turns_become_the_same_contents(state, files, authority, reachable):
    url, asked = files
    with serving(authority, "converse", **state) as (gateway, upstream):
        body = content("responses", url, "/r.pdf")
        answers = []
        for turn in range(3):
            upstream.script(Script("Fine."))
            if turn and state:
                body = {"model": "m", "input": f"And {turn}?", "previous_response_id": answers[-1]}
            elif turn:
                message = {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "Fine."}],
                }
                body = {"model": "m", "input": [*body["input"], message, {"role": "user", "content": f"And {turn}?"}]}
            reply = post(gateway, "responses", body)
            assert reply.status == 200, reply.body
            answers.append(reply.json["id"])
            sent = upstream.seen[0].json["messages"]
            assert len(sent) == 2 * turn + 1
            blocks = [one for block in sent[0]["content"] if (one := block.get("image", block.get("document")))]
            assert [one["source"]["bytes"] for one in blocks] == [
                base64.b64encode(one).decode() for one in (PICTURE, PDF)
            ]
    assert sorted(asked) == ["/p.png", "/r.pdf"]
    asked.clear()


def test_no_file_is_fetched_without_the_setting_or_for_a_provider_that_fetches(files, authority, reachable):
    url, asked = files
    for target, inline, status in (("converse", False, 400), ("responses", True, 200)):
        with serving(authority, target, inline=inline) as (gateway, upstream):
            upstream.script(Script("Fine."))
            assert post(gateway, "messages", content("messages", url, "/r.pdf")).status == status
    assert asked == []


@each_row(
    ("link", "found"),
    [
        ("/missing.png", "its server returns status 404"),
        ("/moved.png", "its server returns status 302"),
        ("/r.pdf", "it is no image"),
        ("/p.png", "its address is not public"),
        ("https://a..b/x.png", "its server does not respond"),
        ("https://me@localhost/x.png", "its URL is not valid"),
    ],
)
def test_a_file_that_cannot_be_had_is_a_400_with_the_reason(link, found, files, authority, monkeypatch):
    url, asked = files
    if "public" not in found:
        monkeypatch.setattr(public_addresses, "is_public", lambda address: True)
    part = {"type": "image_url", "image_url": {"url": link if "//" in link else url + link}}
    with serving(authority, "converse") as (gateway, upstream):
        reply = post(gateway, "chat", {"model": "m", "messages": [{"role": "user", "content": [part]}]})
        assert reply.status == 400
        message = reply.json["error"]["message"]
        assert f"cannot download the linked file {link.rpartition('/')[2]!r}: {found}" in message
        assert upstream.seen == []
    assert ("public" in found or "//" in link) == (asked == [])
    asked.clear()
    monkeypatch.undo()


@each_row(
    ("address", "public"),
    [
        ("127.0.0.1", False), ("10.1.2.3", False), ("192.168.0.1", False), ("169.254.169.254", False), ("::1", False),
        ("100.100.100.200", False), ("fd00:ec2::254", False), ("::ffff:10.0.0.1", False), ("0.0.0.0", False),
        ("64:ff9b::a9fe:a9fe", False), ("64:ff9b:1::1", False), ("2002:a00:1::1", False), ("64:ff9b::5db8:d70e", True),
        ("::127.0.0.1", False), ("::ffff:0:127.0.0.1", False), ("fec0::1", False), ("192.0.0.192", False),
        ("168.63.129.16", False), ("64:ff9b::a83f:8110", False), ("2002:a83f:8110::1", False), ("224.0.0.1", False),
        ("ff0e::1", False), ("no address", False), ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
    ],
)  # fmt: skip
def test_only_public_addresses_are_requested(address, public):
    assert public_addresses.is_public(address) is public


@needs_feature("steps")
def test_steps_check_the_contents(files, authority, reachable):
    """The client may have a budget, which is reserved before the steps."""
    url, _ = files
    steps = [{"name": "words", "use": "regex", "with": {"patterns": {"bird": r"falcon-\d+"}}, "action": "refuse"}]
    with serving(authority, "converse", steps=steps, budgets=["500000 tokens/day"]) as (gateway, upstream):
        reply = post(gateway, "messages", content("messages", url, "/t"))
        assert reply.status in (400, 403), reply.body
        assert "words" in json.dumps(dict(reply.headers)) + reply.body.decode()
        assert upstream.seen == []


def test_the_arguments_of_tools_and_other_schemes_are_no_links():
    call = {"type": "tool_use", "input": {"type": "image", "source": {"type": "url", "url": "https://a.example/x"}}}
    assert list(links_in([{"role": "assistant", "content": [call]}])) == []
    assert [opening.is_fetched(url) for url in ("http://a.example/x", "gs://a/x", "https://youtu.be/x")] == [False] * 3


def test_a_file_must_fit_into_the_limit_of_requests(files, authority, reachable, monkeypatch):
    monkeypatch.setitem(FILES, "/large.png", ("image/png", PICTURE + b"\0" * 2**20))
    url, asked = files
    part = {"type": "image_url", "image_url": {"url": f"{url}/large.png"}}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    with serving(authority, "converse", limits={"request_body": "1MiB"}) as (gateway, upstream):
        reply = post(gateway, "chat", body)
        assert reply.status == 400
        assert "larger than the limit" in reply.json["error"]["message"]
    with serving(authority, "converse") as (gateway, upstream):
        upstream.script(Script("Fine."))
        assert post(gateway, "chat", body).status == 200
    assert asked == ["/large.png"] * 2


def test_small_files_count_too(files, authority, reachable, monkeypatch):
    """A client cannot fill the memory with their URLs."""
    monkeypatch.setitem(FILES, "/at@1/p.png", FILES["/p.png"])
    monkeypatch.setattr(opening, "TOTAL", 2 * opening.ENTRY)
    url, asked = files
    parts = [{"type": "image_url", "image_url": {"url": url + one}} for one in ("/p.png", "/at@1/p.png")]
    with serving(authority, "converse") as (gateway, upstream):
        for _ in range(2):
            upstream.script(Script("Fine."))
            assert post(gateway, "chat", {"model": "m", "messages": [{"role": "user", "content": parts}]}).status == 200
    assert asked == ["/p.png", "/at@1/p.png"] * 2
    asked.clear()


WORDS_STEP = {"name": "words", "use": "regex", "with": {"patterns": {"bird": r"falcon-\d+"}}, "action": "refuse"}


@each_row(
    "limits",
    [
        {"budgets": ["100 tokens/day"]},
        {"budgets": ["1500 tokens/day"]},  # for the text, not for a picture
        *rows_of("steps", {"budgets": ["100 tokens/day"], "steps": [WORDS_STEP]}),
    ],
)
@pytest.mark.parametrize("target", ["converse", "gemini", "chat"])
def test_a_client_over_its_limits_causes_no_download(target, limits, files, authority, reachable):
    url, asked = files
    with serving(authority, target, maker="gemini" if target == "chat" else "", **limits) as (gateway, upstream):
        for api in ("chat", "messages", "responses", "interactions", "gemini"):
            if api == target:
                continue
            limit = {"interactions": "generation_config", "gemini": "generationConfig"}.get(api)
            body = content(api, url, "/r.pdf")
            body |= (
                {limit: {"max_output_tokens" if api == "interactions" else "maxOutputTokens": 9}}
                if limit
                else {"max_output_tokens" if api == "responses" else "max_tokens": 9}
            )
            assert post(gateway, api, body).status in (402, 429)
        assert (asked, upstream.seen) == ([], [])


def test_a_rate_of_requests_limits_downloads_also_if_they_fail(files, authority, reachable):
    url, asked = files
    part = {"type": "image_url", "image_url": {"url": f"{url}/missing.png"}}
    body = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    with serving(authority, "converse", ratelimits={"requests": "3/m"}) as (gateway, _):
        assert [post(gateway, "chat", body).status for _ in range(4)] == [400, 400, 400, 429]
    assert len(asked) == 3
    asked.clear()


@pytest.mark.parametrize("more", [{}, *rows_of("steps", {"steps": [WORDS_STEP]})])
def test_only_the_usage_of_the_provider_is_charged(more, files, authority, reachable):
    url, asked = files
    with serving(authority, "converse", **more, budgets=["500000 tokens/day"]) as (gateway, upstream):
        left = []
        for file in ("/r.pdf", "/missing.pdf", "/r.pdf"):
            upstream.script(Script("Fine."))
            reply = post(gateway, "messages", content("messages", url, file))
            left += [int(reply.headers["x-trigate-budget-left"].partition("=")[2])] if reply.status == 200 else []
            assert reply.status == (400 if "missing" in file else 200), reply.body
        used = 500000 - left[0]
        assert 0 < used < 1600
        assert left[1] == 500000 - 2 * used
    asked.clear()


def test_images_at_the_server_of_the_provider_need_no_public_address(files, authority):
    """Images in its responses do not need one, either. Other files do: they might be about other clients."""
    with mock_thread() as stand_in:
        entry = provider("gemini/m", stand_in.url, ["gemini"], name="m", images={"inline": True})
        with gateway_thread(config([entry])) as gateway:
            for kind, file, status in (("image", "/pictures/00ff00.png", 200), ("image", "/v1/models", 400),
                                       ("document", "/pictures/00ff00.png", 400)):  # fmt: skip
                part = {"type": kind, "source": {"type": "url", "url": stand_in.url + file}}
                body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [part]}]}
                reply = post(gateway.url, "messages", body)
                assert reply.status == status, reply.body


@pytest.mark.parametrize("more", [{}, *rows_of("steps", {"steps": [WORDS_STEP]})])
def test_a_target_that_cannot_have_the_files_does_not_end_the_request(more, files, authority, reachable):
    """The client may have a budget, which is reserved before such targets are removed."""
    url, asked = files
    more = {**more, "model_aliases": {"both": {"targets": ["one", "m"]}}, "budgets": ["500000 tokens/day"]}
    with fake_upstream() as upstream:
        images = {"inline": True}
        entries = [provider("gemini/m", f"{upstream.url}/v1", ["chat"], name="m", images=images),
                   provider("amazon_bedrock/n", upstream.url, ["converse"], name="one", images=images)]  # fmt: skip
        overrides = {"upstream_tls_ca_path": str(authority.itself.certificate)}
        with gateway_thread(config(entries, overrides=overrides, **more)) as gateway:
            upstream.script(Script("Fine."))
            reply = post(gateway.url, "chat", content("chat", url, "") | {"model": "both", "n": 2})
            assert reply.status == 200, reply.body
    asked.clear()
