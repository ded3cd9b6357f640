"""SDKs at the endpoints that are no conversation, through a gateway to stand-ins of several shapes.

``python tests/clients/endpoints.py`` installs what is missing, and runs each program before each server; it prints a
line for each, and what a program has said that failed."""

import itertools
import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import paths  # noqa: F401  # makes the next ones importable
import trio

from tests.clients import install
from tests.support.endpoint_provider import Asked, Told, endpoint_provider, settings, told
from tests.support.in_process import gateway

PROGRAMS: Final = ("cohere_python.py",)
SERVERS: Final[Mapping[str, Mapping[str, str]]] = {
    "Cohere": {"ranks": "cohere/rerank-v4.0", "vectors": "cohere/embed-v4.0", "hears": "cohere/cohere-transcribe-1"},
    "OpenAI and TEI": {"ranks": "tei/m", "vectors": "openai/text-embedding-3-small", "hears": "openai/whisper-1"},
    "vLLM": {"ranks": "vllm/m", "vectors": "vllm/e", "hears": "vllm/whisper"},
}
_RESULTS: Final = [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.25}]


def answer(asked: Asked) -> Told:
    """What the server of the shape in which it is asked would say."""
    if "rerank" in asked.path and "texts" in asked.json:
        return told([{"index": 0, "score": 0.25}, {"index": 2, "score": 0.9}, {"index": 1, "score": 0.1}])
    if "rerank" in asked.path:
        documents = {"document": {"text": "Washington"}}, {"document": {"text": "Carson City"}}
        echoed = documents if asked.json.get("return_documents") else ({}, {})  # Cohere's second version has none
        results = [{**one, **echo} for one, echo in zip(_RESULTS, echoed, strict=True)]
        return told({"id": "1", "results": results, "meta": {"billed_units": {"search_units": 1}}})
    if "transcriptions" in asked.path:
        return told({"text": "hello"})
    texts = asked.json.get("input") or asked.json["texts"]
    vectors = [[0.5, float(index)] for index in range(len(texts))]
    if asked.path.endswith("/embed"):
        return told({"id": "1", "embeddings": {"float": vectors}, "meta": {"billed_units": {"input_tokens": 2}}})
    data: list[dict[str, Any]] = [{"index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    return told({"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2}})


async def tried(program: str, models: Mapping[str, str]) -> str:
    """The last words of ``program`` if it fails before a gateway with these ``models``."""
    async with endpoint_provider(answer) as provider:
        own = {"base_url": provider.url, "access_key": "k"}
        entries = [{"model": model, "name": name, **own} for name, model in models.items()]
        talks = {"model": "anthropic/claude-opus-5", "name": "talks", "access_key": "k"}
        async with gateway(settings(*entries, talks)) as served:
            python = install.python("python") / "bin/python"
            environment = {**os.environ, "GATEWAY": served.url, "PYTHONPATH": ""}
            run = partial(trio.run_process, env=environment, capture_stdout=True, capture_stderr=True, check=False)
            done = await run([python, install.HERE / "programs" / program])
    return done.stderr.decode().strip().rpartition("\n")[2] if done.returncode else ""


def main() -> int:
    failed = 0
    for program, (server, models) in itertools.product(PROGRAMS, SERVERS.items()):
        trouble = trio.run(tried, program, models)
        failed += bool(trouble)
        print(f"{program:24} before {server:16} {trouble or 'works'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
