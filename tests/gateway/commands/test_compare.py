"""``trigate compare``: two servers get the same requests, from samples, recordings and logs."""

import json
import signal
from threading import Event

import pytest

from gateway.commands.compare_report import ComparedPair, ServerComparison, text_report
from gateway.commands.server_requests import ServerRequest, ServerResponse
from streams.answer_differences import AnswerDifference
from streams.events import APIS
from tests.support.command_line import environment, invoke
from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.gateway_thread import demo_thread, mock_thread, serve_module
from tests.support.harness import PATIENCE, ROOT, config, provider, refusing_port
from tests.support.http_servers import QuietHandler, http_server
from tests.support.warm_start import forked_with_streams

KEY = "sk-compared-1234567890"
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def mock():
    with mock_thread() as found:
        yield found


@serve_module
def gateway(mock):
    """Run a gateway with a key in front of the stand-in provider."""
    entries = [provider("compatible/m", f"{mock.url}/v1", name="m"), provider("anthropic/claude-sonnet-4-5", mock.url)]
    return config(entries, client_keys=[{"name": "a", "key": KEY}])


def compare(old, new, *args, **env):
    said = invoke("compare", "--old", old, "--new", new, *map(str, args), env=env)
    assert KEY not in said.stdout + said.stderr
    return said


def report(said):
    return json.loads(said.stdout)


def effects(found):
    return {one["effect"] for row in found["requests"] for one in row["differences"]}


def test_a_server_is_equal_to_itself_in_every_api(mock):
    apis = [word for api in APIS for word in ("--api", api)]
    said = compare(mock.url, f"{mock.url}/v1/", "--model", "m", "--exact", "--json", *apis)
    found = report(said)
    assert (said.returncode, found["good"], effects(found)) == (0, True, set())
    assert len(found["requests"]) == found["alike"] == found["alike_for_clients"] == 1 + len(APIS) * 9
    assert all(row["old"]["status"] == row["new"]["status"] for row in found["requests"])
    assert found["old"]["first_byte_ms"] is not None


def test_a_gateway_repeats_the_answers_of_its_provider(mock, gateway):
    said = compare(mock.url, gateway.url, "--model", "m", "--exact", "--json", TRIGATE_API_KEY=KEY)
    breaking = {
        row["name"]: [one["part"] for one in row["differences"] if one["effect"] == "breaks"]
        for row in report(said)["requests"][1:]  # without the list of models: the stand-in lists its own
    }
    # The stand-in knows every name and every key.
    apis, errors = ("chat", "messages", "responses"), ("unknown model", "wrong key")
    expected = {f"{api} {error}": ["status"] for api in apis for error in errors}
    assert {name: parts for name, parts in breaking.items() if parts} == expected
    assert said.returncode == 1


@needs_feature("recording")
def test_recordings_are_sent_to_both(tmp_path, mock):
    with demo_thread(tmp_path) as demo:
        for stream in (False, True):
            demo.request("POST", "/v1/chat/completions", {**HELLO, "model": "demo", "stream": stream})
        demo.request("POST", "/v1/embeddings", {"model": "demo", "input": "Hello"})
    found = report(compare(mock.url, mock.url, tmp_path, "--exact", "--json"))
    assert sorted((row["api"], row["stream"]) for row in found["requests"]) == [("chat", False), ("chat", True)]
    assert found["good"]


def test_a_log_has_requests_in_several_forms(tmp_path, mock):
    log = tmp_path / "requests.jsonl"
    messages = {**HELLO, "max_tokens": 9}
    lines = [
        {"url": "http://litellm:4000/v1/chat/completions", "method": "POST", "body": HELLO},
        {"proxy_server_request": json.dumps({"url": "http://litellm:4000/v1/messages", "body": messages})},
        {"custom_id": "1", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "Hello"}},
        {"path": "/v1beta/models/m:streamGenerateContent?alt=sse", "body": {"contents": [{"parts": [{"text": "Hi"}]}]}},
        {**HELLO, "stream": True},
        messages,
        {"model": "m", "input": "Hello", "previous_response_id": "resp_1"},
        {"model": "m", "input": "Hello", "system_instruction": "Be brief.", "stream": True},
        {"event": "exchange", "status": 200},
    ]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    said = compare(mock.url, mock.url, log, "--exact", "--json")
    found = report(said)
    assert [(row["api"], row["path"], row["stream"]) for row in found["requests"]] == [
        ("chat", "/v1/chat/completions", False),
        ("messages", "/v1/messages", False),
        (None, "/v1/embeddings", False),
        ("gemini", "/v1beta/models/m:streamGenerateContent", True),
        ("chat", "/v1/chat/completions", True),
        ("messages", "/v1/messages", False),
        ("interactions", "/v1beta/interactions", True),
    ]
    assert found["skipped"] == {
        "it continues from a response that only the recorded server has": 1,
        "without a body": 1,
    }
    assert said.returncode == 0


