"""The lists that Open WebUI requests from a speech server (``routers/audio.py`` there)."""

from typing import Any

from tests.support.in_process import gateway

CONFIG: dict[str, Any] = {
    "version": "v0.4.0",
    "model_providers": [
        {"model": "openai/gpt-5", "access_key": "k"},
        {"model": "openai/gpt-4o-mini-tts", "access_key": "k"},
        {"model": "groq/canopylabs/orpheus-v1-english", "access_key": "k", "name": "orpheus"},
        {"model": "mine/af", "name": "own", "base_url": "http://gpu", "type": "speech"},
    ],
}
KEYS = [{"name": "ann", "key": "ann-key-0123456789-0123456789", "models": ["orpheus", "openai/gpt-5"]}]


async def test_pickers_get_the_models_that_speak_and_their_voices():
    async with gateway(CONFIG) as running:
        models = (await running.get("/v1/audio/models")).json()
        assert models == {"models": [{"id": "openai/gpt-4o-mini-tts"}, {"id": "orpheus"}, {"id": "own"}]}
        voices = (await running.get("/v1/audio/voices")).json()["voices"]
        assert {"id": "marin", "name": "marin"} in voices
        assert {"id": "troy", "name": "troy"} in voices
        assert len({voice["id"] for voice in voices}) == len(voices)


async def test_only_clients_that_may_use_a_voice_see_it():
    async with gateway({**CONFIG, "client_keys": KEYS}) as running:
        key = KEYS[0]["key"]
        assert (await running.get("/v1/audio/models", str(key))).json() == {"models": [{"id": "orpheus"}]}
        voices = (await running.get("/v1/audio/voices", str(key))).json()["voices"]
        assert {voice["id"] for voice in voices} == {"autumn", "diana", "hannah", "austin", "daniel", "troy"}
        for path in ("/v1/audio/models", "/v1/audio/voices"):
            assert (await running.get(path)).status_code == 401
