"""Rows of servers that users run themselves, at their usual addresses on this machine."""

from typing import Any

from providers.catalog.provider import (
    ALL_THREE,
    BEARER,
    CHAT_AND_MESSAGES,
    COMPATIBLE,
    ROUTER,
    Provider,
    Source,
    sources,
)
from providers.endpoints.embeddings.traits import EmbeddingTraits
from providers.endpoints.endpoint import STANDARD_PLACES, Place, places
from providers.neutral.quirks import Quirks

READ = "2026-11-22"

_LMSTUDIO = "https://lmstudio.ai/docs/api/openai-api"
_LLAMA_CPP = "https://huggingface.co/blog/ggml-org/anthropic-messages-api-in-llamacpp"
_LITELLM = "https://docs.litellm.ai/docs/anthropic_unified/messages_to_responses_mapping"
_NIM = "https://docs.nvidia.com/nim/large-language-models/latest/reference/api-reference.html"
_OLLAMA = "https://docs.ollama.com/api/openai-compatibility"
_SGLANG = "https://docs.sglang.io/docs/basic_usage/anthropic_api"
_VLLM = "https://docs.vllm.ai/en/stable/serving/online_serving.html"


def _own_server(id: str, label: str, base_url: str, **row: Any) -> Provider:
    """Return the row of a server that needs no key and whose older versions only have Chat."""
    return Provider(id, label, base_url, auth=BEARER, key_required=False, **row)


OWN_SERVERS = (
    _own_server(
        "ollama", "Ollama", "http://localhost:11434", speaks=ALL_THREE, all_in_chat=True,
        endpoints=places("embeddings", "completions", "fim", "image_generations"),
        endpoint_source=Source(_OLLAMA, READ),
        sources=sources(
            READ, chat=_OLLAMA, responses=_OLLAMA, messages="https://docs.ollama.com/api/anthropic-compatibility"
        ),
    ),
    _own_server(
        "lm_studio", "LM Studio", "http://localhost:1234", speaks=ALL_THREE, all_in_chat=True,
        keeps_turns=("responses",),
        endpoints=places("embeddings", "completions"), endpoint_source=Source(_LMSTUDIO, READ),
        sources=sources(
            READ, chat=_LMSTUDIO, responses=_LMSTUDIO, messages="https://lmstudio.ai/docs/developer/anthropic-compat"
        ),
    ),
    _own_server(
        "llama_cpp", "llama.cpp", "http://localhost:8080", speaks=CHAT_AND_MESSAGES,
        endpoints=places("embeddings", "completions", "rerank"),
        endpoint_source=Source("https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md", READ),
        sources=sources(READ, chat=_LLAMA_CPP, messages=_LLAMA_CPP),
    ),
    _own_server(
        "vllm", "vLLM", "http://localhost:8000", speaks=ALL_THREE, all_in_chat=True,
        endpoints=places(
            "embeddings", "completions", "rerank", "transcriptions", "translations", "realtime",
            score=Place("/score"), pooling=Place("/pooling", prefix=""), classify=Place("/classify", prefix=""),
        ),
        endpoint_source=Source(_VLLM, READ), sources=sources(READ, chat=_VLLM, messages=_VLLM, responses=_VLLM),
    ),
    _own_server(
        "sglang", "SGLang", "http://localhost:30000", speaks=CHAT_AND_MESSAGES,
        endpoints=places(
            "embeddings", "completions", "rerank", score=Place("/score"), classify=Place("/classify", prefix=""),
        ),
        endpoint_source=Source("https://docs.sglang.io/docs/basic_usage/openai_api", READ),
        sources=sources(READ, chat=_SGLANG, messages=_SGLANG),
    ),
    _own_server(
        "nim", "NVIDIA NIM", "http://localhost:8000", speaks=ALL_THREE, all_in_chat=True,
        endpoints=places("completions", embeddings=Place("/embeddings", "nim")),
        embeddings=EmbeddingTraits(takes_purpose="required"),
        endpoint_source=Source(_NIM, READ), sources=sources(READ, chat=_NIM, messages=_NIM, responses=_NIM),
    ),
    Provider(
        "litellm", "LiteLLM", "http://localhost:4000", speaks=ALL_THREE, all_in_chat=True, quirks=ROUTER, auth=BEARER,
        key_required=False, endpoints={**STANDARD_PLACES, "rerank": Place("/rerank", "cohere")},
        endpoint_source=Source("https://docs.litellm.ai/docs/supported_endpoints", READ),
        sources=sources(READ, chat=_LITELLM, messages=_LITELLM, responses=_LITELLM),
    ),
    Provider(
        "trigate", "trigate", "http://localhost:12000", speaks=ALL_THREE, all_in_chat=True, quirks=Quirks(),
        known=COMPATIBLE, auth=BEARER, key_required=False,
        endpoints={
            **STANDARD_PLACES, "fim": Place("/fim/completions", "mistral"), "score": Place("/score"),
            "pooling": Place("/pooling"), "classify": Place("/classify"),
            "message_batches": Place("/messages/batches", "anthropic", "messages"),
        },
    ),
    Provider(
        "tei", "Text Embeddings Inference", "http://localhost:8080", key_required=False,
        about="Embeddings, rerank and classification with one model.",
        endpoints=places(
            "embeddings", rerank=Place("/rerank", "tei", prefix=""), predict=Place("/predict", "tei", prefix=""),
            similarity=Place("/similarity", "tei", prefix=""),
        ),
        embeddings=EmbeddingTraits(inputs=32),  # its default --max-client-batch-size
        endpoint_source=Source("https://huggingface.github.io/text-embeddings-inference/", READ),
    ),
)  # fmt: skip
