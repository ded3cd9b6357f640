"""The paths, bodies and key headers of Azure's and LiteLLM's clients, which ``compatibility`` accepts."""

from typing import Any

HELLO: dict[str, Any] = {"model": "demo", "messages": [{"role": "user", "content": "Hello"}]}
OTHER = {**HELLO, "model": "not-configured"}
GOOGLE = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
AZURE = "/openai/deployments/demo"


def compatible_requests(key: str) -> list[tuple[str, dict[str, Any], dict[str, str]]]:
    """Return the path, the body and the headers of a request in each form, for the models `demo` and `team/model`."""
    bearer = {"authorization": f"Bearer {key}"}
    return [
        ("/v1/chat/completions", HELLO, {"api-key": key}),
        ("/v1/chat/completions", HELLO, {"x-litellm-api-key": key}),
        ("/v1/chat/completions", HELLO, {"x-litellm-api-key": f"Bearer {key}", "authorization": "Bearer other"}),
        ("/v1/chat/completions", HELLO, {"ocp-apim-subscription-key": key}),
        (f"{AZURE}/chat/completions?api-version=2024-10-21", OTHER, {"api-key": key}),
        ("/openai/deployments/team/model/chat/completions", OTHER, bearer),
        ("/engines/demo/chat/completions", OTHER, bearer),
        (f"{AZURE}/embeddings", {"input": "Hello"}, bearer),
        (f"{AZURE}/completions", {"model": "not-configured", "prompt": "Hello"}, bearer),
        ("/openai/v1/chat/completions", HELLO, bearer),
        ("/openai/v1/responses", {"model": "demo", "input": "Hello"}, {"api-key": key}),
        ("/openai/responses?api-version=preview", {"model": "demo", "input": "Hello"}, bearer),
        ("/anthropic/v1/messages", {**HELLO, "max_tokens": 9}, {"x-api-key": key}),
        ("/gemini/v1beta/models/demo:generateContent", GOOGLE, {"x-goog-api-key": key}),
        (f"/gemini/v1beta/models/demo:generateContent?key={key}", GOOGLE, {}),
        ("/vertex_ai/v1/projects/p/locations/l/publishers/google/models/demo:generateContent", GOOGLE, bearer),
        ("/bedrock/model/demo/converse", CONVERSE, bearer),
    ]
