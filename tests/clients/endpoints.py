"""SDKs at endpoints other than conversations, through a gateway, to stand-ins of several shapes.

``python tests/clients/endpoints.py`` installs missing programs, and runs each one with each server. It prints a
line for each, and the last output of programs that fail."""

import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Final

import attrs
import paths  # noqa: F401  # makes the next modules importable
import trio

from tests.clients import install
from tests.clients.stand_ins import answer_by_words, answer_fixed
from tests.support import in_process
from tests.support.endpoint_provider import Answering, endpoint_provider, settings

PATIENCE: Final = 300.0  # seconds for one program
SERVERS: Final[Mapping[str, Mapping[str, str]]] = {
    "Cohere": {"ranks": "cohere/rerank-v4.0", "vectors": "cohere/embed-v4.0", "hears": "cohere/cohere-transcribe-1"},
    "OpenAI and TEI": {"ranks": "tei/m", "vectors": "openai/text-embedding-3-small", "hears": "openai/whisper-1"},
    "vLLM": {"ranks": "vllm/m", "vectors": "vllm/e", "hears": "vllm/whisper"},
}
EMBEDDERS: Final[Mapping[str, Mapping[str, str]]] = {
    "Cohere": {"vectors": "cohere/embed-v4.0"},
    "OpenAI": {"vectors": "openai/text-embedding-3-small"},
    "Google": {"vectors": "gemini/gemini-embedding-001"},
}
RETRIEVAL: Final = {name: {"ranks": "cohere/rerank-v4.0", **models} for name, models in EMBEDDERS.items()}


@attrs.frozen
class Program:
    """A program, its virtual environment, and the ``servers`` to run it with, which ``answer``."""

    file: str
    servers: Mapping[str, Mapping[str, str]]
    answer: Answering = answer_fixed
    venv: str = "python"
    chats: str = "anthropic/claude-opus-5"  # the model for conversations


PROGRAMS: Final = (
    Program("cohere_python.py", SERVERS),
    Program("google_genai_embeddings.py", EMBEDDERS),
    Program("rag_langchain.py", RETRIEVAL, answer_by_words, "rag", "openai/gpt-5.4"),
    Program("rag_llama_index.py", RETRIEVAL, answer_by_words, "rag", "openai/gpt-5.4"),
)


async def try_program(program: Program, models: Mapping[str, str]) -> str:
    """Return the last output of ``program`` if it fails with these ``models`` of a gateway, else an empty text."""
    in_process.PATIENCE = PATIENCE
    async with endpoint_provider(program.answer) as provider:
        own = {"base_url": provider.url, "access_key": "k"}
        entries = [{"model": model, "name": name, **own} for name, model in models.items()]
        entries.append({"model": program.chats, "name": "talks", **own})
        async with in_process.gateway(settings(*entries)) as served:
            python = install.python(program.venv) / "bin/python"
            environment = {**os.environ, "GATEWAY": served.url, "PYTHONPATH": ""}
            run = partial(trio.run_process, env=environment, capture_stdout=True, capture_stderr=True, check=False)
            done = await run([python, install.HERE / "programs" / program.file])
    return done.stderr.decode().strip().rpartition("\n")[2] if done.returncode else ""


def main() -> int:
    failed = 0
    for program in PROGRAMS:
        for server, models in program.servers.items():
            trouble = trio.run(try_program, program, models)
            failed += bool(trouble)
            print(f"{program.file:28} before {server:16} {trouble or 'works'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
