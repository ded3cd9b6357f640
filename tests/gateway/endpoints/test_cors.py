"""The headers that let pages of other origins read responses. ``features/pass_through`` has tests of the paths."""

from gateway.endpoints.cors import Cors
from tests.support.each_row import each_row


def test_a_preflight_response_lists_the_permitted_methods_and_headers():
    headers = dict(
        Cors(["https://App.example"]).preflight("https://app.example", "X-Stainless-OS, authorization, X-Evil")
    )
    assert headers["access-control-allow-origin"] == "https://app.example"
    assert headers["vary"] == "Origin"
    allowed = headers["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "x-api-key", "anthropic-version", "anthropic-beta"} <= set(allowed)
    assert "x-stainless-os" in allowed
    assert "x-evil" not in allowed
    assert {"GET", "POST"} <= set(headers["access-control-allow-methods"].split(", "))


SENT_BY_PAGES = {
    "openai-node and Vercel's AI SDK in Firefox and Safari": "authorization,content-type,user-agent,x-stainless-os",
    "the Agents SDK with WebRTC": "authorization,content-type,x-openai-agents-sdk",
    "openai-node for Azure": "api-key,content-type,x-stainless-lang",
    "a page that calls Interactions": "api-revision,content-type,x-goog-api-key",
    "a page with OpenTelemetry": "authorization,content-type,traceparent,tracestate",
    "a page for OpenRouter": "authorization,content-type,http-referer,x-title",
    "a page that repeats requests": "authorization,content-type,idempotency-key,x-client-request-id",
    "the AWS SDK": "amz-sdk-invocation-id,amz-sdk-request,authorization,x-amz-content-sha256,x-amz-user-agent",
}


@each_row("program", SENT_BY_PAGES)
def test_a_preflight_response_allows_every_header_of_the_sdks(program):
    """A browser sends nothing if one is missing: openai/openai-node#1694, vercel/ai#9256, CopilotKit/aimock#158,
    https://github.com/openai/openai-agents-js/blob/main/packages/agents-realtime/src/openaiRealtimeWebRtc.ts,
    https://ai.google.dev/gemini-api/docs/interactions-overview, https://openrouter.ai/docs/app-attribution."""
    requested = SENT_BY_PAGES[program]
    headers = dict(Cors(["*"]).preflight("https://app.example", requested))
    assert set(requested.split(",")) <= set(headers["access-control-allow-headers"].split(", "))


@each_row("origin", ["https://other.example", "https://app.example.evil", "http://app.example", "null", None])
def test_another_origin_gets_nothing_but_the_word_for_caches(origin):
    cors = Cors(["https://app.example"])
    assert cors.preflight(origin, "authorization") == (("vary", "Origin"),)
    assert cors.response_headers(origin, ["x-request-id"]) == (("vary", "Origin"),)


def test_an_answer_shows_all_of_its_headers():
    headers = dict(
        Cors(["*"]).response_headers("https://any.example", ["Content-Type", "x-request-id", "x-request-id"])
    )
    assert headers == {
        "access-control-allow-origin": "*", "access-control-expose-headers": "content-type, x-request-id",
    }  # fmt: skip
