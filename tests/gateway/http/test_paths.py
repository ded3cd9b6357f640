"""The route that a path means, and the advice for a path that means none."""

import pytest

from gateway.http.paths import advice, api_of, base_urls, canonical
from tests.support.each_row import each_row
from tests.support.growth import assert_time_grows_linearly

ORIGIN = "http://gw:12000"
SERVERS = {"azure": "azure", "invoke_model": "litellm", "raw_predict": "litellm"}
SETTINGS = {name: f"set `compatibility: [{one}]` in the gateway's configuration" for name, one in SERVERS.items()}
ANTHROPIC = (("anthropic-version", "2023-06-01"),)


@each_row(
    ("path", "route"),
    [
        ("/v1/chat/completions", "/v1/chat/completions"),
        ("/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/chat/completions", "/v1/chat/completions"),
        ("/v1/v1/v1/chat/completions/", "/v1/chat/completions/"),
        ("/v1//chat/completions", "/v1/chat/completions"),
        ("//v1/messages", "/v1/messages"),
        ("/messages", "/v1/messages"),
        ("/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/v1/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/responses", "/v1/responses"),
        ("/responses/resp_1/input_items", "/v1/responses/resp_1/input_items"),
        ("/models", "/v1/models"),
        ("/v1/v1/models/anthropic/claude", "/v1/models/anthropic/claude"),
        ("/conversations/conv_1", "/v1/conversations/conv_1"),
        ("/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/v1beta/v1beta/models/a/b:1:countTokens", "/v1beta/models/a/b:1:countTokens"),
        ("/v1/v1beta/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("/v1beta/models", "/v1beta/models"),
        ("/v1/models/m:streamGenerateContent", "/v1/models/m:streamGenerateContent"),
        (
            "/v1beta1/projects/p/locations/eu/publishers/google/models/m:streamGenerateContent",
            "/v1beta/models/m:streamGenerateContent",
        ),
        ("/v1/publishers/google/models/m:generateContent", "/v1beta/models/m:generateContent"),
        # Google's clients in other frameworks leave out ``models/`` before a name with a slash
        ("/v1beta/openai/gpt-4o:streamGenerateContent", "/v1beta/models/openai/gpt-4o:streamGenerateContent"),
        ("/v1/vllm/Qwen/Qwen3-32B:countTokens", "/v1beta/models/vllm/Qwen/Qwen3-32B:countTokens"),
        ("/v1beta/v1alpha/a/b:embedContent", "/v1beta/models/a/b:embedContent"),
        ("/v1beta/a/models/b:1:generateContent", "/v1beta/models/a/models/b:1:generateContent"),
        ("/v1beta/m:generateContent", "/v1beta/m:generateContent"),
        ("/v1beta/openai/gpt-4o:predict", "/v1beta/openai/gpt-4o:predict"),
        ("/v1beta/tunedModels/t:generateContent", "/v1beta/tunedModels/t:generateContent"),
        ("/v1beta/projects/p/models/m:generateContent", "/v1beta/projects/p/models/m:generateContent"),
        ("/v1beta/openai/v1beta/models/m:generateContent", "/v1beta/openai/v1beta/models/m:generateContent"),
        ("/openai/gpt-4o:generateContent", "/openai/gpt-4o:generateContent"),
        ("/v1/publishers/anthropic/models/m:rawPredict", "/v1/publishers/anthropic/models/m:rawPredict"),
        ("/v1/models/v1/models", "/v1/models/v1/models"),  # a model's name stays unchanged
        ("/v1/v2/rerank", "/v2/rerank"),  # Cohere's client before a base that ends in /v1
        ("/v1/v2/audio/transcriptions", "/v2/audio/transcriptions"),
        ("/v1/v1/embed", "/v1/embed"),
        ("/v2/embed", "/v2/embed"),
        ("/", "/"),
        ("/v1", "/v1"),
        ("/healthz", "/healthz"),
        ("/messagesx", "/messagesx"),
        ("/chat", "/chat"),
        ("/api/v1/messages", "/api/v1/messages"),
        ("/ui/responses", "/ui/responses"),
    ],
)
def test_the_route_that_a_path_means(path, route):
    assert canonical(path) == route
    assert canonical(route) == route


@each_row(
    ("path", "headers", "api", "base", "right"),
    [
        ("/v1/chat/completions/chat/completions", (), "chat", "/v1/chat/completions", f"{ORIGIN}/v1"),
        ("/api/v1/responses", (), "responses", "/api/v1", f"{ORIGIN}/v1"),
        ("/api/v1/responses/resp_1/cancel", (), "responses", "/api/v1", f"{ORIGIN}/v1"),
        ("/v1/responses/responses", (), "responses", "/v1/responses", f"{ORIGIN}/v1"),
        ("/v1beta/openai/chat/completions", (), "chat", "/v1beta/openai", f"{ORIGIN}/v1"),
        ("/v1beta/openai/models", (), "chat", "/v1beta/openai", f"{ORIGIN}/v1"),
        ("/v1beta/chat/completions", (), "chat", "/v1beta", f"{ORIGIN}/v1"),
        ("/v1/models/chat/completions", (), "chat", "/v1/models", f"{ORIGIN}/v1"),
        ("/anthropic/v1/messages", (), "messages", "/anthropic", f"{ORIGIN}, without /v1"),
        ("/anthropic/v1/models", ANTHROPIC, "messages", "/anthropic", f"{ORIGIN}, without /v1"),
        ("/v1/messages/v1/messages", (), "messages", "/v1/messages", f"{ORIGIN}, without /v1"),
        ("/api/v1/v1/messages/count_tokens", (), "messages", "/api/v1", f"{ORIGIN}, without /v1"),
        ("/v1/model/us.amazon.nova-lite-v1:0/converse", (), "converse", "/v1", f"{ORIGIN}, without /v1"),
        ("/bedrock/model/a/b/converse-stream", (), "converse", "/bedrock", f"{ORIGIN}, without /v1"),
        ("/v1/embeddings", (), "chat", None, None),
        ("/v1/messages/batches", (), "messages", None, None),
        ("/v1/responses/x/y/z", (), "responses", None, None),
        ("/v1/conversations/a/b/c/d", (), "responses", None, None),
        ("/v1/models", ANTHROPIC, "messages", None, None),
        ("/v1/models", (), "chat", None, None),
        ("/model/amazon.nova-lite-v1:0/converse", (), "converse", None, None),
        ("/model/arn:aws:bedrock:eu-west-1:1:inference-profile/a/converse-stream", (), "converse", None, None),
        ("/model/messages/count-tokens", (), "converse", None, None),
        ("/whatever", ANTHROPIC, "messages", None, None),
        ("/v1/chat/messages", ANTHROPIC, "messages", None, None),
        ("/v1/chat/messages", (), "chat", None, None),
        ("/v1/responses/messages", ANTHROPIC, "messages", None, None),
        ("/v1/chat/completions/x", ANTHROPIC, "chat", None, None),
    ],
)
def test_only_a_known_path_in_the_wrong_place_names_the_base_url(path, headers, api, base, right):
    assert api_of(path, headers) == api
    expected = None if right is None else f"the client's base URL ends in {base}: set it to {right}"
    assert advice(path, headers, ORIGIN) == expected


def test_an_unknown_google_path_gets_an_error_in_its_shape():
    path = "/google/v1beta/models/m:generateContent"
    assert api_of(path, ()) == api_of("/v1beta/files", ()) == "gemini"
    assert advice(path, (), ORIGIN) == f"the client's base URL ends in /google: set it to {ORIGIN}, without a path"
    assert advice("/v1beta/files", (), ORIGIN) is None


def test_vertex_embeddings_get_advice_on_the_path_that_is_served():
    path = "/v1beta1/projects/p/locations/l/publishers/google/models/m:predict"
    assert api_of(path, ()) == "gemini"
    assert advice(path, (), ORIGIN) == "for embeddings, use /v1beta/models/m:embedContent or /v1/embeddings"


CLAUDE_AT_VERTEX = "/v1/projects/p/locations/l/publishers/anthropic/models/m"


@each_row(
    ("path", "api", "told"),
    [
        ("/model/a/invoke", "converse", "for clients of InvokeModel, set `compatibility: [litellm]`"),
        ("/bedrock/model/a/b/invoke-with-response-stream", "converse", "for clients of InvokeModel, set"),
        (f"{CLAUDE_AT_VERTEX}:rawPredict", "chat", "for clients of Claude at Vertex, set `compatibility: [litellm]`"),
        (f"/vertex_ai{CLAUDE_AT_VERTEX}:streamRawPredict", "chat", "for clients of Claude at Vertex, set"),
        ("/api/tags", "chat", "it is a path of Ollama's own API: select OpenAI's API in the client"),
        ("/api/chat", "chat", "it is a path of Ollama's own API"),
    ],
)
def test_a_path_of_an_api_that_needs_a_setting_gets_advice_on_it(path, api, told):
    assert api_of(path, ()) == api
    assert advice(path, (), ORIGIN, SETTINGS).startswith(told)


def test_the_path_of_azures_sdk_gets_advice_on_the_right_class():
    told = advice("/openai/deployments/gpt/chat/completions", (), ORIGIN, SETTINGS)
    assert told.endswith(
        "not its Azure class; to allow that, set `compatibility: [azure]` in the gateway's configuration"
    )


@each_row("path", ["chat/completions", "models", "models/m", "files", "batches/b/cancel", "embeddings"])
def test_a_client_with_a_fixed_prefix_gets_advice_on_the_configuration(path):
    """The paths of Groq's SDK begin with ``/openai/v1`` (groq/groq-python, ``resources/files.py``)."""
    assert api_of(f"/openai/v1/{path}", ()) == "chat"
    assert advice(f"/openai/v1/{path}", (), ORIGIN, SETTINGS) == (
        f"the client's base URL ends in /openai/v1: set it to {ORIGIN}/v1; "
        "for clients that cannot, such as Groq's SDK, set `compatibility: [azure]` in the gateway's configuration"
    )


def test_both_base_urls_are_reported_where_a_path_begins_otherwise():
    assert base_urls("/v1/embeddings", ORIGIN) == ""
    assert f"{ORIGIN}/v1 for OpenAI's" in base_urls("/api/chat", ORIGIN)


@each_row(
    "path",
    [
        "/v1/models", "/v1/models/m", "/v1/tunedModels", "/v1/tunedModels/t", "/v1/cachedContents/c",
        "/v1/batches/b:cancel", "/v1/files:register", "/v1/auth_tokens",
    ],
)  # fmt: skip
def test_errors_of_googles_first_version_have_googles_form_for_its_clients(path):
    """google-genai's own tests use the version v1, and read `error.code` and `error.status`."""
    assert api_of(path, (("x-goog-api-key", "k"),)) == "gemini"
    assert api_of(path, ()) == "chat"


@each_row("path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/vector_stores"])
def test_googles_key_on_paths_of_openai_changes_no_error(path):
    assert api_of(path, (("x-goog-api-key", "k"),)) == api_of(path, ())


@pytest.mark.parametrize("path", ["/v1alpha/batches/b", "/v1alpha/auth_tokens", "/v1alpha/models"])
def test_errors_of_googles_alpha_version_have_googles_form(path):
    assert api_of(path, ()) == "gemini"


@each_row(
    "unit",
    [
        "/a", "/model/", "/model/a", "/model/a/converse", "/model/a/invoke", "/models/a", "/models/a:b", "/v1",
        "/v1beta", "/messages", "/responses", "/projects/a/locations/b", "/publishers/a", "/interactions/model/",
        "/openai", ":a",
    ],
)  # fmt: skip
def test_a_path_is_read_in_time_linear_in_its_length(unit):
    """Clients without a key choose it (CWE-1333)."""

    def reading_work(length: int):
        paths = [f"{start}{unit * (length // len(unit))}{end}" for start in ("", "/x") for end in ("", "/x", "/model/")]
        return lambda: [
            (canonical(one), api_of(one, headers), advice(one, headers, ORIGIN, SETTINGS))
            for one in paths
            for headers in ((), ANTHROPIC)
        ]

    assert_time_grows_linearly(reading_work, 512)