def test_requests_that_differ_only_in_headers_are_alike_for_clients():
    """Each response of LiteLLM has headers of its own: a move without a difference for clients counted 0 alike."""
    request, response = ServerRequest("r", "/v1/chat/completions"), ServerResponse(200)
    effects = ([], ["lacks"], ["better", "lacks"], ["lacks", "differs"], ["breaks"])
    pairs = tuple(
        ComparedPair(request, response, response, tuple(AnswerDifference(one, "part", "a", "b") for one in found))
        for found in effects
    )
    text = text_report(ServerComparison("http://old", "http://new", pairs, {}, False))
    assert "5 requests, 3 alike for clients, 1 without any difference" in text


@needs_feature("model_lists")
def test_the_text_report_lists_differences_by_effect(mock, gateway):
    said = compare(mock.url, gateway.url, "--model", "m", "--api", "chat", TRIGATE_API_KEY=KEY)
    assert "\n  model name mock-large: present -> absent\n    in list of models" in said.stdout
    assert "status: 200 -> 404\n    in chat unknown model" in said.stdout
    assert "first byte, median" in said.stdout


@each_row(
    ("args", "words"),
    [
        (("--model", "m", "--old-key-env", "NOT_SET"), "--old-key-env: the environment variable NOT_SET is not set"),
        (("missing-folder",), "missing-folder: no recording found"),
        ((), "choose some with --model MODEL, or --model all"),
        (("--model", "m", "x.jsonl"), "--model and --api select samples"),
    ],
)
def test_a_command_that_cannot_compare_reports_the_reason(mock, args, words):
    said = compare(mock.url, mock.url, *args)
    assert said.returncode == 2
    assert words in " ".join(said.stderr.split())


@each_row("content", ["not json", "[1]", '{"path": "/v1/unknown"}', '{"url": "http://[", "body": {"a": 1}}', ""])
def test_a_file_is_checked_before_any_server_is_called(tmp_path, content):
    """A mistake in the file was reported only after both servers had answered."""
    log = tmp_path / "requests.jsonl"
    log.write_text(content)
    with refusing_port() as port:
        said = compare(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{port}", log)
    assert said.returncode == 2
    assert str(log) in said.stderr
    assert "--old" not in said.stderr


def test_a_server_that_does_not_run_is_reported(mock):
    with refusing_port() as port:
        said = compare(mock.url, f"http://127.0.0.1:{port}", "--model", "m")
    assert said.returncode == 2
    assert f"--new http://127.0.0.1:{port}: nothing is listening there" in said.stderr


@pytest.mark.parametrize("url", ["localhost:4000", "http://me:pw@localhost:4000", "http://localhost:4000/?key=1"])
def test_an_url_with_a_credential_or_without_a_scheme_is_refused(mock, url):
    said = compare(url, mock.url)
    assert said.returncode == 2
    assert "--old" in said.stderr
    assert "pw" not in said.stderr


class _Silent(QuietHandler):
    """A server that answers GET, and no POST until ``released``."""

    reached: Event
    released: Event

    def do_GET(self):
        self.respond(404)

    def do_POST(self):
        self.reached.set()
        self.released.wait(PATIENCE)


@pytest.mark.process
def test_ctrl_c_ends_it_without_a_traceback():
    handler = type("Handler", (_Silent,), {"reached": Event(), "released": Event()})
    with http_server(handler) as host:
        url = f"http://{host}"
        args = ("compare", "--old", url, "--new", url, "--model", "m", "--jobs", "2")
        process, said, complained = forked_with_streams(args, ROOT, environment())
        try:
            assert handler.reached.wait(PATIENCE)
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) == 130, complained.read()
            assert complained.read() == "interrupted; no report\n"
        finally:
            process.kill()
            handler.released.set()
            said.close()
            complained.close()
