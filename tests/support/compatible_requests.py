"""Requests on the paths of other servers: Bedrock's InvokeModel, Azure's deployments and LiteLLM's prefixes."""

from typing import Any

from tests.support.wire_clients import body_of, path_of


def compatible_requests(model: str, prompt: str, *, stream: bool, **members: Any) -> dict[str, dict[str, Any]]:
    """Return a request about ``prompt`` by its path. Those of Chat and Messages also have ``members``."""
    end = "-with-response-stream" if stream else ""
    messages = {"messages": [{"role": "user", "content": prompt}], "max_tokens": 99, **members}
    invoked = {"anthropic_version": "bedrock-2023-05-31", **messages}
    input = {"model": model, "input": prompt, "stream": stream, "store": False}
    return {
        f"/model/{model}/invoke{end}": invoked,
        f"/bedrock/model/{model}/invoke{end}": invoked,
        f"/bedrock{path_of('converse', model, stream=stream)}": body_of("converse", model, prompt, stream=stream),
        f"/gemini{path_of('gemini', model, stream=stream)}": body_of("gemini", model, prompt, stream=stream),
        f"/openai/deployments/{model}/chat/completions?api-version=1": {"stream": stream, **messages},
        f"/engines/{model}/chat/completions": {"stream": stream, **messages},
        "/anthropic/v1/messages": {"model": model, "stream": stream, **messages},
        "/openai/v1/responses": input,
        "/gemini/v1beta/interactions": input,
    }
