"""Types of models by their names, for clients' lists (Vigil-SOC/vigil#433)."""

from providers.endpoints.endpoint import ENDPOINTS
from providers.endpoints.model_types import ENDPOINTS_OF, MODEL_TYPES, model_type

NAMES = {
    "chat": "gpt-5.1 o3 claude-opus-5 gemini-3-pro gemini-2.5-flash-preview-tts mistral-large-latest codestral-latest "
    "llama-guard-4-12b deepseek-chat command-a-03-2025 qwen3-32b gpt-audio gpt-oss-120b x",
    "embedding": "text-embedding-3-small mistral-embed embed-v4.0 voyage-3.5 jina-embeddings-v3 BAAI/bge-m3 "
    "nomic-embed-text:v1.5 gemini-embedding-2 Qwen/Qwen3-Embedding-8B codestral-embed-2505",
    "rerank": "rerank-v3.5 rerank-2.5-lite jina-reranker-v3 BAAI/bge-reranker-v2-m3 Qwen/Qwen3-Reranker-4B",
    "image": "dall-e-3 gpt-image-1 imagen-4.0-generate-001 black-forest-labs/FLUX.1-schnell",
    "speech": "tts-1-hd gpt-4o-mini-tts voxtral-tts-26 kokoro",
    "transcription": "whisper-1 whisper-large-v3-turbo gpt-4o-mini-transcribe gpt-4o-transcribe-diarize",
    "moderation": "omni-moderation-latest text-moderation-007 mistral-moderation-2411",
    "completion": "gpt-3.5-turbo-instruct davinci-002",
    "realtime": "gpt-realtime-2 gpt-4o-mini-realtime-preview",
}


def test_the_names_of_models_determine_their_type():
    for kind, names in NAMES.items():
        assert {name: model_type(name) for name in names.split()} == dict.fromkeys(names.split(), kind)
    assert set(NAMES) == set(MODEL_TYPES)
    assert model_type("a" * 10**6 + "-embed") == "chat"


def test_each_type_has_endpoints():
    assert ENDPOINTS_OF.keys() == set(MODEL_TYPES)
    assert {name for names in ENDPOINTS_OF.values() for name in names} <= ENDPOINTS.keys()
